"""What is different in autograd while we record, and put back right after."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import core, tracer
from autograd.core import VSpace
from autograd.numpy import numpy_vjps
from autograd.numpy.numpy_boxes import ArrayBox

from diffface.backends.autograd.recorder.boxes import RecordedArray, is_a
from diffface.backends.autograd.recorder.tape import RecordedNode

_CHANGED = (ArrayBox.__getitem__, numpy_vjps.untake, anp.sort, anp.partition)


@contextmanager
def patched() -> Iterator[None]:
    """Let autograd box recorded values our way, and neither write into arrays nor index natively.

    The rules put in place compute the same as autograd's, so other threads that use autograd
    meanwhile do not notice; boxes are treated differently only if they are ours.
    """
    new_box, mut_add, unpermuter = tracer.new_box, VSpace._mut_add, numpy_vjps.unpermuter
    unbroadcast = numpy_vjps.unbroadcast
    vjps = {fun: core.primitive_vjps[fun] for fun in _CHANGED}
    jvps = {fun: core.primitive_jvps[fun] for fun in _CHANGED}

    def box(value: Any, trace: int, node: Any) -> Any:
        if type(node) is not RecordedNode:
            return new_box(value, trace, node)
        return value if node.constant else node.tape.box(value, node.content)

    def fitted(x: Any, target: Any, *axes: Any) -> Any:
        # Where nothing is to be done, autograd takes its time to find out.
        same = is_a(x, RecordedArray) and x.shape == target[0] and x.dtype == target[2]
        return x if same else unbroadcast(x, target, *axes)

    tracer.new_box, VSpace._mut_add = box, _added
    numpy_vjps.unbroadcast = fitted
    numpy_vjps.unpermuter = lambda g, permutation: _take(g, anp.argsort(permutation))
    core.defvjp(
        ArrayBox.__getitem__, lambda ans, a, index: lambda g: _untake(g, index, core.vspace(a))
    )
    core.defvjp(numpy_vjps.untake, lambda ans, x, index, _: lambda g: _take(g, index))
    core.defjvp(ArrayBox.__getitem__, lambda g, ans, a, index: _take(g, index))
    core.defjvp(numpy_vjps.untake, lambda g, ans, x, index, space: _untake(g, index, space))
    core.defjvp(anp.sort, lambda g, ans, x, *a, **k: _take(g, anp.argsort(x, *a, **k)))
    core.defjvp(anp.partition, lambda g, ans, x, *a, **k: _take(g, anp.argpartition(x, *a, **k)))
    try:
        yield
    finally:
        tracer.new_box, VSpace._mut_add, numpy_vjps.unpermuter = new_box, mut_add, unpermuter
        numpy_vjps.unbroadcast = unbroadcast
        for table, saved in ((core.primitive_vjps, vjps), (core.primitive_jvps, jvps)):
            table.update(saved)


def _added(self: Any, x: Any, y: Any) -> Any:
    """Return ``x += y`` on a copy of `x`."""
    x = np.array(x)
    x += y
    return x


def _visible(x: Any, index: Any) -> Any:
    """Return `x`, boxed if it is a constant and `index` hides a recorded box in a tuple.

    Autograd looks for boxes among the arguments only: it would take the indexing for a constant.
    """
    hidden = [i for i in index if is_a(i, RecordedArray)] if type(index) is tuple else []
    if not hidden or tracer.isbox(x):
        return x
    tape = hidden[0]._node.tape
    return RecordedArray(x, hidden[0]._trace, RecordedNode.of(tape, tape.lift(x)))


def _take(x: Any, index: Any) -> Any:
    """Return ``x[index]`` where `x` may be a constant and `index` recorded."""
    return ArrayBox.__getitem__(_visible(x, index), index)


def _untake(x: Any, index: Any, space: Any) -> Any:
    return numpy_vjps.untake(_visible(x, index), index, space)
