"""The tape: what a recording notes, and how a call on boxes becomes a node of the graph."""

from copy import deepcopy
from typing import Any, NoReturn

import numpy as np
from autograd import builtins, core, tracer
from autograd.core import Node as AutogradNode
from autograd.core import SparseObject
from autograd.numpy import numpy_vjps

from diffface.backends.autograd.recorder.boxes import (
    RecordedArray,
    RecordedSequence,
    RecordedSparse,
    is_a,
)
from diffface.backends.autograd.recorder.functions import (
    DATA_ARGUMENTS,
    METADATA,
    is_numpy,
    is_ufunc,
    scatter,
)
from diffface.backends.autograd.recorder.graph import Graph, Node, nodes_in
from diffface.backends.autograd.recorder.lowering import lower
from diffface.backends.autograd.recorder.scatter import scatter_add
from diffface.backends.autograd.recorder.shapes import GETITEM
from diffface.backends.errors import CannotRecord
from diffface.backends.recording.user_frame import line_of_call

# Options that carry data, so that they do not decide the shape or the dtype of a result.
_DATA_OPTIONS = ("where", "initial", "fill_value", "weights", "a_min", "a_max", "min", "max")
_CONTAINERS = (tuple, list)
_NUMBERS = (np.ndarray, np.generic, bool, int, float, complex)


class Sparse:
    """The content of a recorded ``untake``: `x`, to be added at `index` of an array or a tuple."""

    def __init__(self, x: Any, index: Any, container: bool) -> None:
        self.x = x
        self.index = index
        self.container = container


_BOXES = {tuple: RecordedSequence, Sparse: RecordedSparse}


class Tape:
    """One recording: the graph, and what escaped from it."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.inputs: list[Node] = []
        self.escaped: CannotRecord | None = None
        self.open = True
        # Below every trace that the program opens, and never equal to the trace of a stray box.
        self._trace = tracer.trace_stack.top + 0.5

    def input(self, value: Any) -> Any:
        """Return the box of a new input."""
        node = self.graph.input(np.shape(value), np.result_type(value))
        self.inputs.append(node)
        return self.box(value, node)

    def box(self, value: Any, content: Any) -> Any:
        """Return the box of a value, with its node (or tuple of nodes, or sparse update)."""
        if isinstance(content, Node) and content.is_constant:
            return value  # depends on no input, after all
        kind = _BOXES.get(type(content), RecordedArray)
        return kind(value, self._trace, RecordedNode.of(self, content))

    def escape(self, reason: str) -> NoReturn:
        """Refuse the recording."""
        error = CannotRecord(reason, line_of_call())
        self.escaped = self.escaped or error
        raise error

    def call(self, fn: Any, args: Any, kwargs: Any) -> Any:
        """Run and record a NumPy function that was called on boxes directly, without autograd."""
        raw_args, raw_kwargs = _strip(self, args), {k: _strip(self, v) for k, v in kwargs.items()}
        value = fn(*raw_args, **raw_kwargs)
        if fn in METADATA:
            return value
        return self.box(value, self.apply(fn, args, kwargs, value, raw_args))

    def apply(self, fn: Any, args: Any, kwargs: Any, value: Any, raw: Any) -> Any:
        """Add ``fn(*args, **kwargs)`` to the graph, given the `value` that it just had."""
        if not self.open:
            raise RuntimeError(
                "A value from an earlier recording was used; do not store arguments."
            )
        _refuse_unsafe(self, fn, args, kwargs, value)
        structural = _STRUCTURAL.get(fn)
        if structural is not None:
            return structural(self, args, value, raw)
        lifted = tuple(map(self.lift if is_ufunc(fn) else self.argument, args))
        for i in range(min(len(lifted), DATA_ARGUMENTS.get(fn, 0))):
            if isinstance(lifted[i], (int, float)):
                lifted = (*lifted[:i], self.graph.constant(lifted[i]), *lifted[i + 1 :])
        named = {k: self.argument(v) for k, v in kwargs.items()} if kwargs else {}
        if isinstance(value, _CONTAINERS):
            node = lower(self.graph, fn, lifted, named, None, None)
            return tuple(
                self.graph.node(GETITEM, (node, i), {}, *_result_type(self, v))
                for i, v in enumerate(value)
            )
        return lower(self.graph, fn, lifted, named, *_result_type(self, value))

    def content(self, x: Any) -> Any:
        """Return what a box stands for; constants become nodes, tuples of them tuples of nodes."""
        if isinstance(x, (Node, Sparse)):
            return x
        if is_a(x, tracer.Box):
            if x._node.tape is not self:
                self.escape("a value from another recording was used")
            return x._node.content
        if isinstance(x, _CONTAINERS):
            return tuple(map(self.content, x))
        return self.lift(x)

    def lift(self, x: Any) -> Node:
        """Return the node of a box or a constant."""
        if isinstance(x, Node):
            return x
        if is_a(x, tracer.Box):
            content = self.content(x)
            if not isinstance(content, Node):
                self.escape("a tuple was used as an array")
            return content
        if isinstance(x, _CONTAINERS):
            x = np.asarray(x)
        if not isinstance(x, _NUMBERS):
            self.escape(f"a {type(x).__name__} was used as an array")
        return self.graph.constant(x)

    def argument(self, x: Any) -> Any:
        """Return an argument as the graph keeps it: nodes for data, plain Python for the rest."""
        if isinstance(x, Node):
            return x
        if is_a(x, RecordedSequence):
            return self.content(x)
        if is_a(x, tracer.Box) or isinstance(x, (np.ndarray, np.generic, float, complex)):
            return self.lift(x)
        if type(x) in _CONTAINERS:
            return type(x)(map(self.argument, x))
        if isinstance(x, slice):
            return slice(*map(self.argument, (x.start, x.stop, x.step)))
        return deepcopy(x) if isinstance(x, (dict, set)) else x


class RecordedNode(AutogradNode):  # type: ignore[misc]  # autograd is untyped
    """Autograd's node of a recorded value."""

    __slots__ = ("constant", "content", "tape")
    tape: Tape

    def __init__(
        self, value: Any, fun: Any, args: Any, kwargs: Any, argnums: Any, parents: Any
    ) -> None:
        self.tape = parents[0].tape
        self.constant = fun.fun in METADATA
        if self.constant:
            return
        boxed: list[Any] = list(args)
        for i, parent in zip(argnums, parents, strict=True):
            boxed[i] = parent.content if parent.tape is self.tape else self.foreign(parent)
        self.content = self.tape.apply(fun.fun, tuple(boxed), kwargs, value, args)

    @classmethod
    def of(cls, tape: Tape, content: Any) -> "RecordedNode":
        """Return the node of some content of a tape."""
        node: RecordedNode = cls.__new__(cls)
        node.tape, node.content, node.constant = tape, content, False
        return node

    def foreign(self, parent: Any) -> NoReturn:
        """Refuse a value of another recording."""
        self.tape.escape("a value from another recording was used")
        raise AssertionError


# What cannot be recorded, because its meaning is more than a function of arrays


def _result_type(tape: Tape, value: Any) -> tuple[Any, Any]:
    """Return the shape and dtype of a result; refuse what is no array of numbers."""
    if isinstance(value, (np.ndarray, np.generic)):
        dtype = value.dtype
    elif isinstance(value, (bool, int, float, complex)):
        dtype = np.result_type(value)
    else:
        tape.escape(f"a function returned a {type(value).__name__}")
    if dtype.kind not in "biufc":
        tape.escape(f"a function returned an array of dtype {dtype}")
    return np.shape(value), dtype


def _name(fn: Any) -> str:
    return getattr(fn, "__name__", "?")


def _refuse_unsafe(tape: Tape, fn: Any, args: Any, kwargs: Any, value: Any) -> None:
    """Stop the recording if the call ``fn(*args, **kwargs)``, which gave `value`, is not pure.

    Or if the shape or dtype of its result may depend on values.
    """
    if is_a(value, tracer.Box):
        tape.escape(f"`{_name(fn)}` hides a value that it depends on")
    # Given by position, what is written to is what is returned.
    by_position = any(a is value for a in args if isinstance(a, np.ndarray))
    if by_position or kwargs.get("out") is not None:
        tape.escape(f"`{_name(fn)}` writes into an array (`out=`)")
    if type(fn) is np.ufunc and not kwargs:
        return
    if fn is GETITEM:
        index = nodes_in(tape.argument(args[1]))
        if any(n.dtype.kind == "b" for n in index if not n.is_constant):
            tape.escape("a boolean mask that depends on a value selects elements")
    elif is_numpy(fn) and not is_ufunc(fn):
        _refuse_numpy(tape, fn, args, kwargs)


def _refuse_numpy(tape: Tape, fn: Any, args: Any, kwargs: Any) -> None:
    data = DATA_ARGUMENTS.get(fn)
    if data is None or (fn is np.where and len(args) != 3):
        tape.escape(f"the shape or dtype of the result of `{fn.__name__}` may depend on values")
    options = [v for k, v in kwargs.items() if k not in _DATA_OPTIONS] + list(args[data:])
    if any(not n.is_constant for n in nodes_in(tape.argument(options))):
        tape.escape(f"an option of `{fn.__name__}` depends on a value")
    if fn in (np.ravel, np.reshape) and any(type(o) is str and o in "AaKk" for o in options):
        tape.escape(f"`{fn.__name__}` depends on how an array lies in memory (`order=`)")


# Autograd's own tuples and sparse gradients, without their mutable form


def _strip(tape: Tape, x: Any) -> Any:
    """Return `x` with recorded boxes replaced by their values."""
    if is_a(x, RecordedArray) or is_a(x, RecordedSequence):
        return x._concrete
    if is_a(x, tracer.Box):
        tape.escape("a plain NumPy function was called on an autograd box")
    if type(x) in (tuple, list):
        return type(x)(_strip(tape, item) for item in x)
    return x


def _make_sequence(tape: Tape, args: Any, value: Any, raw: Any) -> Any:
    return tuple(tape.content(a) for a in args[1:])


def _container_take(tape: Tape, args: Any, value: Any, raw: Any) -> Any:
    return tape.content(args[0])[args[1]]


def _container_untake(tape: Tape, args: Any, value: Any, raw: Any) -> Any:
    return Sparse(tape.content(args[0]), args[1], container=True)


def _untake(tape: Tape, args: Any, value: Any, raw: Any) -> Any:
    # Autograd's closure would write into its argument, and index by boxes.
    index = _strip(tape, raw[1])
    value.mut_add = lambda a: scatter(a, (), None, index, raw[0])
    return Sparse(tape.content(args[0]), tape.argument(args[1]), container=False)


def _sparse_add(tape: Tape, args: Any, value: Any, raw: Any) -> Any:
    space, previous, sparse = args
    old: Any = None if previous is None else tape.content(previous)
    if isinstance(sparse, SparseObject):  # a constant
        new = tape.content(sparse.mut_add(space.zeros()))
        if not isinstance(new, tuple):
            return _add(tape, old, new, value)
        return tuple(_add(tape, *p) for p in zip(old, new, value, strict=True))
    update = tape.content(sparse)
    if not update.container:
        return scatter_add(tape.graph, old, update.index, update.x, *_result_type(tape, value))
    i = update.index
    if not isinstance(i, int):
        tape.escape("a slice of a tuple was differentiated")
    if old is None:
        old = [tape.graph.constant(np.zeros(*_result_type(tape, v))) for v in value]
    parts = list(old)
    parts[i] = _add(tape, old[i], update.x, value[i])
    return tuple(parts)


def _add(tape: Tape, old: Any, new: Any, value: Any) -> Any:
    return lower(tape.graph, np.add, (old, new), {}, *_result_type(tape, value))


_STRUCTURAL: dict[Any, Any] = {
    builtins.make_sequence.fun: _make_sequence,
    builtins.container_take.fun: _container_take,
    builtins.container_untake.fun: _container_untake,
    numpy_vjps.untake.fun: _untake,
    core.sparse_add.fun: _sparse_add,
}
