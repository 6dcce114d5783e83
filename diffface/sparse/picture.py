"""A picture of a pattern: the matrix with its colors, and the compressed one beside it."""

from typing import Any

import numpy as np


def picture(sparsity: Any) -> Any:
    """The figure that ``Sparsity.plot`` returns."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8 if sparsity.coloring else 4, 4), layout="constrained")
    draw(sparsity, figure)
    return figure


def draw(sparsity: Any, figure: Any) -> None:
    """Draw a pattern into a figure, or a part of one."""
    coloring = sparsity.coloring
    panels = figure.subplots(1, 2 if coloring else 1, squeeze=False)[0]
    if coloring is None:
        colors = np.zeros(sparsity.nnz)
    else:
        # Pullbacks get the colors after those of pushforwards.
        colors = coloring.color + coloring.forward * coloring.by_row
    _dots(panels[0], sparsity.cols, sparsity.rows, colors, sparsity.shape)
    panels[0].set_title(f"{sparsity.nnz} non-zeros of {sparsity.shape}", fontsize=9)
    if coloring is not None:
        m, n = sparsity.shape
        along, total = np.arange(sparsity.nnz), coloring.forward + coloring.reverse
        x = np.where(coloring.by_row, coloring.place, coloring.color)[along]
        y = np.where(coloring.by_row, m + coloring.color, coloring.place)[along]
        width = n if coloring.reverse else total
        _dots(panels[1], x, y, colors, (m + coloring.reverse, width))
        panels[1].set_title(sparsity.colors, fontsize=9)
        panels[1].set_aspect("auto")


def _dots(panel: Any, x: Any, y: Any, colors: Any, shape: tuple[int, int]) -> None:
    size = max(0.5, 40_000 / max(*shape, 1) ** 2)
    panel.scatter(x, y, c=colors % 20, s=size, cmap="tab20", vmin=0, vmax=19, marker="s")
    panel.set_xlim(-1, shape[1])
    panel.set_ylim(shape[0], -1)
    panel.set_aspect("equal")
    panel.locator_params(integer=True)
    panel.tick_params(labelsize=7)
