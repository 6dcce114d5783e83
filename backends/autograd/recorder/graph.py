"""The graph that a recording builds: pure functions of arrays, equal ones shared, constants folded.

A node knows its NumPy function, its arguments, and the shape and dtype of its result. It knows
nothing about autograd, about simplification (``lowering``) or source code
(``program``). Nodes are only ever added, so their order of creation is an order of
execution.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.functions import is_elementwise, is_foldable

Shape = tuple[int, ...]
Function = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]

# Up to this size, constants are compared by content; above, by the identity of the array they copy.
_SMALL = 4096


class Node:
    """One value of the program.

    Attributes
    ----------
    index : int
        Position in the order of creation.
    fn : callable or None
        The NumPy function; None for inputs and constants.
    args, kwargs
        Its arguments: nodes, plain Python values, and tuples, lists or slices of them.
    shape, dtype
        Of the result. A node with several results (``eigh``) has shape None; its parts are nodes.
    value
        The value of a constant (never written to); None otherwise.
    """

    __slots__ = ("args", "dtype", "fn", "index", "kwargs", "parents", "shape", "splat", "value")

    def __init__(
        self, index: int, fn: Function | None, args: Args, kwargs: Kwargs, shape: Any, dtype: Any
    ) -> None:
        self.index = index
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.shape: Any = shape
        self.dtype: Any = dtype
        self.value: Any = None
        self.splat: Any = None
        self.parents: tuple[Node, ...] = ()
        if args:
            self.parents = _nodes_of(args, kwargs)

    @property
    def is_constant(self) -> bool:
        """Whether the value is known now."""
        return self.value is not None

    @property
    def is_elementwise(self) -> bool:
        """Whether a ufunc computes it, element by element, of its parents alone."""
        return is_elementwise(self.fn, self.args, self.kwargs)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


Rule = Callable[["Graph", Args, Kwargs, Shape, Any], Node | None]
"""``rule(graph, args, kwargs, shape, dtype)`` adds a cheaper equivalent of a call, or nothing."""


def nodes_in(structure: Any) -> list[Node]:
    """Return every node inside nested tuples, lists and slices."""
    if isinstance(structure, slice):
        structure = (structure.start, structure.stop, structure.step)
    elif not isinstance(structure, (tuple, list)):
        return [structure] if isinstance(structure, Node) else []
    found = []
    for item in structure:
        if isinstance(item, Node):
            found.append(item)
        elif isinstance(item, (tuple, list, slice)):
            found += nodes_in(item)
    return found


def _nodes_of(args: Args, kwargs: Kwargs) -> tuple[Node, ...]:
    """Return the nodes in the arguments of a call."""
    plain = tuple([a for a in args if type(a) is Node])
    if len(plain) == len(args) and not kwargs:
        return plain  # as nearly always
    return tuple(nodes_in((args, *kwargs.values())))


def substitute(structure: Any, change: Callable[[Node], Any]) -> Any:
    """Return `structure` with every node replaced by ``change(node)``."""
    if isinstance(structure, Node):
        return change(structure)
    if type(structure) in (tuple, list):
        return type(structure)(substitute(item, change) for item in structure)
    if isinstance(structure, slice):
        return slice(
            *(substitute(s, change) for s in (structure.start, structure.stop, structure.step))
        )
    return structure


_COMMUTATIVE = frozenset((np.add, np.multiply))
_PLAIN = frozenset((int, bool, str, type(None)))


def _key(item: Any) -> Any:
    """Return a hashable stand-in for an argument: equal only if the arguments mean the same."""
    kind = type(item)
    if kind is Node:
        return item  # by identity
    if kind in _PLAIN:
        return (kind, item)
    if kind is tuple or kind is list:
        return (kind, *map(_key, item))
    if kind is slice:
        return (kind, _key(item.start), _key(item.stop), _key(item.step))
    if kind is float or kind is complex:
        return (kind, repr(item))  # tells 0.0 from -0.0
    if callable(item) or isinstance(item, np.dtype):
        return (kind, id(item))
    return object()  # may have changed between two calls


class Graph:
    """All nodes of one recording."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[Any, Node] = {}
        self._copied: dict[int, tuple[Any, Node]] = {}

    def input(self, shape: Shape, dtype: Any) -> Node:
        """Add an input."""
        return self._leaf(shape, dtype)

    def constant(self, value: Any) -> Node:
        """Return the node of a constant, a snapshot: later writes to `value` do not reach it."""
        if not isinstance(value, np.ndarray):
            # Bits tell 0.0 from -0.0; NumPy takes its time to write its numbers as text.
            bits = value.tobytes() if isinstance(value, np.generic) else repr(value)
            key: Any = ("scalar", type(value), bits)
            return self._known.get(key) or self._add_constant(key, value, value)
        if value.nbytes > _SMALL:
            source, node = self._copied.get(id(value), (None, None))
            if source is value and node is not None and _same(node.value, value):
                return node
            node = self._add_constant(None, value, _uniform(value))
            self._copied[id(value)] = (value, node)
            return node
        key = ("array", value.dtype.str, value.shape, value.strides, value.tobytes())
        return self._known.get(key) or self._add_constant(key, value, _uniform(value))

    def node(self, fn: Function, args: Args, kwargs: Kwargs, shape: Any, dtype: Any) -> Node:
        """Return the node of a call: a known one, a folded constant, or a new one."""
        named = tuple((name, _key(kwargs[name])) for name in sorted(kwargs)) if kwargs else ()
        keys = [a if type(a) is Node else _key(a) for a in args]
        if fn in _COMMUTATIVE and len(args) == len(_nodes_of(args, {})) == 2:
            keys.sort(key=_index)
        key = (fn, tuple(keys), named)
        found = self._known.get(key)
        if found is not None:
            return found
        node = Node(len(self.nodes), fn, args, kwargs, shape, dtype)
        varies = any(p.value is None for p in node.parents)
        if not varies and shape is not None and is_foldable(fn):
            values = {name: substitute(item, _value) for name, item in kwargs.items()}
            with np.errstate(all="ignore"):
                folded = self.constant(fn(*substitute(args, _value), **values))
            self._known[key] = folded
            return folded
        self._known[key] = node
        self.nodes.append(node)
        return node

    def _leaf(self, shape: Shape, dtype: Any) -> Node:
        node = Node(len(self.nodes), None, (), {}, shape, dtype)
        self.nodes.append(node)
        return node

    def _add_constant(self, key: Any, value: Any, splat: Any) -> Node:
        node = self._leaf(np.shape(value), np.result_type(value))
        if isinstance(value, np.ndarray):
            value = value.copy(order="K")
            value.flags.writeable = False
        node.value, node.splat = value, splat
        if key is not None:
            self._known[key] = node
        return node


def _value(node: Node) -> Any:
    return node.value


def _index(node: Node) -> int:
    return node.index


def _same(a: Any, b: Any) -> bool:
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def _uniform(value: Any) -> Any:
    """Return the one number that fills the array `value`, or None."""
    if value.size == 0 or value.dtype.kind not in "biufc":
        return None
    first = value[(0,) * value.ndim]
    if not (value == first).all() or (
        first == 0 and value.dtype.kind in "fc" and _signs(value).any()
    ):
        return None
    return first


def _signs(value: Any) -> Any:
    return np.signbit(value.real) | np.signbit(value.imag)
