"""The elements of an array of index sets, one by one: reads and writes that cost no more than one.

A function that fills an array in a loop would otherwise rebuild a sparse matrix at each element.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Dependence, Maybe

# What an element depends on is an array of inputs, sorted.
NOTHING = np.zeros(0, np.int32)


class Elements:
    """What the elements of an array depend on, with those written last apart.

    Parameters
    ----------
    shape : tuple of int
    whole : Dependence or None
        What they depend on to begin with; None for nothing.
    inputs : int
        How many inputs there are.
    """

    __slots__ = ("_inputs", "_shape", "_whole", "_written")

    def __init__(self, shape: tuple[int, ...], whole: Maybe, inputs: int) -> None:
        self._shape, self._whole, self._inputs = shape, whole, inputs
        self._written: dict[int, Any] = {}

    @property
    def whole(self) -> Maybe:
        """What all of them depend on: the same object until something is written."""
        if self._written:
            self._whole = self._merged()
            self._written = {}
        return self._whole

    @whole.setter
    def whole(self, deps: Maybe) -> None:
        self._whole, self._written = deps, {}

    def _merged(self) -> Maybe:
        columns = list(self._written.values())
        if not self._shape:
            return self.rows(columns, ())
        targets = np.fromiter(self._written, int, len(columns))
        update = self.rows(columns, targets.shape)
        return dep.scatter(self._whole, update, targets, self._shape, overwrite=True)

    def __getitem__(self, position: int) -> Any:
        found = self._written.get(position)
        if found is not None:
            return found
        return NOTHING if self._whole is None else _row(self._whole.matrix, position)

    def __setitem__(self, position: int, columns: Any) -> None:
        self._written[position] = columns

    def rows(self, columns: Sequence[Any], shape: Any) -> Maybe:
        """The dependence of an array whose elements depend on these."""
        lengths = [len(c) for c in columns]
        if not any(lengths):
            return None
        ends = np.concatenate([[0], np.cumsum(lengths)])
        dep.check_size(int(ends[-1]))
        assert self._inputs, "the report of index sets must know how many inputs there are"
        parts = (np.ones(ends[-1], bool), np.concatenate(columns), ends)
        return Dependence(tuple(shape), sp.csr_array(parts, shape=(len(columns), self._inputs)))


def united(a: Any, b: Any) -> Any:
    """The inputs that are in one of the two."""
    if a is b or not len(b):
        return a
    if not len(a):
        return b
    both = np.concatenate((a, b))
    both.sort(kind="stable")
    new = np.empty(len(both), bool)
    new[0] = True
    np.not_equal(both[1:], both[:-1], out=new[1:])
    return both[new]


def position(index: Any, shape: tuple[int, ...]) -> int | None:
    """Where the one element of an index of integers is; None for another index."""
    parts = index if isinstance(index, tuple) else (index,)
    if len(parts) != len(shape):
        return None
    found = 0
    for i, n in zip(parts, shape, strict=True):
        if type(i) is not int and not isinstance(i, np.integer):
            return None
        if not -n <= i < n:
            raise IndexError(f"index {i} is out of bounds for axis with size {n}")
        found = found * n + int(i) % n
    return found


def _row(matrix: Any, position: int) -> Any:
    ends = matrix.indptr
    return matrix.indices[ends[position] : ends[position + 1]]
