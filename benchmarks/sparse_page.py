"""The sparse part of the results page: its tables and its pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import diffface as dif
from benchmarks.sparse_cases import CASES
from diffface.benchmark.report import COLOURS, MARKERS, handle, tidy
from diffface.benchmark.row import digits, duration
from diffface.sparse.pattern import draw

# ADBench's bundle adjustment ba1 in GradBench's nightly run of 2026-03-14: the Jacobian over its
# function. github.com/gradbench/gradbench (MIT).
GRADBENCH = {
    "hand-written C++": 7.15, "Enzyme (C++)": 9.07, "Futhark": 10.5, "Tapenade": 13.7,
    "CoDiPack": 20.3, "Adept": 22.0, "finite differences (C++)": 55.2, "ADOL-C": 193, "CppAD": 364,
}  # fmt: skip
COLUMNS = {
    "over_directions": "over directions", "over_hand": "over NumPy by hand",
    "over_asdex": "over asdex", "over_scipy": "over SciPy",
    "detect_over_asdex": "detection over asdex", "color_over_asdex": "coloring over asdex",
}  # fmt: skip
Rows = Sequence[dict[str, Any]]


def table(rows: Rows) -> str:
    """The figures of the problems in Markdown."""
    names = ("problem", "n", "backend", "colors", "detect", "prepare", "call", *COLUMNS.values())
    lines = [f"| {' | '.join(names)} |", f"| --- | ---: | --- | --- |{' ---: |' * 9}"]
    for r in rows:
        shown = ["" if r[name] is None else digits(r[name]) for name in COLUMNS]
        times = [duration(r[name]) for name in ("detect", "prepare", "call")]
        cells = (r["problem"], f"{r['n']:,}", r["backend"], r["colors"], *times, *shown)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def tables(found: dict[str, Any]) -> dict[str, str]:
    """The texts that the template of the page has places for."""
    return {
        "sparse": table(found["rows"]),
        "sparse_load": " to ".join(f"{load:.1f}" for load in found["load"]),
        "sparse_ba": _bundle_adjustment(found["ba"]),
        "sparse_bdf": _bdf(found["bdf"]),
    }


def _bundle_adjustment(rows: Rows) -> str:
    lines = ["| who | colors | function | Jacobian | ratio |", "| --- | --- | ---: | ---: | ---: |"]
    lines += [
        f"| {r['backend']} | {r['colors']} | {duration(r['function'])} | {duration(r['call'])} | "
        f"{digits(r['over_function'])} |"
        for r in rows
    ]
    lines += [f"| GradBench: {who} | | | | {digits(ratio)} |" for who, ratio in GRADBENCH.items()]
    return "\n".join(lines) + "\n"


def _bdf(rows: Rows) -> str:
    lines = ["| backend | n | BDF | over `jac_sparsity` |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {r['backend']} | {r['n']:,} | {duration(r['call'])} | {digits(r['over_scipy'])} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


# Those that are compared with, beside the backends.
BESIDE = {"asdex": "asdex", "scipy": "SciPy's differences", "hand": "NumPy by hand"}


def curves(rows: Rows) -> Any:
    """Time of a call over the size, a line for each backend and a panel for each problem."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(r["problem"] for r in rows))
    who = [*dict.fromkeys(r["backend"] for r in rows), *BESIDE.values()]
    looks = dict(zip(who, zip(COLOURS, MARKERS, strict=True), strict=False))
    figure = Figure(figsize=(3.2 * len(names), 3.6), layout="constrained", dpi=200)
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for panel, name in zip(panels, names, strict=True):
        _draw_calls(panel, [r for r in rows if r["problem"] == name], looks)
        panel.set_title(name, fontsize=9)
    panels[0].set_ylabel("time of a call (µs); dashed: other tools", fontsize=8)
    handles = [handle(name, *look) for name, look in looks.items()]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8
    )
    return figure


def _draw_calls(panel: Any, rows: Rows, looks: dict[str, tuple[str, str]]) -> None:
    for who, (colour, marker) in looks.items():
        line = [(r["n"], r["call"]) for r in rows if r["backend"] == who]
        other = next((key for key, label in BESIDE.items() if label == who), None)
        if other is not None:
            key = f"over_{other}"
            line = sorted({r["n"]: r["call"] / r[key] for r in rows if r[key]}.items())
        if line:
            sizes, seconds = zip(*line, strict=True)
            panel.loglog(
                sizes, [1e6 * t for t in seconds], "-" if other is None else "--", color=colour,
                marker=marker, markersize=4, linewidth=1.2, alpha=1.0 if other is None else 0.6,
                markerfacecolor=colour if other is None else "white",
            )  # fmt: skip
    panel.set_xlabel("numbers differentiated by", fontsize=8)
    tidy(panel)


def patterns(n: int = 36) -> Any:
    """The patterns of the problems before and after coloring, small."""
    from matplotlib.figure import Figure

    whole = Figure(figsize=(8, 4 * len(CASES)), layout="constrained")
    x = np.random.default_rng(0).uniform(0.5, 1.5, n)
    for part, case in zip(np.atleast_1d(whole.subfigures(len(CASES), 1)), CASES, strict=True):
        find = dif.jacobian_sparsity if case.operator == "jacobian" else dif.hessian_sparsity
        found = find(case.f, x, backend="autograd")
        part.suptitle(f"{case.name}, n = {n}: {case.operator}", fontsize=9)
        draw(found, part)
    return whole
