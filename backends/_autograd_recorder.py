"""Recording: run a derivation once on boxes, and note every NumPy function that runs.

``record`` is the only entry. What it notes becomes a graph (``_autograd_graph``), simplified on the
way (``_autograd_rules``), then Python source (``_autograd_program``). It must not know which
derivation it records.

Frozen, that is, part of the program: whatever is not an input. Arrays that the user's function captures
are copied when it uses them. Not frozen but refused: values that decide a branch, a shape or a Python
number; writing into arrays; random numbers; anything else that a second, eager run contradicts.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_stack, walk_tb
from types import TracebackType
from typing import Any, NoReturn

import autograd.numpy as anp
import numpy as np
from autograd import builtins, core, tracer
from autograd.core import Node as AutogradNode
from autograd.core import SparseObject, VSpace
from autograd.numpy import numpy_vjps
from autograd.numpy.numpy_boxes import ArrayBox

from diffface.backends._autograd_boxes import RecordedArray, RecordedSequence, RecordedSparse, isinstance_
from diffface.backends._autograd_checks import check_elsewhere, check_same
from diffface.backends._autograd_functions import DATA_ARGUMENTS, METADATA, is_numpy, is_ufunc
from diffface.backends._autograd_graph import Graph, Node, nodes_in
from diffface.backends._autograd_kernels import scatter
from diffface.backends._autograd_program import compile_graph
from diffface.backends._autograd_rules import GETITEM, lower, scatter_add
from diffface.backends._compiled import Arrays, Compiled, Program
from diffface.backends._errors import CannotRecord

RECORDED = (RecordedArray, RecordedSequence, RecordedSparse)
_LIBRARIES = {"autograd", "numpy", "scipy", "diffface", "contextlib", "functools"}
_SEQUENCES = (builtins.make_sequence.fun, builtins.container_take.fun, builtins.container_untake.fun)
_CONTAINERS = (tuple, list)


def record(program: Program, examples: Arrays) -> Compiled:
    """Record `program` at `examples` and compile it.

    Parameters
    ----------
    program : callable
        ``program(*inputs) -> tuple of arrays``, written with autograd's primitives.
    examples : tuple of arrays
        Inputs of the shapes and dtypes that the compiled program will get; never written to.

    Returns
    -------
    Compiled
        With strategy ``"program"``; ``native.source`` is the straight-line program. Results of shape
        () may be NumPy scalars.

    Raises
    ------
    CannotRecord
        If the program depends on values in a way that cannot be recorded. Its ``run`` raises the
        same if a user's own primitive later returns another shape or dtype than it did here.
    """
    top = tracer.trace_stack.top
    try:
        return _record(program, examples)
    finally:
        tracer.trace_stack.top = top  # autograd's own context manager forgets to after an exception


def _record(program: Program, examples: Arrays) -> Compiled:
    tape = Tape()
    state = _random_state()
    try:
        outputs, traced = tape.trace(program, examples)
        compiled = compile_graph(tape.inputs, outputs)
        found = compiled.run(*examples)
    except Exception as error:
        if tape.escaped is not None:
            raise tape.escaped from None
        if isinstance(error, CannotRecord):
            raise
        program(*map(_copy, examples))  # an error of the user's own comes again, and goes up from here
        line = user_line(error.__traceback__)
        raise CannotRecord(f"the recorder cannot follow: {type(error).__name__}: {error}", line) from error
    if tape.escaped is not None:  # the user's function swallowed the error
        raise tape.escaped
    if state != _random_state():
        raise CannotRecord("random numbers were drawn; pass them in as a constant argument")
    check_same(found, traced, "where it was recorded")
    check_elsewhere(program, compiled, examples)
    return compiled


class Tape:
    """One recording: the graph, and what escaped from it."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.inputs: list[Node] = []
        self.escaped: CannotRecord | None = None
        self.open = True
        # Below every trace that the program opens, and never equal to the trace of a stray box.
        self._trace = tracer.trace_stack.top + 0.5

    def trace(self, program: Program, examples: Arrays) -> tuple[list[Node], list[Any]]:
        """Run `program` on boxes; return the nodes and the values of its results."""
        try:
            with _patched():
                boxes = []
                for x in map(_copy, examples):
                    node = self.graph.input(np.shape(x), np.result_type(x))
                    self.inputs.append(node)
                    boxes.append(self.box(x, node))
                results = program(*boxes)
            return [self.lift(y) for y in results], [_concrete(y) for y in results]
        finally:
            self.open = False

    def box(self, value: Any, content: Any) -> Any:
        """Return the box of a value, with its node (or tuple of nodes, or sparse update)."""
        if isinstance(content, Node) and content.is_constant:
            return value  # depends on no input, after all
        kind = {tuple: RecordedSequence, _Sparse: RecordedSparse}.get(type(content), RecordedArray)
        return kind(value, self._trace, RecordedNode.of(self, content))

    def escape(self, reason: str) -> NoReturn:
        """Refuse the recording."""
        error = CannotRecord(reason, user_line())
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
            raise RuntimeError("A value from an earlier recording was used; do not store arguments.")
        self._refuse_unsafe(fn, args, kwargs, value)
        if fn in _SEQUENCES or fn is core.sparse_add.fun or fn is numpy_vjps.untake.fun:
            return self._structural(fn, args, value, raw)
        lifted = tuple(self.lift(a) if is_ufunc(fn) else self.argument(a) for a in args)
        for i in range(min(len(lifted), DATA_ARGUMENTS.get(fn, 0))):
            if isinstance(lifted[i], (int, float)):
                lifted = (*lifted[:i], self.graph.constant(lifted[i]), *lifted[i + 1 :])
        named = {k: self.argument(v) for k, v in kwargs.items()}
        if isinstance(value, _CONTAINERS):
            node = lower(self.graph, fn, lifted, named, None, None)
            return tuple(self.graph.node(GETITEM, (node, i), {}, *self._type(v)) for i, v in enumerate(value))
        return lower(self.graph, fn, lifted, named, *self._type(value))

    def _type(self, value: Any) -> tuple[Any, Any]:
        if not isinstance(value, (np.ndarray, np.generic, bool, int, float, complex)):
            self.escape(f"a function returned a {type(value).__name__}")
        dtype = np.result_type(value)
        if dtype.kind not in "biufc":
            self.escape(f"a function returned an array of dtype {dtype}")
        return np.shape(value), dtype

    def _refuse_unsafe(self, fn: Any, args: Any, kwargs: Any, value: Any) -> None:
        name = getattr(fn, "__name__", str(fn))
        if isinstance_(value, _Box):
            self.escape(f"`{name}` hides a value that it depends on")
        if kwargs.get("out") is not None:
            self.escape(f"`{name}` writes into an array (`out=`)")
        if fn is GETITEM:
            if any(n.dtype.kind == "b" for n in nodes_in(self.argument(args[1]))if not n.is_constant):
                self.escape("a boolean mask that depends on a value selects elements")
        elif is_numpy(fn) and not is_ufunc(fn):
            data = DATA_ARGUMENTS.get(fn)
            if data is None or (fn is np.where and len(args) != 3):
                self.escape(f"the shape or dtype of the result of `{name}` may depend on values")
            named = [v for k, v in kwargs.items() if k not in ("where", "initial", "fill_value", "weights", "a_min", "a_max", "min", "max")]
            if any(not n.is_constant for n in nodes_in(self.argument([*args[data:], *named]))):
                self.escape(f"an option of `{name}` depends on a value")

    def _structural(self, fn: Any, args: Any, value: Any, raw: Any) -> Any:
        """Record autograd's own tuples and sparse gradients without their mutable run-time form."""
        if fn is builtins.make_sequence.fun:
            return tuple(self.content(a) for a in args[1:])
        if fn is builtins.container_take.fun:
            return self.content(args[0])[args[1]]
        if isinstance(value, SparseObject):
            x, index = self.content(args[0]), args[1] if fn in _SEQUENCES else self.argument(args[1])
            if fn not in _SEQUENCES:
                raw_x, raw_index = raw[0], _strip(self, raw[1])
                value.mut_add = lambda a: scatter(a, None, None, (raw_index, raw_x))
            return _Sparse(x, index, fn in _SEQUENCES)
        vs, previous, sparse = args
        old = None if previous is None else self.content(previous)
        if isinstance(sparse, SparseObject):  # a constant
            new = self.content(sparse.mut_add(vs.zeros()))
            if isinstance(new, tuple):
                return tuple(lower(self.graph, np.add, p, {}, *self._type(v)) for p, v in zip(zip(old, new), value))
            return lower(self.graph, np.add, (old, new), {}, *self._type(value))
        return self._densify(old, self.content(sparse), value)

    def _densify(self, previous: Any, update: "_Sparse", value: Any) -> Any:
        if not update.container:
            return scatter_add(self.graph, previous, update.index, update.x, *self._type(value))
        if not isinstance(update.index, int):
            self.escape("a slice of a tuple was differentiated")
        parts = [] if previous is None else list(previous)
        for v in value[len(parts) :]:
            self._type(v)
            parts.append(self.graph.constant(np.zeros_like(v)))
        old, new = parts[update.index], update.x
        parts[update.index] = lower(self.graph, np.add, (old, new), {}, *self._type(value[update.index]))
        return tuple(parts)

    def content(self, x: Any) -> Any:
        """Return what a box stands for; constants become nodes, tuples of them tuples of nodes."""
        if isinstance(x, (Node, _Sparse)):
            return x
        if isinstance_(x, _Box):
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
        if isinstance_(x, _Box):
            content = self.content(x)
            if not isinstance(content, Node):
                self.escape("a tuple was used as an array")
            return content
        if isinstance(x, _CONTAINERS):
            x = np.asarray(x)
        if not isinstance(x, (np.ndarray, np.generic, bool, int, float, complex)):
            self.escape(f"a {type(x).__name__} was used as an array")
        return self.graph.constant(x)

    def argument(self, x: Any) -> Any:
        """Return an argument as the graph keeps it: nodes for data, plain Python for the rest."""
        if isinstance(x, Node):
            return x
        if isinstance_(x, RecordedSequence):
            return self.content(x)
        if isinstance_(x, _Box) or isinstance(x, (np.ndarray, np.generic, float, complex)):
            return self.lift(x)
        if type(x) in _CONTAINERS:
            return type(x)(map(self.argument, x))
        if isinstance(x, slice):
            return slice(*map(self.argument, (x.start, x.stop, x.step)))
        return x


class RecordedNode(AutogradNode):  # type: ignore[misc]  # autograd is untyped
    """Autograd's node of a recorded value."""

    __slots__ = ("constant", "content", "tape")

    def __init__(self, value: Any, fun: Any, args: Any, kwargs: Any, argnums: Any, parents: Any) -> None:
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

    def escape(self, reason: str) -> NoReturn:
        """Refuse the recording."""
        self.tape.escape(reason)


class _Sparse:
    """The content of a recorded ``untake``: `x`, to be added at `index`."""

    def __init__(self, x: Any, index: Any, container: bool) -> None:
        self.x = x
        self.index = index
        self.container = container


_Box = tracer.Box


@contextmanager
def _patched() -> Iterator[None]:
    """Let autograd box recorded values our way, and never write into an array or index it natively.

    The rules put in place compute the same as autograd's, so other threads that use autograd meanwhile
    do not notice; boxes are treated differently only if they are ours.
    """
    new_box, mut_add, unpermuter = tracer.new_box, VSpace._mut_add, numpy_vjps.unpermuter
    vjps, jvps = dict(core.primitive_vjps), dict(core.primitive_jvps)

    def box(value: Any, trace: int, node: Any) -> Any:
        if type(node) is not RecordedNode:
            return new_box(value, trace, node)
        return value if node.constant else node.tape.box(value, node.content)

    tracer.new_box, VSpace._mut_add = box, _added
    numpy_vjps.unpermuter = lambda g, permutation: _take(g, anp.argsort(permutation))
    core.defvjp(ArrayBox.__getitem__, lambda ans, a, index: lambda g: _untake(g, index, core.vspace(a)))
    core.defvjp(numpy_vjps.untake, lambda ans, x, index, _: lambda g: _take(g, index))
    core.defjvp(ArrayBox.__getitem__, lambda g, ans, a, index: _take(g, index))
    core.defjvp(numpy_vjps.untake, lambda g, ans, x, index, space: _untake(g, index, space))
    core.defjvp(anp.sort, lambda g, ans, x, *a, **k: _take(g, anp.argsort(x, *a, **k)))
    core.defjvp(anp.partition, lambda g, ans, x, *a, **k: _take(g, anp.argpartition(x, *a, **k)))
    try:
        yield
    finally:
        tracer.new_box, VSpace._mut_add, numpy_vjps.unpermuter = new_box, mut_add, unpermuter
        for table, saved in ((core.primitive_vjps, vjps), (core.primitive_jvps, jvps)):
            for fun in (ArrayBox.__getitem__, numpy_vjps.untake, anp.sort, anp.partition):
                table[fun] = saved[fun]


def _added(self: Any, x: Any, y: Any) -> Any:
    """Return ``x += y`` on a copy of `x`."""
    x = np.array(x)
    x += y
    return x


def _visible(x: Any, index: Any) -> Any:
    """Return `x`, boxed if it is a constant and `index` hides a recorded box in a tuple.

    Autograd looks for boxes among the arguments only, so it would take such an indexing for a constant.
    """
    hidden = [i for i in index if isinstance_(i, RecordedArray)] if type(index) is tuple else []
    if not hidden or tracer.isbox(x):
        return x
    tape = hidden[0]._node.tape
    return RecordedArray(x, hidden[0]._trace, RecordedNode.of(tape, tape.lift(x)))


def _take(x: Any, index: Any) -> Any:
    """Return ``x[index]`` where `x` may be a constant and `index` recorded."""
    return ArrayBox.__getitem__(_visible(x, index), index)


def _untake(x: Any, index: Any, space: Any) -> Any:
    return numpy_vjps.untake(_visible(x, index), index, space)


def user_line(traceback: TracebackType | None = None) -> str | None:
    """Return ``file:line`` of the innermost frame, now or in a traceback, that belongs to no library."""
    here = walk_tb(traceback) if traceback else reversed(list(walk_stack(None)))
    lines = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in here
        if frame.f_globals.get("__name__", "").split(".")[0] not in _LIBRARIES
    ]
    return lines[-1] if lines else None


def _copy(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


def _concrete(x: Any) -> Any:
    return x._concrete if isinstance_(x, _Box) else x


def _strip(tape: Tape, x: Any) -> Any:
    if isinstance_(x, RECORDED[0]) or isinstance_(x, RECORDED[1]):
        return x._concrete
    if isinstance_(x, _Box):
        tape.escape("a plain NumPy function was called on an autograd box")
    if type(x) in _CONTAINERS:
        return type(x)(_strip(tape, item) for item in x)
    return x


def _random_state() -> tuple[Any, ...]:
    _, keys, position, *gauss = np.random.get_state()
    return keys.tobytes(), position, *gauss, random.getstate()
