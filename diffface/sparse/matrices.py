"""The sparse matrices that users get, from their entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from diffface.backends.errors import InvalidArgumentError, NotDifferentiableError
from diffface.backends.libraries import library_of
from diffface.prep.arguments.signature import Leaf
from diffface.prep.arguments.tree import Spec, unflatten
from diffface.prep.plan import Plan
from diffface.sparse.pattern import Sparsity

if TYPE_CHECKING:
    from diffface.sparse.compress import Described

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


class _Places(NamedTuple):
    """Places in an array, for NumPy and for the library of who derives."""

    plain: Any
    held: Any


class Matrices:
    """What the entries of a pattern become: matrices, or `data` in the order of `structure`.

    Parameters
    ----------
    plan : Plan
        How it would be derived densely.
    sparsity : Sparsity
        The pattern; symmetric for a Hessian.
    inputs, outputs : sequence of (shape, dtype, device)
        The primals, and what is differentiated.
    y : Spec or None
        The tree of the results of ``f``.
    format : str, optional
        Of the matrices.

    Attributes
    ----------
    order : ndarray of int, shape (nnz,)
        The entries of all matrices, one after the other, as indices into those of the pattern.
    computed : ndarray of int
        Those that have to be computed: of a Hessian, the lower triangle row by row.
    """

    def __init__(
        self, plan: Plan, sparsity: Sparsity, inputs: Described, outputs: Described,
        y: Spec | None, format: str | None,  # noqa: A002 - the name of the option
    ) -> None:  # fmt: skip
        self._plan, self._sparsity, self._inputs, self._y = plan, sparsity, inputs, y
        shapes = [d[0] for d in outputs]
        self._blocks, self.order = blocks_of(sparsity, shapes, plan.signature.primals, format)
        self.computed = self.order
        self._in_blocks: _Places | None = None
        self._in_structure: _Places | None = None
        if plan.operator.order == 2:
            lower = sparsity.rows >= sparsity.cols
            number = np.cumsum(lower) - 1
            # Sorted by columns first, the entries are those of the transpose.
            mirrored = np.lexsort((sparsity.rows, sparsity.cols))
            self.computed = np.flatnonzero(lower)
            self._in_blocks = self._places(np.where(lower, number, number[mirrored])[self.order])
        elif not np.array_equal(self.order, np.arange(sparsity.nnz)):
            self._in_structure = self._places(np.argsort(self.order))

    def _places(self, places: Any) -> _Places:
        from diffface.sparse.compress import held  # with SciPy, which is an extra

        return _Places(places, held(places, self._inputs, self._plan.outer))

    def structure(self) -> tuple[Any, Any]:
        """Rows and columns, row by row; of a Hessian the lower triangle."""
        rows, cols = self._sparsity.rows, self._sparsity.cols
        if self._plan.operator.order == 2:
            return rows[self.computed], cols[self.computed]
        return rows.copy(), cols.copy()

    def data(self, entries: Any) -> Any:
        """The entries that were computed in the order of `structure`."""
        return self._taken(entries, self._in_structure)

    def all(self, entries: Any) -> Any:
        """The entries of all matrices, from those that were computed."""
        return self._taken(entries, self._in_blocks)

    def _taken(self, entries: Any, places: _Places | None) -> Any:
        if places is None:
            return entries
        if type(entries) is np.ndarray:
            return entries.take(places.plain, mode="clip")
        plan = self._plan
        if library_of(entries) is not plan.outer.arrays:
            return entries[places.plain]
        with plan.inner.scope(plan.dtypes):
            return plan.outer.gather(entries, places.held)

    def build(self, entries: Any) -> Any:
        """The tree of matrices, from the entries that were computed."""
        entries, signature = self.all(entries), self._plan.signature
        if type(entries) is not np.ndarray:
            check_plain(entries, signature.primals)
        matrices = [b.build(self._own(entries, b)) for b in self._blocks]
        width = len(signature.primals)
        rows = [
            signature.like_active(matrices[i : i + width]) for i in range(0, len(matrices), width)
        ]
        if self._plan.operator.order == 2:
            return signature.like_active(rows)
        return rows[0] if self._y is None else unflatten(self._y, rows)

    def _own(self, entries: Any, block: Block) -> Any:
        if len(self._blocks) == 1:
            return entries
        part = entries[block.start : block.stop]
        xp = np if isinstance(part, np.ndarray) else self._plan.outer.xp
        if part.dtype != block.dtype and not xp.isdtype(part.dtype, "complex floating"):
            return xp.astype(part, block.dtype)
        return part.copy() if xp is np else part


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
