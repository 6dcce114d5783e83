"""HIPS autograd."""

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import autograd.numpy as anp
import numpy as np
from autograd import tracer
from autograd.core import JVPNode, VJPNode, add_outgrads
from autograd.tracer import isbox, new_box, trace_stack
from autograd.util import toposort

from diffface.backends.adapter import Adapter, Function, Pull
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.autograd.arrays import BOXES
from diffface.backends.autograd.namespace import namespace
from diffface.backends.autograd.primitive import call_rule
from diffface.backends.autograd.recorder import record
from diffface.backends.autograd.writing import Written, write, written
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import UnsupportedOperatorError
from diffface.backends.generic import loop
from diffface.backends.mutable import Mutable
from diffface.backends.numpy_arrays import NUMPY
from diffface.backends.recording.agreement import check_agreement
from diffface.backends.recording.numbers import build_with_numbers
from diffface.backends.rule import Rule

# autograd numbers its traces by one global counter, so that two threads would mix theirs up.
_TRACING = threading.RLock()


# Operators that autograd's boxes lack.
_OPERATORS = {"unary +": "positive", "//": "floor_divide", "divmod()": "floor_divide"}


@final
@dataclass(frozen=True)
class Autograd(Adapter):
    """HIPS autograd; prepared calls run a recorded straight-line NumPy program.

    Primitives for which autograd has no forward rule are pushed forward by transposing twice: the
    pullback is linear in the cotangent, and its pullback is the pushforward.
    """

    arrays = NUMPY
    library = "autograd"
    batching = "unrolled"

    @property
    def xp(self) -> Any:
        return namespace

    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        try:
            return _forward(f, x, dx)
        except NotImplementedError:
            return Adapter.pushforward(self, f, x, dx)

    def pullback(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Pull, Arrays]:
        y, nodes, aux, roots = _trace(f, x)

        def pull(dy: Arrays) -> Arrays:
            grads = _backward(roots, nodes, _conj(dy))
            return _cotangents(grads, x)

        return y, pull, aux

    def batch(self, call: Pull, seeds: Arrays, chunk_size: int | None = None) -> Arrays:
        return loop(call, seeds, anp)

    def gradient(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        y, nodes, aux, roots = _trace(f, x)
        one = np.ones((), y[0].dtype)
        return y, _cotangents(_backward(roots, nodes, (one,)), x), aux

    def build(self, program: Program, examples: Arrays) -> Compiled:
        compiled = build_with_numbers(record, program, examples, NUMPY)
        if any(isinstance(a, float | complex) for a in examples):
            check_agreement(compiled.run, program, examples, NUMPY)
        return compiled

    def dependence(self, program: Program, examples: Arrays, primals: int, order: int) -> Any:
        from diffface.backends.autograd.dependence import dependence
        from diffface.backends.recording.linear import read_derivative

        return read_derivative(self, dependence, program, examples, primals, order)

    def lift(self, value: object, like: Array) -> Array:
        if isinstance(value, Mutable):
            value = value.value
        if isbox(value) or isinstance(value, np.ndarray | np.number | np.bool_):
            return value
        if isinstance(value, bool | int | float | complex):
            return np.asarray(value, np.result_type(like.dtype, value))
        raise TypeError

    def scope(self, dtypes: Sequence[np.dtype[Any]]) -> AbstractContextManager[object]:
        return _TRACING

    def scratch(self, shape: tuple[int, ...], x: Arrays) -> Any:
        return Written(super().scratch(shape, x), write, self.xp)

    def written(self, f: Callable[[], Array], memory: Sequence[Any]) -> Array:
        return written(f)

    def primitive(self, rule: Rule, x: Arrays) -> Arrays:
        return call_rule(rule, x)

    def carries(self, library: ArrayLibrary) -> bool:
        return library is BOXES

    def is_nested(self) -> bool:
        return bool(trace_stack.top >= 0) and _is_tracing()

    def explain(self, error: Exception) -> str | None:
        if isinstance(error, AttributeError):
            return None
        text = str(error)
        if "ArrayBox" in text:
            for operator, name in _OPERATORS.items():
                if f" {operator}: " in text:
                    return f"autograd has no `{operator}`, for which there is `xp.{name}`"
        signs = ("ArrayBox", "setting an array element with a sequence", "dtype('O')")
        if any(sign in text for sign in signs):
            return "a plain NumPy or Python function was called on an autograd box"
        return None


def _is_tracing() -> bool:
    """Whether this thread is inside a trace.

    The counter is of all threads, and autograd leaves it raised after an exception.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _TRACES:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _trace(f: Function, x: Arrays) -> tuple[Arrays, list[Any], Arrays, list[Any]]:
    """Values and nodes of ``f(x)`` for a backward pass, aux, and the nodes of ``x``."""
    roots, boxes = [], []
    top = trace_stack.top
    try:
        with trace_stack.new_trace() as trace:
            for array in x:
                root = VJPNode.new_root()
                roots.append(root)
                boxes.append(new_box(array, trace, root))
            y, nodes, aux = _unbox(f(tuple(boxes)), trace)
    finally:
        trace_stack.top = top  # autograd leaves it raised after an exception
    return y, nodes, aux, roots


def _unbox(returned: tuple[Arrays, Arrays], trace: int) -> tuple[Arrays, list[Any], Arrays]:
    """Values and nodes of what ``f`` returned; the node is None where ``trace`` left no mark."""
    values, nodes = [], []
    for array in returned[0]:
        marked = isbox(array) and array._trace == trace
        values.append(array._value if marked else array)
        nodes.append(array._node if marked else None)
    if not returned[1]:
        return tuple(values), nodes, ()
    plain = [a._value if isbox(a) and a._trace == trace else a for a in returned[1]]
    return tuple(values), nodes, tuple(plain)


def _forward(f: Function, x: Arrays, dx: Arrays) -> tuple[Arrays, Arrays, Arrays]:
    top = trace_stack.top
    try:
        with trace_stack.new_trace() as trace:
            roots = map(JVPNode.new_root, dx)
            boxes = tuple(new_box(a, trace, root) for a, root in zip(x, roots, strict=True))
            y, nodes, aux = _unbox(f(boxes), trace)
    finally:
        trace_stack.top = top
    return y, _all_like([node and node.g for node in nodes], y), aux


def _backward(roots: list[Any], nodes: list[Any], dy: Arrays) -> list[Array | None]:
    """Autograd's backward pass, from several outputs to several inputs at once.

    Returns None for a root that no output depends on.
    """
    if len(nodes) == 1 and nodes[0] is not None:
        end, start = nodes[0], dy[0]
    else:
        reached = [(node, g) for node, g in zip(nodes, dy, strict=True) if node is not None]
        end, start = VJPNode.new_root(), tuple(g for _, g in reached)
        end.parents = [node for node, _ in reached]
        end.vjp = lambda cotangents: cotangents
    outgrads: dict[Any, Any] = {end: (start, False)}
    for node in toposort(end):
        # Roots have no parents: their sums stay in outgrads.
        if node.parents:
            outgrad, _ = outgrads.pop(node)
            for parent, ingrad in zip(node.parents, node.vjp(outgrad), strict=True):
                outgrads[parent] = add_outgrads(outgrads.get(parent), ingrad)
    found = []
    for root in roots:
        found.append(outgrads[root][0] if root in outgrads else None)  # noqa: PERF401 - no frame
    return found


def _cotangents(derivatives: list[Array | None], x: Arrays) -> Arrays:
    """What autograd found, like ``x`` and by the convention of diffface."""
    found = []
    for d, a in zip(derivatives, x, strict=True):
        fits = d is not None and d.shape == a.shape and d.dtype == a.dtype
        dx = d if fits else _like(d, a)
        found.append(anp.conj(dx) if a.dtype.kind == "c" else dx)
    return tuple(found)


def _all_like(derivatives: list[Array | None], like: Arrays) -> Arrays:
    return tuple([_like(d, a) for d, a in zip(derivatives, like, strict=True)])


def _like(derivative: Array | None, like: Array) -> Array:
    """``derivative`` in the dtype of ``like``: mixed precisions promote it on the way."""
    if derivative is None:
        return np.zeros(like.shape, like.dtype)
    if derivative.shape != like.shape:
        raise UnsupportedOperatorError(
            f"autograd returned a derivative of shape {derivative.shape} where it must have shape "
            f"{like.shape}: one of its own rules is wrong (that of `where`, where it broadcasts). "
            "Take the functions from `xp = diffface.namespace(x)`, or broadcast by hand."
        )
    if derivative.dtype == like.dtype:
        return derivative
    return namespace.astype(derivative, like.dtype)


def _conj(arrays: Arrays) -> Arrays:
    return tuple([anp.conj(a) if a.dtype.kind == "c" else a for a in arrays])


# The functions in which a trace is under way.
_TRACES = {f.__code__ for f in (tracer.trace, _trace, _forward)}
