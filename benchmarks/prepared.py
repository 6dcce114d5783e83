"""Prepared calls beside the best hand-written code: prints a table, writes JSON and a picture.

Run as ``python -m benchmarks.prepared [--json FILE] [--png FILE] [--only TEXT]``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.cells import CELLS, one_thread
from benchmarks.pairs import pair
from diffface.benchmark.report import COLOURS, decades, tidy


def measure(only: str) -> list[dict[str, Any]]:
    """One row per cell whose name contains ``only``."""
    rows = []
    for cell in CELLS:
        if only not in cell.name:
            continue
        with one_thread(cell.x64):
            timing = pair(*cell.make(cell.size))
        row = {"cell": cell.name, "size": cell.size, "target": cell.target, **timing._asdict()}
        rows.append(row)
        mark = "" if timing.ratio <= cell.target else "  over target"
        print(
            f"{cell.name:40} {cell.size:6} {timing.first:10.1f} {timing.second:10.1f} "
            f"{timing.ratio:8.4f} [{timing.low:.4f}, {timing.high:.4f}] {cell.target:7}{mark}",
            flush=True,
        )
    return rows


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Bars of the ratios from 1, to the left what is faster than by hand, with their targets."""
    from matplotlib.figure import Figure

    backends = list(dict.fromkeys(row["cell"].split()[0] for row in rows))
    colours = dict(zip(backends, COLOURS, strict=False))
    figure = Figure(figsize=(8.4, 0.2 * len(rows) + 1.2), layout="constrained", dpi=200)
    axes = figure.add_subplot()
    for at, row in enumerate(rows):
        ratio, colour = row["ratio"], colours[row["cell"].split()[0]]
        axes.barh(at, ratio - 1, left=1, height=0.8, color=colour)
        axes.plot([row["low"], row["high"]], [at, at], color="black", linewidth=0.8)
        axes.plot(row["target"], at, "|", color="black", markersize=9, markeredgewidth=1.4)
    low, high = decades(
        [row["low"] for row in rows], [max(row["high"], row["target"]) for row in rows]
    )
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set(xscale="log", xlim=(low, high), ylim=(len(rows) - 0.3, -0.7))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(rows)), [f"{row['cell']}, n = {row['size']}" for row in rows])
    axes.set_title("time of a prepared call / the same by hand", fontsize=9)
    axes.set_xlabel("ratio, 1 is equal, less is faster; lines: quartiles", fontsize=8)
    tidy(axes)
    axes.grid(visible=False, axis="y")
    target = Line2D([], [], color="black", marker="|", linestyle="", markersize=9)
    figure.legend(
        [*(Patch(color=colours[name]) for name in backends), target],
        [*backends, "at most, as asked for"],
        loc="outside upper center", ncols=len(backends) + 1, frameon=False, fontsize=8,
    )  # fmt: skip
    figure.savefig(file)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--png", type=Path, help="draw the ratios here")
    parser.add_argument("--only", default="", help="only cells whose name contains this")
    options = parser.parse_args()
    header = ("cell", "n", "prepared", "by hand", "ratio", "quartiles", "target")
    print("{:40} {:>6} {:>10} {:>10} {:>8} {} {}".format(*header), "(times in microseconds)")
    rows = measure(options.only)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.png:
        draw(rows, options.png)


if __name__ == "__main__":
    main()
