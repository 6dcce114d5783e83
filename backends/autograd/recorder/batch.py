"""A graph of many points, as it grows: every value has the points as its first axis, or none."""

from collections.abc import Callable
from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.graph import Args, Graph, Kwargs, Node, Shape
from diffface.backends.errors import CannotRecord

# (new node or constant, whether it has the axis of the points)
Value = tuple[Node, bool]


class Batch:
    """A graph of many points, as it grows."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.graph = Graph()
        self.known: dict[Node, Value] = {}

    def plain(self, node: Node) -> Node:
        """The value of a node that all points share."""
        value, moves = self.known[node]
        if moves:
            raise CannotRecord("an option differs from point to point")
        return value

    def lined_up(self, node: Node, rank: int) -> Node:
        """The value, with axes of length 1 after that of the points, to broadcast to ``rank``."""
        value, moves = self.known[node]
        if not moves or len(node.shape) >= rank:
            return value
        shape = (self.size, *(1,) * (rank - len(node.shape)), *node.shape)
        return self.reshaped(value, shape)

    def spread(self, node: Node) -> Node:
        """The value at every point, where all share it, too."""
        value, moves = self.known[node]
        if moves:
            return value
        shape = (self.size, *node.shape)
        return self.graph.node(np.broadcast_to, (value, shape), {}, shape, node.dtype)

    def reshaped(self, value: Node, shape: Shape) -> Node:
        """The value in another shape."""
        if value.shape == shape:
            return value
        return self.graph.node(np.reshape, (value, shape), {}, shape, value.dtype)

    def transposed(self, value: Node, axes: tuple[int, ...]) -> Node:
        """The value with permuted axes."""
        shape = tuple(value.shape[a] for a in axes)
        return self.graph.node(np.transpose, (value, axes), {}, shape, value.dtype)

    def node(self, fn: Any, args: Args, node: Node, kwargs: Kwargs | None = None) -> Node:
        """A call whose result is that of ``node`` at every point."""
        return self.graph.node(fn, args, kwargs or {}, (self.size, *node.shape), node.dtype)


def replaced(structure: Any, change: Callable[[Node], Node]) -> Any:
    """``structure`` with other nodes in it."""
    if isinstance(structure, Node):
        return change(structure)
    if type(structure) in (tuple, list):
        return type(structure)(replaced(item, change) for item in structure)
    if isinstance(structure, slice):
        parts = structure.start, structure.stop, structure.step
        return slice(*(replaced(part, change) for part in parts))
    return structure
