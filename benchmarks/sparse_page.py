"""The sparse part of the results page: its tables and its pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

import diffface as dif
from benchmarks.sparse_cases import CASES
from diffface.benchmark.row import digits, duration
from diffface.sparse.picture import draw

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


def curves(rows: Rows) -> Any:
    """Time of a call over the size, a line for each backend and a panel for each problem."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(r["problem"] for r in rows))
    figure = Figure(figsize=(3.2 * len(names), 3.6), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for panel, name in zip(panels, names, strict=True):
        mine = [r for r in rows if r["problem"] == name]
        for backend in dict.fromkeys(r["backend"] for r in mine):
            line = [(r["n"], r["call"]) for r in mine if r["backend"] == backend]
            panel.loglog(*zip(*line, strict=True), marker="o", label=backend)
        for other in ("asdex", "scipy", "hand"):
            by_size = {r["n"]: r["call"] / r[f"over_{other}"] for r in mine if r[f"over_{other}"]}
            if by_size:
                label = {"scipy": "SciPy's differences", "hand": "NumPy by hand"}.get(other, other)
                style = {"marker": "x", "linestyle": "--", "color": COLORS[other]}
                panel.loglog(*zip(*sorted(by_size.items()), strict=True), label=label, **style)
        panel.set_title(name)
        panel.set_xlabel("n")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("seconds per call")
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=len(labels), fontsize="small")
    return figure


COLORS = {"asdex": "black", "scipy": "gray", "hand": "silver"}


def patterns(n: int = 36) -> Any:
    """The patterns of the problems before and after coloring, small."""
    from matplotlib.figure import Figure

    whole = Figure(figsize=(8, 4 * len(CASES)), layout="constrained")
    x = np.random.default_rng(0).uniform(0.5, 1.5, n)
    for part, case in zip(np.atleast_1d(whole.subfigures(len(CASES), 1)), CASES, strict=True):
        find = dif.jacobian_sparsity if case.operator == "jacobian" else dif.hessian_sparsity
        found = find(case.f, x, backend="autograd")
        part.suptitle(f"{case.name}, n = {n}: {case.operator}")
        draw(found, part)
    return whole
