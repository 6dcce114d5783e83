"""The look of the pictures that the examples make: that of the benchmarks' pictures."""

from typing import Any

import matplotlib as mpl

from diffface.benchmark.report import COLOURS


def reset(gallery_conf: dict[str, Any], name: str) -> None:
    """Run by sphinx-gallery before each example, after Matplotlib's own defaults."""
    mpl.rcParams.update({
        "axes.prop_cycle": mpl.cycler(color=COLOURS),
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "0.9",
        "grid.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.frameon": False,
        "legend.fontsize": 9,
    })  # fmt: skip
