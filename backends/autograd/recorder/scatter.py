"""Sums of updates at indices: the gradient of indexing, as nodes and as lines of source.

Each update is a node of its own on top of the sum so far, so that n of them cost O(n). In the
program they are written into the same array, one after the other.
"""

from math import prod
from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.algebra import elementwise
from diffface.backends.autograd.recorder.functions import scatter
from diffface.backends.autograd.recorder.graph import Graph, Node, Shape, nodes_in, substitute
from diffface.backends.autograd.recorder.program_names import ProgramNames
from diffface.backends.autograd.recorder.shapes import only_new_axes, reshape
from diffface.backends.autograd.recorder.source import argument, index_source

# So many updates back, one at the same index is looked for; so many are moved at once.
_NEAR = 8


def scatter_add(
    graph: Graph, previous: Node | None, index: Any, x: Node, shape: Shape, dtype: Any
) -> Node:
    """Add ``previous + (zeros with x at index)``."""
    if only_new_axes(index) and x.dtype == dtype and x.size == prod(shape):
        x = reshape(graph, x, shape)
        return x if previous is None else elementwise(graph, np.add, (previous, x), shape, dtype)
    base, updates = previous, [(index, x)]
    while base is not None and base.fn is scatter and len(updates) <= _NEAR:
        base, _, _, other, y = base.args
        if _same_index(index, other) and x.shape == y.shape and x.dtype == y.dtype:
            both = elementwise(graph, np.add, (y, x), x.shape, x.dtype)
            return _stack(graph, base, [(index, both), *updates[1:][::-1]], shape, dtype)
        updates.append((other, y))
    return _stack(graph, previous, updates[:1], shape, dtype)


def add_to(graph: Graph, x: Node, updates: Node, shape: Shape, dtype: Any) -> Node | None:
    """Add ``x + updates`` by repeating the updates on `x`, if they are few and start from zeros."""
    found: list[tuple[Any, Node]] = []
    base: Node | None = updates
    while base is not None:
        if base.fn is not scatter or len(found) >= _NEAR:
            return None
        base, _, _, index, y = base.args
        found.append((index, y))
    for index, y in reversed(found):
        x = scatter_add(graph, x, index, y, shape, dtype)
    return x


def _stack(
    graph: Graph, base: Node | None, updates: list[tuple[Any, Node]], shape: Shape, dtype: Any
) -> Node:
    node = base
    for index, x in updates:
        node = graph.node(scatter, (node, shape, dtype, index, x), {}, shape, dtype)
    assert node is not None
    return node


def _same_index(a: Any, b: Any) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same_index, a, b))
    return a is b or (type(a) is type(b) and not isinstance(a, (Node, list)) and bool(a == b))


# Source


class Touched:
    """Which elements of an array have been written to since it was zeros.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    zeros : bool
        Whether it ever was.
    """

    def __init__(self, shape: Shape, zeros: bool) -> None:
        self.shape = shape
        self._written = np.zeros(shape, bool) if zeros else None
        self._any = False
        self._numbers: Any = None

    def reaches_once(self, index: Any) -> bool:
        """Whether `index` is constant and reaches no element twice."""
        if any(not n.is_constant for n in nodes_in(index)):
            return False
        if is_basic(index):
            return True
        if self._numbers is None:
            self._numbers = np.arange(prod(self.shape)).reshape(self.shape)
        reached = self._numbers[_plain(index)]
        return bool(np.unique(reached).size == reached.size)

    def write(self, index: Any) -> bool:
        """Note that `index` is written to; return whether there were zeros."""
        if self._written is None:
            return False
        place = _plain(index)
        clean = not (self._any and self._written[place].any())
        self._written[place] = self._any = True
        return clean


def update_lines(
    names: ProgramNames, target: str, index: Any, x: Any, touched: Touched
) -> list[str]:
    """Return the lines that add `x` at `index` of the array `target`."""
    place, value = f"{target}[{index_source(names, index)}]", argument(names, x)
    once = touched.reaches_once(index)
    clean = touched.write(index if once else ...)
    if not once and not _permutes(index, touched.shape):
        return [f"{names.bind(np.add.at)}({target}, {_at(names, index)}, {value})"]
    if clean:
        return [f"{place} = {value}"]
    if x.shape == () or not once or not is_basic(index):
        return [f"{place} += {value}"]
    return [f"v = {place}", f"{names.bind(np.add)}(v, {value}, v)"]


def _plain(index: Any) -> Any:
    index = substitute(index, lambda n: n.value)
    if isinstance(index, list):
        return np.asarray(index, dtype=int if not index else None)
    return index


def _at(names: ProgramNames, index: Any) -> str:
    if isinstance(index, tuple):
        return f"({''.join(_at(names, i) + ', ' for i in index)})"
    return index_source(names, index) if isinstance(index, list) else argument(names, index)


def is_basic(index: Any) -> bool:
    """Whether an index is of slices and integers alone, so that NumPy makes a view."""
    parts = index if isinstance(index, tuple) else (index,)
    # True and False add an axis, and copy.
    return all(
        p is None
        or p is Ellipsis
        or (isinstance(p, (int, np.integer, slice)) and not isinstance(p, bool))
        for p in parts
    )


def _permutes(index: Any, shape: Any) -> bool:
    """Whether `index` is a permutation of a vector, found at run time by sorting."""
    return (
        isinstance(index, Node)
        and index.fn is np.argsort
        and index.shape == shape
        and len(shape) == 1
    )
