"""Vectors: new nodes of a graph that compute elements of others at some places.

Knows: how to compute as few numbers as possible, and each of them as it was before.
Must not know: which places, and what for.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx

from diffface.backends.torch.graph.constants import keep
from diffface.backends.torch.graph.graph import aten, call

# What an operation costs besides its elements, in elements.
CALL = 4096

# At some places: the numbers themselves where they are constant, elements of a vector, or a node
Values = Any


class Taken(NamedTuple):
    """Elements of a vector, before they are taken."""

    vector: fx.Node
    places: Any


class Vectors:
    """Writes new nodes.

    Parameters
    ----------
    module : GraphModule
        It is changed.
    place : Node
        Before which they come.

    Attributes
    ----------
    cost : float
        Of what was written, in elements.
    """

    def __init__(self, module: fx.GraphModule, place: fx.Node) -> None:
        self._module, self._place = module, place
        single = place.meta["val"].dtype is torch.float32
        self._dtype: Any = np.float32 if single else np.float64
        self._made: dict[Hashable, Any] = {}
        # What a node is a multiple of, and the number
        self._factors: dict[fx.Node, tuple[fx.Node, float]] = {}
        self.cost = 0.0

    def combined(self, target: Any, terms: list[Any], count: int) -> Values:
        """An operation on what its operands have at some places, or on numbers."""
        terms = [_as_number(t) for t in terms]
        if not any(isinstance(t, fx.Node | Taken) for t in terms):
            with np.errstate(all="ignore"):
                found = _OF_CONSTANTS[target](*(np.asarray(t, self._dtype) for t in terms))
            return np.array(np.broadcast_to(found, count))
        if target is aten.neg.default:
            return self._scaled(terms[0], -1.0)
        if target is aten.rsub.Scalar:
            target, terms = aten.sub.Tensor, terms[::-1]
        elif target in _COMMUTATIVE and not isinstance(terms[0], fx.Node | Taken):
            terms = terms[::-1]
        x, y = terms
        if target is aten.mul.Tensor and isinstance(y, float):
            return self._scaled(x, y) if y else np.zeros(count, self._dtype)
        if isinstance(y, float) and y == _NEUTRAL.get(target):
            return x
        if isinstance(x, float):
            if target is aten.sub.Tensor and x == 0:
                return self._scaled(y, -1.0)
            x = np.full(count, x, self._dtype)
        return self._applied(target, x, y)

    def _scaled(self, x: Any, factor: float) -> Values:
        """The product with a number. One by -1 rounds nothing, and becomes a part of another."""
        inner, before = self._factors.get(_node(x), (None, 1.0))
        if inner is not None and 1 in (abs(before), abs(factor)):
            x = inner if isinstance(x, fx.Node) else Taken(inner, x.places)
            factor *= before
        if factor == 1:
            return x
        if factor == -1:
            new = self._applied(aten.neg.default, x)
        else:
            new = self._applied(aten.mul.Tensor, x, factor)
        if type(x) is type(new):
            self._factors[_node(new)] = _node(x), factor
        return new

    def _applied(self, target: Any, *terms: Any) -> Values:
        """An operation, on all of the vectors if elements are taken of all at the same places."""
        first = terms[0]
        alike = (isinstance(t, float) or _are_alike(t, first) for t in terms)
        if isinstance(first, Taken) and all(alike):
            args = [t.vector if isinstance(t, Taken) else t for t in terms]
            key = target, *args
            if key not in self._made:
                self._made[key] = self._write(target, *args)
            return Taken(self._made[key], first.places)
        return self._write(target, *(self.vector(t) for t in terms))

    def all_of(self, node: fx.Node, places: Any) -> Taken:
        """Elements of an array that has no zeros of seeds."""
        key = node, "vector"
        if key not in self._made:
            flat = node
            if not node.meta["val"].is_contiguous():
                flat = self._write(aten.clone.default, node, memory_format=torch.contiguous_format)
            self._made[key] = self._view(aten.view.default, flat, [-1])
        return Taken(self._made[key], places)

    def vector(self, x: Values) -> Any:
        """Values as one node, unless they are numbers that are the same everywhere."""
        if isinstance(x, np.ndarray):
            return self._held(x)
        if not isinstance(x, Taken):
            return x
        key = x.vector, x.places.tobytes()
        if key not in self._made:
            size, first, count = x.vector.meta["val"].numel(), int(x.places[0]), len(x.places)
            if size == 1:
                found = self._view(aten.expand.default, x.vector, [count])
            elif np.array_equal(x.places, np.arange(first, first + count)):
                found = x.vector
                if count < size:
                    found = self._view(aten.slice.Tensor, found, 0, first, first + count)
            else:
                index = self._held(x.places.astype(np.int32))
                found = self._write(aten.index_select.default, x.vector, 0, index)
            self._made[key] = found
        return self._made[key]

    def joined(self, count: int, parts: list[tuple[Any, Values]]) -> Values:
        """A vector of parts, each with where it is, and zeros elsewhere."""
        base = np.zeros(count, self._dtype)
        moving = []
        for at, values in parts:
            if isinstance(values, np.ndarray):
                base[at] = values
            elif len(at) == count and np.array_equal(at, np.arange(count)):
                return values
            else:
                moving.append((at, values))
        if not moving:
            return base
        found = self._held(base)
        if not base.any():
            like = self._place.meta["val"]
            kwargs = {"dtype": like.dtype, "device": like.device}
            found = self._view(aten.full.default, [count], 0.0, **kwargs)
        for at, values in moving:
            found = self._write(aten.scatter.src, found, 0, self._held(at), self.vector(values))
        return found

    def _held(self, x: Any) -> Any:
        """A constant as a node."""
        if not isinstance(x, np.ndarray):
            return x
        return keep(self._module, self._place, torch.from_numpy(np.ascontiguousarray(x)))

    def _write(self, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        new = self._view(target, *args, **kwargs)
        moves = target in (aten.index_select.default, aten.scatter.src)
        touched = args[-1].meta["val"] if moves else new.meta["val"]
        self.cost += CALL + (1 + moves) * touched.numel()
        return new

    def _view(self, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        return call(self._place, target, *args, **kwargs)


_OF_CONSTANTS: dict[Any, Callable[..., Any]] = {
    aten.add.Tensor: np.add,
    aten.div.Tensor: np.divide,
    aten.mul.Tensor: np.multiply,
    aten.neg.default: np.negative,
    aten.rsub.Scalar: lambda a, b: b - a,
    aten.sub.Tensor: np.subtract,
}
_COMMUTATIVE = (aten.add.Tensor, aten.mul.Tensor)
# What changes nothing as the second operand, but for the sign of a zero
_NEUTRAL = {aten.add.Tensor: 0, aten.div.Tensor: 1, aten.sub.Tensor: 0}


def _node(x: Any) -> fx.Node:
    found: fx.Node = x.vector if isinstance(x, Taken) else x
    return found


def _are_alike(x: Any, y: Any) -> bool:
    """Whether most elements of two vectors are taken, at the same places."""
    if not (isinstance(x, Taken) and isinstance(y, Taken)):
        return False
    size = x.vector.meta["val"].numel()
    same = size == y.vector.meta["val"].numel() and np.array_equal(x.places, y.places)
    return bool(same and size <= 2 * len(x.places))


def _as_number(term: Any) -> Any:
    """A constant that is the same everywhere as a number."""
    if isinstance(term, fx.Node | Taken):
        return term
    if not isinstance(term, np.ndarray):
        return float(term)
    same = len(term) and (term == term[0]).all()
    return float(term[0]) if same else term
