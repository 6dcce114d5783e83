"""Dependence: which inputs each element of an array may depend on, as a sparse Boolean matrix.

Whatever a backend records, its linear operations come down to a few of these kernels. Only they
know SciPy; a backend maps its operations to them. Operations that move elements about (slices,
gathers, padding) are run by the library itself on arrays of positions, and `select` does the rest.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

Shape = Sequence[int]
# A dense fallback with more entries than this is refused.
LIMIT = 10**7
# So is any other pattern with more than this: nothing could be gained from it.
HUGE = 10**8
# Arrays of no more elements are treated one element after the other where that spares a matrix.
FEW = 32


class Dependence(NamedTuple):
    """What the elements of an array depend on.

    Attributes
    ----------
    shape : tuple of int
        Of the array.
    matrix : csr_array of bool, shape (size of the array, number of inputs)
        Row ``k`` has the inputs that element ``k``, in C order, may depend on.
    """

    shape: tuple[int, ...]
    matrix: Any

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


# None stands for an array that depends on nothing.
Maybe = Dependence | None


class TooDense(Exception):
    """A pattern would have this many entries."""


def words(text: str) -> frozenset[str]:
    """Names of operations, written as one text with spaces between."""
    return frozenset(text.split())


def identity(shapes: Sequence[Shape]) -> list[Dependence]:
    """The dependence of inputs of these shapes on themselves."""
    total = sum(map(prod, shapes))
    return [
        Dependence(p.shape, _matrix(p.ravel(), np.arange(p.size + 1), total))
        for p in positions_of(shapes)
    ]


def stacked(deps: Sequence[Maybe], shapes: Sequence[Shape], inputs: int) -> Any:
    """One matrix of several arrays, one after the other."""
    matrix = _joined(deps, [prod(shape) for shape in shapes], inputs)
    matrix.sum_duplicates()
    return matrix


def _joined(deps: Sequence[Maybe], sizes: Sequence[int], inputs: int) -> Any:
    """The same for arrays of these sizes."""
    if len(deps) == 1 and deps[0] is not None:
        return deps[0].matrix
    ends, columns, total = [np.zeros(1, int)], [], 0
    for d, size in zip(deps, sizes, strict=True):
        if d is None:
            ends.append(np.full(size, total))
        else:
            ends.append(d.matrix.indptr[1:] + total)
            columns.append(d.matrix.indices)
            total += d.matrix.nnz
    return _matrix(np.concatenate(columns or [ends[0][:0]]), np.concatenate(ends), inputs)


def _matrix(columns: Any, ends: Any, inputs: int) -> Any:
    """Of the inputs of each row, which end where the next one's begin."""
    parts = (np.ones(len(columns), bool), columns, ends)
    return sp.csr_array(parts, shape=(len(ends) - 1, inputs))


def alike(a: Any, b: Any) -> bool:
    """Whether two matrices have the same entries, in the same order."""
    if a is b or a.nnz != b.nnz:
        return a is b
    return np.array_equal(a.indices, b.indices) and np.array_equal(a.indptr, b.indptr)


def take(matrix: Any, positions: Any) -> Any:
    """Rows of ``matrix`` by ``positions``; -1 stands for an empty row."""
    positions = np.ravel(positions)
    n = positions.size
    if n == matrix.shape[0] and (positions == np.arange(n)).all():
        return matrix
    lengths = np.diff(matrix.indptr)
    counts = np.where(positions < 0, 0, lengths[positions] if len(lengths) else 0)
    check_size(int(counts.sum()))
    ends = np.concatenate([[0], np.cumsum(counts)])
    # Each row's entries from where they start in the matrix.
    moves = np.repeat(matrix.indptr[positions] - ends[:-1], counts)
    return _matrix(matrix.indices[moves + np.arange(ends[-1])], ends, matrix.shape[1])


def select(parts: Sequence[tuple[Maybe, int]], positions: Any) -> Maybe:
    """Elements by position in several arrays laid one after the other; -1 stands for a constant.

    ``parts`` are the arrays' dependences and sizes.
    """
    live = [d for d, _ in parts if d is not None]
    if not live:
        return None
    positions = np.asarray(positions)
    n = live[0].matrix.shape[1]
    matrix = _joined([d for d, _ in parts], [size for _, size in parts], n)
    return _kept(positions.shape, take(matrix, positions))


def broadcast(d: Maybe, shape: Shape) -> Maybe:
    """``d`` of an array that is broadcast to ``shape``."""
    if d is None or d.shape == tuple(shape):
        return d
    positions = np.broadcast_to(np.arange(d.size).reshape(d.shape), tuple(shape))
    return Dependence(tuple(shape), take(d.matrix, positions))


def union(deps: Iterable[Maybe], shape: Shape) -> Maybe:
    """Each element depends on whatever the elements at its place do, after broadcasting."""
    found: Maybe = None
    for d in deps:
        d = broadcast(d, shape)
        if d is None or (found is not None and alike(d.matrix, found.matrix)):
            continue
        found = d if found is None else Dependence(tuple(shape), found.matrix + d.matrix)
    return found


def gathered(d: Dependence, group: Any, shape: Shape) -> Dependence:
    """Element ``g`` of the result depends on what the elements with ``group == g`` do."""
    group = np.ravel(group)
    return mapped(d, group, np.arange(group.size), shape)


def mapped(d: Dependence, targets: Any, sources: Any, shape: Shape) -> Dependence:
    """Element ``targets[k]`` of the result depends on what element ``sources[k]`` does."""
    lengths = np.diff(d.matrix.indptr)
    check_size(int(lengths[sources].sum()) if len(lengths) else 0)
    parts = (np.ones(len(targets), bool), (targets, sources))
    linear = sp.csr_array(parts, shape=(prod(shape), d.size))
    matrix = sp.csr_array(linear @ d.matrix)
    matrix.sort_indices()
    return Dependence(tuple(shape), matrix)


def reduce(d: Maybe, axes: Iterable[int], keepdims: bool = False) -> Maybe:
    """A sum, a mean or a norm over ``axes``."""
    if d is None:
        return None
    ndim = len(d.shape)
    over = {a % ndim for a in axes} if ndim else set()
    kept = tuple(1 if a in over else n for a, n in enumerate(d.shape))
    out = kept if keepdims else tuple(n for a, n in enumerate(d.shape) if a not in over)
    group = np.broadcast_to(np.arange(prod(kept)).reshape(kept), d.shape)
    return gathered(d, group, out)


def along(d: Maybe, axes: Iterable[int]) -> Maybe:
    """Each element depends on what all those along ``axes`` do."""
    return None if d is None else broadcast(reduce(d, axes, keepdims=True), d.shape)


def everything(deps: Iterable[Maybe], shape: Shape) -> Maybe:
    """Each element depends on whatever anything does."""
    live = [d for d in deps if d is not None]
    if not live:
        return None
    columns = np.unique(np.concatenate([d.matrix.indices for d in live]))
    n = prod(shape)
    check_size(n * columns.size, LIMIT)
    ends = np.arange(n + 1) * columns.size
    return Dependence(tuple(shape), _matrix(np.tile(columns, n), ends, live[0].matrix.shape[1]))


def drop(d: Maybe, zero: Any) -> Maybe:
    """``d`` times a known factor that is zero where ``zero`` is."""
    if d is None or not np.any(zero):
        return d
    where = np.broadcast_to(zero, d.shape).ravel()
    return _kept(d.shape, take(d.matrix, np.where(where, -1, np.arange(where.size))))


def cumulate(d: Maybe, axis: int, reverse: bool = False) -> Maybe:
    """A cumulative sum or product along ``axis``."""
    if d is None:
        return None
    axis, length = axis % len(d.shape), d.shape[axis]
    later, earlier = np.tril_indices(length)
    if reverse:
        later, earlier = earlier, later
    places = np.moveaxis(np.arange(d.size).reshape(d.shape), axis, -1)
    places = places.reshape(d.size // max(length, 1), length)
    check_size(places.shape[0] * later.size)
    return mapped(d, places[:, later].ravel(), places[:, earlier].ravel(), d.shape)


def scatter(base: Maybe, update: Maybe, targets: Any, shape: Shape, overwrite: bool) -> Maybe:
    """``base`` with ``update`` added to, or written over, the elements at ``targets``.

    ``targets`` has a position for each element of the update, -1 for those that are dropped.
    """
    n, targets = prod(shape), np.ravel(targets)
    hit = targets >= 0
    if overwrite and base is not None:
        written = np.zeros(n, bool)
        written[targets[hit]] = True
        base = drop(base, written.reshape(shape))
    added = None
    if update is not None:
        added = mapped(update, targets[hit], np.flatnonzero(hit), shape)
    return union([base, added], shape)


def contract(d: Dependence, other: Any, known: bool, dims: Any, left: bool) -> Dependence:
    """A product of arrays summed over some axes, as in ``jax.lax.dot_general``.

    Parameters
    ----------
    d : Dependence
        Of the one factor that depends on inputs.
    other : array
        The other factor; only its shape matters unless it is ``known``. Then its zeros are those of
        the result.
    dims : ((left axes, right axes), (left axes, right axes))
        Those that are summed over, and those that both have and the result begins with.
    left : bool
        Whether ``d`` is of the left factor.
    """
    (lc, rc), (lb, rb) = dims
    dc, oc, db, ob = (lc, rc, lb, rb) if left else (rc, lc, rb, lb)
    df = [a for a in range(len(d.shape)) if a not in (*dc, *db)]
    of = [a for a in range(len(other.shape)) if a not in (*oc, *ob)]
    batch, free = [d.shape[a] for a in db], [d.shape[a] for a in df]
    others = [other.shape[a] for a in of]
    b, f, g, k = prod(batch), prod(free), prod(others), prod(d.shape[a] for a in dc)
    source = np.arange(d.size).reshape(d.shape).transpose([*db, *df, *dc]).reshape(b, f, k)
    shape = (*batch, *free, *others) if left else (*batch, *others, *free)
    if not known:
        group = np.empty(d.size, int)
        group[source.reshape(b * f, k)] = np.arange(b * f)[:, None]
        rows = np.broadcast_to(np.arange(b * f).reshape(b, f, 1), (b, f, g))
        matrix = gathered(d, group, (b * f,)).matrix
        return Dependence(shape, take(matrix, rows if left else rows.transpose(0, 2, 1)))
    i, j, q = np.nonzero((np.asarray(other) != 0).transpose([*ob, *of, *oc]).reshape(b, g, k))
    check_size(i.size * f)
    each = np.arange(f)
    if left:
        targets = (i[:, None] * f + each) * g + j[:, None]
    else:
        targets = (i[:, None] * g + j[:, None]) * f + each
    return mapped(d, targets.ravel(), source[i[:, None], each, q[:, None]].ravel(), shape)


def columns_of(d: Maybe, count: int) -> list[Any]:
    """For each of ``count`` elements, the inputs that it depends on."""
    if d is None:
        return [np.zeros(0, np.int32)] * count
    return [d.matrix.indices[a:b] for a, b in pairwise(d.matrix.indptr.tolist())]


def positions_of(shapes: Sequence[Shape], start: int = 0) -> list[Any]:
    """Arrays of these shapes whose elements are numbered one after the other."""
    found = []
    for shape in shapes:
        n = prod(shape)
        found.append(np.arange(start, start + n).reshape(tuple(shape)))
        start += n
    return found


def check_size(entries: int, limit: int = HUGE) -> None:
    """Refuse a pattern that is too large to be worth anything."""
    if entries > limit:
        raise TooDense(entries)


def _kept(shape: Shape, matrix: Any) -> Maybe:
    return Dependence(tuple(shape), matrix) if matrix.nnz else None
