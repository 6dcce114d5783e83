"""Colorings: which columns, or rows, of a sparse matrix one direction can carry together.

Every coloring takes time linear in the number of non-zeros.

References
----------
.. [1] A. H. Gebremedhin, F. Manne and A. Pothen, What color is your Jacobian? Graph coloring for
   computing derivatives, SIAM Review 47 (2005), 629-705.
.. [2] A. H. Gebremedhin, A. Tarafdar, A. Pothen and A. Walther, Efficient computation of sparse
   Hessians using coloring and automatic differentiation, INFORMS J. Comput. 21 (2009), 209-223.
.. [3] A. R. Curtis, M. J. D. Powell and J. K. Reid, On the estimation of sparse Jacobian matrices,
   IMA J. Appl. Math. 13 (1974), 117-119.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from diffface.backends.recording.dependence import alike
from diffface.sparse.greedy import ORDERS, distance2, star


@dataclass(frozen=True, slots=True, eq=False)
class Coloring:
    """Which directions to derive along, and where each entry of the pattern is found in them.

    Attributes
    ----------
    columns : ndarray of int, shape (n,)
        The color of each column; -1 for those that no pushforward needs.
    rows : ndarray of int, shape (m,)
        The color of each row; -1 for those that no pullback needs.
    forward, reverse : int
        How many colors there are: how many pushforwards, and how many pullbacks.
    by_row : ndarray of bool, shape (nnz,)
        Which entries a pullback has; the others are in a pushforward.
    color, place : ndarray of int, shape (nnz,)
        The color of each entry, and where it is in the derivative along this color: the row in a
        pushforward, the column in a pullback.
    """

    columns: Any
    rows: Any
    forward: int
    reverse: int
    by_row: Any
    color: Any
    place: Any

    def __str__(self) -> str:
        parts = [f"forward {self.forward}"] if self.forward or not self.reverse else []
        parts += [f"reverse {self.reverse}"] if self.reverse else []
        return " + ".join(parts)


def color_jacobian(pattern: Any, *, forward: bool = True, reverse: bool = True) -> Coloring:
    """The cheapest coloring of a Jacobian by columns, by rows, or by both.

    Parameters
    ----------
    pattern : csr_array of bool, shape (m, n)
        With sorted indices and no duplicates.
    forward, reverse : bool
        Whether columns may be derived by pushforwards, and rows by pullbacks.

    Returns
    -------
    Coloring
        By columns where that takes no more directions than anything else.
    """
    turned = pattern.T.tocsr()
    found = [_by_columns(pattern, turned)] if forward else []
    if forward and reverse:
        found += _bidirectional(pattern, turned, found[0].forward)
    # Rows of one color have no column in common: there are as many colors as a column has entries.
    fewest = min((c.forward + c.reverse for c in found), default=None)
    if reverse and (fewest is None or (fewest > _longest(turned) and not alike(pattern, turned))):
        found.append(_by_rows(pattern))
    return min(found, key=lambda c: c.forward + c.reverse)


def color_hessian(pattern: Any, *, reverse: bool = False) -> Coloring:
    """A star coloring of a symmetric pattern, whose entries are read directly.

    Parameters
    ----------
    pattern : csr_array of bool, shape (n, n)
        Symmetric, with sorted indices and no duplicates.
    reverse : bool
        Whether the columns come from pullbacks of the gradient rather than pushforwards.

    Notes
    -----
    In a star coloring every path of four vertices has three colors at least. Then, of the two
    places ``(i, j)`` and ``(j, i)`` of an entry, one is the only entry of its row that has its
    column's color [1]_.
    """
    i, j = entries(pattern)
    colors, count = star(pattern, ORDERS[0])
    # Two neighbours have two colors.
    if count > 1 + (i != j).any():
        colors, count = min((colors, count), star(pattern, ORDERS[1]), key=_count)
    alone = _alone(i, colors[j], count)
    # Entry p = (i, j) in the order of the transpose gives, for each (j, i), its place p.
    mirrored = np.lexsort((i, j))
    color = np.where(alone, colors[j], colors[i])
    place = np.where(alone, i, j)
    assert (alone | alone[mirrored]).all(), "not a star coloring"
    none, by_row = np.full(pattern.shape[0], -1), np.full(len(i), reverse)
    if reverse:
        return Coloring(none, colors, 0, count, by_row, color, place)
    return Coloring(colors, none, count, 0, by_row, color, place)


def entries(pattern: Any) -> tuple[Any, Any]:
    """Rows and columns of the entries, row by row."""
    return np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr)), pattern.indices


def _by_columns(pattern: Any, turned: Any) -> Coloring:
    columns, count = _best(turned)
    return _colored(pattern, columns, np.full(pattern.shape[0], -1), count, 0)


def _by_rows(pattern: Any) -> Coloring:
    rows, count = _best(pattern)
    return _colored(pattern, np.full(pattern.shape[1], -1), rows, 0, count)


def _bidirectional(pattern: Any, turned: Any, fewest: int) -> list[Coloring]:
    """Colorings by both, with the densest rows (or columns) taken apart.

    ``turned`` is the transpose, ``fewest`` how many colors are needed without.
    """
    found = []
    for dense, rest in _apart(pattern, fewest):
        few, reverse = _best(pattern[dense])
        columns, forward = _best(rest.T.tocsr())
        rows = _spread(few, dense, pattern.shape[0])
        found.append(_colored(pattern, columns, rows, forward, reverse, rows_first=True))
    for dense, rest in _apart(turned, fewest):
        few, forward = _best(turned[dense])
        rows, reverse = _best(rest.T.tocsr())
        columns = _spread(few, dense, pattern.shape[1])
        found.append(_colored(pattern, columns, rows, forward, reverse))
    return found


def _apart(pattern: Any, fewest: int) -> list[tuple[Any, Any]]:
    """The densest rows and the pattern without them, in the two best numbers of such rows.

    Those taken apart need one color each at most, and as many as a column has entries in them at
    least; those that are left, as many as the densest of them has entries.
    """
    degrees = np.diff(pattern.indptr)
    order = np.argsort(-degrees, kind="stable")
    falling = degrees[order]
    cuts = np.flatnonzero(np.diff(falling)) + 1
    cuts = cuts[falling[cuts] + 1 < fewest]
    bounds = cuts + falling[cuts]
    found = []
    for k in cuts[np.argsort(bounds, kind="stable")[:2]]:
        dense, least = np.sort(order[:k]), int(falling[k])
        rest = _without(pattern, dense)
        inside = pattern.nnz - rest.nnz
        if inside and least + int(np.bincount(pattern[dense].indices).max()) >= fewest:
            continue  # it cannot need fewer
        found.append((dense, rest))
    return found


def _colored(
    pattern: Any, columns: Any, rows: Any, forward: int, reverse: int, rows_first: bool = False
) -> Coloring:
    """Where the entries are, given the colors; columns go first where an entry has both."""
    i, j = entries(pattern)
    by_row = rows[i] >= 0 if rows_first else columns[j] < 0
    color = np.where(by_row, rows[i], columns[j])
    return Coloring(columns, rows, forward, reverse, by_row, color, np.where(by_row, j, i))


def _spread(colors: Any, places: Any, size: int) -> Any:
    found = np.full(size, -1)
    found[places] = colors
    return found


def _without(pattern: Any, rows: Any) -> Any:
    """``pattern`` with these rows empty."""
    lengths = np.diff(pattern.indptr)
    keep = np.ones(pattern.shape[0], bool)
    keep[rows] = False
    kept = np.repeat(keep, lengths)
    ends = np.concatenate([[0], np.cumsum(np.where(keep, lengths, 0))])
    parts = (pattern.data[kept], pattern.indices[kept], ends)
    return sp.csr_array(parts, shape=pattern.shape)


def _best(pattern: Any) -> tuple[Any, int]:
    """The distance-2 coloring of the rows that needs the fewest colors."""
    found = distance2(pattern, ORDERS[0])
    # No coloring needs fewer than a column has entries.
    least = int(np.bincount(pattern.indices, minlength=1).max())
    return found if found[1] <= least else min(found, distance2(pattern, ORDERS[1]), key=_count)


def _longest(pattern: Any) -> int:
    return int(np.diff(pattern.indptr).max(initial=0))


def _count(found: tuple[Any, int]) -> int:
    return found[1]


def _alone(rows: Any, colors: Any, count: int) -> Any:
    """For each entry, whether it is the only one of its row that has its color."""
    key = rows * max(count, 1) + colors
    order = np.argsort(key, kind="stable")
    key = key[order]
    differs = key[1:] != key[:-1]
    alone = np.empty(len(key), bool)
    alone[order] = np.r_[True, differs][: len(key)] & np.r_[differs, True][: len(key)]
    return alone
