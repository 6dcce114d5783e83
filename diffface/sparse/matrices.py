"""The sparse matrices that users get, from their entries."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.errors import InvalidArgumentError, NotDifferentiableError
from diffface.backends.libraries import library_of
from diffface.prep.arguments.signature import Leaf
from diffface.sparse.pattern import Sparsity

FORMATS = ("csr", "csc", "coo")


class Block(NamedTuple):
    """One matrix of the result.

    Attributes
    ----------
    start, stop : int
        Where its entries are among all.
    build : callable
        From its entries to the matrix.
    dtype : dtype of the argument's library
        Which real entries take.
    """

    start: int
    stop: int
    build: Callable[[Any], Any]
    dtype: Any


def blocks_of(
    sparsity: Sparsity, outputs: Sequence[tuple[int, ...]], inputs: Sequence[Leaf],
    format: str | None,  # noqa: A002 - the name of the option
) -> tuple[list[Block], Any]:  # fmt: skip
    """The matrices for each output and input, and the order of the entries in them.

    Returns
    -------
    blocks : list of Block
        Output by output.
    order : ndarray of int, shape (nnz,)
        The entries one block after the other, as indices into those of the pattern.
    """
    rows, cols = sparsity.rows, sparsity.cols
    heights = np.cumsum([0, *(prod(shape) for shape in outputs)])
    widths = np.cumsum([0, *(prod(leaf.shape) for leaf in inputs)])
    down = np.searchsorted(heights, rows, side="right") - 1
    across = np.searchsorted(widths, cols, side="right") - 1
    # Empty leaves take no entries, whichever side they are on.
    number = down * len(inputs) + across
    within = (rows, cols) if format == "csc" else (cols, rows)
    order = np.lexsort((*within, number))
    counts = np.bincount(number, minlength=len(outputs) * len(inputs))
    ends = np.cumsum([0, *counts])
    blocks = []
    for k in range(len(outputs)):
        for j, leaf in enumerate(inputs):
            b = k * len(inputs) + j
            mine = order[ends[b] : ends[b + 1]]
            shape = (int(heights[k + 1] - heights[k]), int(widths[j + 1] - widths[j]))
            build = leaf.library.sparse(
                rows[mine] - heights[k], cols[mine] - widths[j], shape, format, leaf.device
            )
            dtype = leaf.library.from_numpy(np.zeros(0, leaf.dtype), leaf.device).dtype
            blocks.append(Block(int(ends[b]), int(ends[b + 1]), build, dtype))
    return blocks, order


def check_plain(entries: Any, inputs: Sequence[Leaf]) -> None:
    """Refuse entries that carry a derivative, where the matrix could not."""
    library = library_of(entries)
    if library is None or not library.is_traced(entries):
        return
    if any(leaf.library is not library for leaf in inputs):
        raise NotDifferentiableError(
            "A sparse matrix of SciPy carries no derivative. Prepare the sparse derivative before, "
            "and take its entries by `data(...)`, which do; or leave `sparsity` out."
        )


def check_format(format: object) -> None:  # noqa: A002 - the name of the option
    """Refuse a format that there is not."""
    if format is not None and format not in FORMATS:
        names = ", ".join(map(repr, FORMATS))
        raise InvalidArgumentError(f"`format` must be one of {names}, got {format!r}.")
