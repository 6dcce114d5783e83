"""The text of ``docs/reference/results.md``, around the figures that were measured."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rules import tables as rule_tables
from benchmarks.sparse_page import tables
from diffface.benchmark.row import digits, duration, markdown
from diffface.testing import Benchmark, Measurement

# GMM, d = 10, K = 25, 1,000 points, in GradBench's nightly run of 2026-03-14 (one thread): seconds
# of the function and of the gradient. github.com/gradbench/gradbench (MIT).
GRADBENCH = {
    "hand-written C++": (0.002118717, 0.003865850),
    "TensorFlow": (0.339633388, 0.653615651),
    "Tapenade": (0.002064540, 0.005120255),
    "JAX": (0.001239453, 0.005090342),
    "PyTorch": (0.001214676, 0.005965542),
    "Futhark": (0.001442266, 0.008748060),
    "Zygote": (0.003147883, 0.034758640),
    "Enzyme (C++)": (0.001565786, 0.020021476),
    "finite differences (C++)": (0.002116951, 7.008062286),
}
TEMPLATE = Path(__file__).with_name("results_template.md")
SHOWN = ("backend", "strategy", "prepare", "call", "by hand", "ratio", "quartiles", "over f",
         "error", "pays after", "flags")  # fmt: skip


def page(found: dict[str, Any], reports: dict[str, Benchmark]) -> str:
    """The whole page."""
    gmm, hvp, problems = (reports[name].rows for name in ("gmm", "hvp", "problems"))
    effort = found["effort"]
    return TEMPLATE.read_text(encoding="utf-8").format(
        where=", ".join(f"{key} {value}" for key, value in found["machine"].items()),
        rounds=effort["rounds"],
        milliseconds=round(1e3 * effort["seconds"]),
        gmm=markdown(gmm, SHOWN),
        hvp=markdown(hvp, ("size", *SHOWN)),
        problems=markdown(problems, ("problem", "size", "operator", *SHOWN)),
        gradbench=gradbench(),
        **tables(found["sparse"]),
        **rule_tables(found["rules"]),
        **{name: others(found[name]) for name in ("gmm_beside", "hvp_beside", "differences")},
        **surprises(gmm, hvp, problems, found),
    )


def others(rows: Sequence[dict[str, Any]]) -> str:
    """A table of tools."""
    lines = ["| who | time | relative | quartiles | error |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in rows:
        low, high = row["quartiles"]
        lines.append(
            f"| {row['who']} | {duration(row['time'])} | {digits(row['ratio'])} | "
            f"{digits(low)} to {digits(high)} | {row['error']:.0e} |"
        )
    return "\n".join(lines) + "\n"


def gradbench() -> str:
    """What GradBench published."""
    lines = ["| GradBench | function | gradient | ratio |", "| --- | ---: | ---: | ---: |"]
    for who, (function, gradient) in GRADBENCH.items():
        ratio = digits(gradient / function)
        lines.append(f"| {who} | {duration(function)} | {duration(gradient)} | {ratio} |")
    return "\n".join(lines) + "\n"


def surprises(
    gmm: Sequence[Measurement], hvp: Sequence[Measurement], problems: Sequence[Measurement],
    found: dict[str, Any],
) -> dict[str, str]:  # fmt: skip
    """The figures of what one would not have guessed."""
    worst = max((row for row in problems if row.backend == "jax"), key=lambda row: row.ratio or 0)
    beside = {row["who"]: row for part in ("gmm_beside", "hvp_beside") for row in found[part]}
    by_hand = next(row for row in found["hvp_beside"] if row["who"] == "torch, by hand")
    kinks = next(r for r in problems if r.problem == "kmeans" and r.backend == "numpy")
    over = {row.backend: digits(row.over_function) for row in gmm}
    small = {row.backend: duration(row.time) for row in hvp if row.inputs == 10}
    ratios = {
        f"ratios_{name.replace('-', '_')}": span([r.ratio for r in problems if r.backend == name])
        for name in ("jax", "torch", "autograd", "numpy", "complex-step")
    }
    return {
        **ratios, "autograd_hvp": small["autograd"], "jax_hvp": small["jax"],
        "worst_on_jax": f"{worst.problem} ({digits(worst.ratio)}), {duration(worst.time)}",
        "forward": duration(by_hand["time"]),
        "backward": duration(beside["torch, reverse over reverse"]["time"]),
        "casadi": digits(beside["CasADi"]["ratio"]), "kinks": error(kinks),
        "over_jax": over["jax"], "over_torch": over["torch"], "over_autograd": over["autograd"],
        "over_compiled": over["Torch(compile=True)"],
    }  # fmt: skip


def span(measured: Sequence[float | None]) -> str:
    """Smallest to largest, and the median."""
    ratios = [ratio for ratio in measured if ratio is not None]
    low, high = digits(min(ratios)), digits(max(ratios))
    return f"{low} to {high} (median {digits(statistics.median(ratios))})"


def error(row: Measurement) -> str:
    """An error in words."""
    return "an amount unknown" if row.error is None else f"{row.error:.0e} of its largest number"
