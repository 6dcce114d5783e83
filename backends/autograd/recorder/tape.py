"""The tape: what a recording notes, and how a call on boxes becomes a node of the graph."""

from copy import deepcopy
from typing import Any, NoReturn

import numpy as np
from autograd import tracer
from autograd.core import Node as AutogradNode

from diffface.backends.autograd.recorder.boxes import (
    RecordedArray,
    RecordedSequence,
    RecordedSparse,
    is_a,
)
from diffface.backends.autograd.recorder.escape import user_line
from diffface.backends.autograd.recorder.functions import DATA_ARGUMENTS, METADATA, is_ufunc
from diffface.backends.autograd.recorder.graph import Graph, Node
from diffface.backends.autograd.recorder.refusals import refuse_unsafe, result_type
from diffface.backends.autograd.recorder.rules import lower
from diffface.backends.autograd.recorder.shapes import GETITEM
from diffface.backends.autograd.recorder.structures import STRUCTURAL, Sparse, strip
from diffface.backends.errors import CannotRecord

_CONTAINERS = (tuple, list)
_BOXES = {tuple: RecordedSequence, Sparse: RecordedSparse}
_NUMBERS = (np.ndarray, np.generic, bool, int, float, complex)


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
        error = CannotRecord(reason, user_line())
        self.escaped = self.escaped or error
        raise error

    def call(self, fn: Any, args: Any, kwargs: Any) -> Any:
        """Run and record a NumPy function that was called on boxes directly, without autograd."""
        raw_args, raw_kwargs = strip(self, args), {k: strip(self, v) for k, v in kwargs.items()}
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
        refuse_unsafe(self, fn, args, kwargs, value)
        structural = STRUCTURAL.get(fn)
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
                self.graph.node(GETITEM, (node, i), {}, *result_type(self, v))
                for i, v in enumerate(value)
            )
        return lower(self.graph, fn, lifted, named, *result_type(self, value))

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
