"""Terms: a recorded graph, as the computation of entries reads and writes it.

Knows: which of NumPy's functions are sums, products and moves, and how vectors are made by NumPy.
Must not know: which entries there are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.algebra import common_shape
from diffface.backends.autograd.recorder.functions import gathered, joined, placed, scatter
from diffface.backends.autograd.recorder.graph import Graph, Node, nodes_in, substitute
from diffface.backends.autograd.recorder.scatter import Touched, is_basic
from diffface.backends.autograd.recorder.shapes import GETITEM
from diffface.backends.recording.entries.seeds import FUNCTIONS

_VIEWS = (np.broadcast_to, np.reshape, np.transpose)
# These move elements of an array that is their first argument, or of arrays in it.
_MOVES = {*_VIEWS, GETITEM, gathered, joined, np.concatenate, np.flip, np.roll, np.stack}
# So many slices take less time than an array of indices.
_SLICES = 4
# Integers up to here are numbers of double precision.
_EXACT = 2**53


class Padded:
    """What `scatter` adds to an array: zeros, and other numbers at an index. No value itself."""

    def __init__(self, node: Node) -> None:
        _, self.shape, self.dtype, self.index, self.x = node.args


class Terms:
    """A graph at one gather (see `recording.entries.graph.Graph`).

    Parameters
    ----------
    graph : Graph
        Nodes are added to it.
    order : sequence of Node
        What its results need, in the order of execution.
    gather : Node
    """

    def __init__(self, graph: Graph, order: Sequence[Node], gather: Node) -> None:
        self._graph, self._order, self._gather = graph, order, gather
        self._padded: dict[Node, Padded] = {}
        self.dtype: Any = gather.dtype.type

    # What is there.

    def needed(self) -> list[Any]:
        """What the gather needs, and what is added to arrays on the way."""
        needed, found = {self._gather}, list[Any]()
        for node in reversed(self._order):
            if node in needed:
                needed.update(node.parents)
                found.append(node)
                if node.fn is scatter and _can_be_split(node):
                    self._padded[node] = Padded(node)
                    found.append(self._padded[node])
        return found[::-1]

    def shape(self, x: Any) -> tuple[int, ...]:
        """Of an array."""
        found: tuple[int, ...] = x.shape
        return found

    def is_followed(self, x: Any) -> bool:
        """Whether it is an array of real numbers, or a Python number."""
        return x.shape is not None and (x.dtype.char in "fd" or _is_weak(x))

    def constant(self, x: Any) -> Any:
        """The numbers of a constant."""
        return np.ravel(x.value) if isinstance(x, Node) and x.is_constant else None

    def number(self, x: Any) -> None:
        """What is filled with a number is a constant."""
        return

    def arithmetic(self, x: Any) -> tuple[Any, tuple[Any, ...]] | None:
        """The function and its operands."""
        if isinstance(x, Padded):
            return None
        if x in self._padded:
            function, terms = np.add, (x.args[0], self._padded[x])
        elif x.fn in FUNCTIONS and x.is_elementwise:
            function, terms = x.fn, x.args
        else:
            return None
        return (function, terms) if all(_fits(y, x) or _is_weak(y) for y in terms) else None

    def moved(self, x: Any) -> Sequence[Any]:
        """The operands of what only moves elements."""
        if isinstance(x, Padded):
            return (x.x,)
        if x in self._padded and x.args[0] is None:
            return (self._padded[x],)
        if x.fn not in _MOVES:
            return ()
        operands: Any = x.args[0] if isinstance(x.args[0], tuple | list) else x.args[:1]
        rest = nodes_in((*x.args[1:], *x.kwargs.values()))
        known = all(isinstance(y, Node) and _fits(y, x) for y in operands)
        return operands if known and all(y.is_constant for y in rest) else ()

    def moves(self, x: Any, numbers: Sequence[Any]) -> Any:
        """What it makes of integers."""
        if isinstance(x, Padded):
            found = np.zeros(x.shape, numbers[0].dtype)
            found[_plain(x.index)] = numbers[0]
            return found
        if x in self._padded:
            return numbers[0]
        if x.fn is joined:
            return np.concatenate(numbers)
        rest, named = _plain(x.args[1:]), {name: _plain(y) for name, y in x.kwargs.items()}
        if x.fn in (gathered, GETITEM):
            return numbers[0][rest[0]]
        several = isinstance(x.args[0], tuple | list)
        return x.fn(numbers if several else numbers[0], *rest, **named)

    def is_view(self, x: Any) -> bool:
        """Whether it moves elements without cost."""
        if isinstance(x, Padded):
            return False
        return x.fn in _VIEWS or (x.fn is GETITEM and is_basic(x.args[1]))

    def pads(self, x: Any) -> bool:
        """Whether it puts zeros around what it moves."""
        return isinstance(x, Padded) or x in self._padded

    # What is added.

    def apply(self, function: Any, *terms: Any) -> Node:
        """A function of vectors, and of numbers that are for all of their elements."""
        nodes = tuple(self._node(x) for x in terms)
        return self._call(function, nodes, common_shape(*(x.shape for x in nodes)))

    def flat(self, x: Any) -> Node:
        """All elements."""
        return x if x.ndim < 2 else self._call(np.reshape, (x, (x.size,)), (x.size,))

    def sliced(self, x: Node, start: int, stop: int) -> Node:
        """A part of a vector."""
        return self._call(GETITEM, (x, slice(start, stop)), (stop - start,))

    def taken(self, x: Node, places: Any) -> Node:
        """Elements of a vector."""
        found = runs(places)
        if len(found) == 1:
            index, _, count = found[0]
            return self._call(GETITEM, (x, index), (count,) if isinstance(index, slice) else ())
        return self._call(gathered, (x, self.held(places.astype(np.intp))), places.shape)

    def repeated(self, x: Node, count: int) -> Node:
        """One element, which needs no repetition beside vectors."""
        return self._call(np.reshape, (x, ()), ()) if x.shape else x

    def held(self, x: Any) -> Node:
        """Constants."""
        return self._graph.constant(np.ascontiguousarray(x))

    def placed(self, base: Any, parts: Sequence[tuple[Any, Node]]) -> Node:
        """Constants, and parts in their places."""
        written = list[Any]()
        for at, values in parts:
            for index, first, count in runs(at) or [(self.held(at.astype(np.intp)), 0, len(at))]:
                part = values
                if values.shape and count < len(at):
                    part = self.sliced(values, first, first + count)
                written.append((index, part))
        covered = sum(len(at) for at, _ in parts) == len(base)
        constants = None if covered else self.held(base)
        return self._call(placed, (constants, base.shape, base.dtype, *written), base.shape)

    def _node(self, x: Any) -> Node:
        if isinstance(x, Node):
            return x
        return self._graph.constant(self.dtype(x)) if isinstance(x, float) else self.held(x)

    def _call(self, function: Any, args: tuple[Any, ...], shape: tuple[int, ...]) -> Node:
        return self._graph.node(function, args, {}, shape, self._gather.dtype)


def runs(places: Any) -> list[tuple[Any, int, int]]:
    """Slices, or single places, that are equal to increasing places; empty if they are many.

    Each comes with where it begins among the places, and how many of them it is.
    """
    found: list[tuple[Any, int, int]] = []
    start, count = 0, len(places)
    steps = np.diff(places)
    while start < count:
        if len(found) == _SLICES:
            return []
        first = int(places[start])
        step = int(steps[start]) if start + 1 < count else 1
        other = np.flatnonzero(steps[start:] != step)
        stop = start + 1 + (int(other[0]) if len(other) else count - start - 1)
        if step <= 0 and stop - start > 1:
            return [(first, 0, count)] if step == 0 and stop - start == count else []
        index = slice(first, int(places[stop - 1]) + 1, step)
        found.append((index, start, stop - start))
        start = stop
    return found


def _can_be_split(update: Node) -> bool:
    """Whether it is a sum of two arrays of one dtype."""
    _, shape, _, index, x = update.args
    return _fits(x, update) and Touched(shape, False).reaches_once(index)


def _is_weak(x: Any) -> bool:
    """Whether it is a Python number, which takes the dtype of what is beside it."""
    if not (isinstance(x, Node) and x.is_constant):
        return False
    return type(x.value) is float or (type(x.value) is int and abs(x.value) < _EXACT)


def _fits(x: Any, result: Any) -> bool:
    """Whether it has the dtype of a result."""
    return bool(x is not None and x.dtype == result.dtype)


def _plain(structure: Any) -> Any:
    """Constants in place of their nodes."""
    found = substitute(structure, lambda node: node.value)
    return np.asarray(found, int) if isinstance(found, list) and not found else found
