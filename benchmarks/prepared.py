"""Prepared calls beside the best hand-written code: prints a table, writes JSON and a picture.

Run as ``python -m benchmarks.prepared [--json FILE] [--png FILE] [--only TEXT]``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.cells import CELLS, one_thread
from benchmarks.pairs import pair


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
    """Bars of the ratios, with their targets."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 0.32 * len(rows) + 1.2), layout="constrained")
    labels = [f"{row['cell']}, n = {row['size']}" for row in rows]
    axes.barh(labels, [row["ratio"] for row in rows], color="tab:blue", label="measured")
    axes.plot([row["target"] for row in rows], labels, "k|", markersize=10, label="target")
    axes.axvline(1.0, color="gray", linewidth=0.8)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel("time of the prepared call / time of the hand-written reference")
    axes.legend()
    figure.savefig(file, dpi=150)


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
