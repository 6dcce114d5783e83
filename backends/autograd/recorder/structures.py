"""Autograd's own tuples and sparse gradients, recorded without their mutable run-time form."""

from typing import Any

import numpy as np
from autograd import builtins, core, tracer
from autograd.core import SparseObject
from autograd.numpy import numpy_vjps

from diffface.backends.autograd.recorder.boxes import RecordedArray, RecordedSequence, is_a
from diffface.backends.autograd.recorder.kernels import scatter
from diffface.backends.autograd.recorder.refusals import result_type
from diffface.backends.autograd.recorder.rules import lower, scatter_add


class Sparse:
    """The content of a recorded ``untake``: `x`, to be added at `index` of an array or a tuple."""

    def __init__(self, x: Any, index: Any, container: bool) -> None:
        self.x = x
        self.index = index
        self.container = container


def strip(tape: Any, x: Any) -> Any:
    """Return `x` with recorded boxes replaced by their values."""
    if is_a(x, RecordedArray) or is_a(x, RecordedSequence):
        return x._concrete
    if is_a(x, tracer.Box):
        tape.escape("a plain NumPy function was called on an autograd box")
    if type(x) in (tuple, list):
        return type(x)(strip(tape, item) for item in x)
    return x


def _make_sequence(tape: Any, args: Any, value: Any, raw: Any) -> Any:
    return tuple(tape.content(a) for a in args[1:])


def _container_take(tape: Any, args: Any, value: Any, raw: Any) -> Any:
    return tape.content(args[0])[args[1]]


def _container_untake(tape: Any, args: Any, value: Any, raw: Any) -> Any:
    return Sparse(tape.content(args[0]), args[1], container=True)


def _untake(tape: Any, args: Any, value: Any, raw: Any) -> Any:
    # Autograd's closure would write into its argument, and index by boxes.
    index = strip(tape, raw[1])
    value.mut_add = lambda a: scatter(a, (), None, (index, raw[0]))
    return Sparse(tape.content(args[0]), tape.argument(args[1]), container=False)


def _sparse_add(tape: Any, args: Any, value: Any, raw: Any) -> Any:
    space, previous, sparse = args
    old: Any = None if previous is None else tape.content(previous)
    if isinstance(sparse, SparseObject):  # a constant
        new = tape.content(sparse.mut_add(space.zeros()))
        if not isinstance(new, tuple):
            return _add(tape, old, new, value)
        return tuple(_add(tape, *p) for p in zip(old, new, value, strict=True))
    update = tape.content(sparse)
    if not update.container:
        return scatter_add(tape.graph, old, update.index, update.x, *result_type(tape, value))
    i = update.index
    if not isinstance(i, int):
        tape.escape("a slice of a tuple was differentiated")
    if old is None:
        old = [tape.graph.constant(np.zeros(*result_type(tape, v))) for v in value]
    parts = list(old)
    parts[i] = _add(tape, old[i], update.x, value[i])
    return tuple(parts)


def _add(tape: Any, old: Any, new: Any, value: Any) -> Any:
    return lower(tape.graph, np.add, (old, new), {}, *result_type(tape, value))


STRUCTURAL: dict[Any, Any] = {
    builtins.make_sequence.fun: _make_sequence,
    builtins.container_take.fun: _container_take,
    builtins.container_untake.fun: _container_untake,
    numpy_vjps.untake.fun: _untake,
    core.sparse_add.fun: _sparse_add,
}
