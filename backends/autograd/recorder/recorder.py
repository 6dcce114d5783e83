"""Recording: run a derivation once on boxes, and note every NumPy function that runs.

``record`` is the only entry. What it notes becomes a graph (``graph``), simplified on the way
(``lowering``), then Python source (``program``). It must not know which derivation it records.

Frozen, that is, part of the program: whatever is not an input. Arrays that the user's function
captures are copied when it uses them. Not frozen but refused: values that decide a branch, a shape
or a Python number; writing into arrays; random numbers; anything else that a second, eager run
contradicts.
"""

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
from diffface.backends.autograd.recorder.entries import compile_entries
from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.autograd.recorder.tape import RecordedNode, Tape
from diffface.backends.compiled import Arrays, Compiled, Program
from diffface.backends.errors import CannotRecord
from diffface.backends.numpy_arrays import NUMPY
from diffface.backends.recording.agreement import check_agreement
from diffface.backends.recording.reachable import Generators
from diffface.backends.recording.user_frame import line_of_error


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
        With strategy ``"program"``; ``native.source`` is the straight-line program. Results of
        shape () may be NumPy scalars.

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
    generators = Generators(program)
    try:
        compiled = compile_entries(tape.graph, tape.inputs, trace(tape, program, examples))
    except Exception as error:
        if tape.escaped is not None:
            raise tape.escaped from None
        if isinstance(error, CannotRecord):
            raise
        program(*map(_copy, examples))  # an error of the user's own goes up from here
        line = line_of_error(error)
        raise CannotRecord(
            f"the recorder cannot follow: {type(error).__name__}: {error}", line
        ) from error
    if tape.escaped is not None:  # the user's function swallowed the error
        raise tape.escaped
    if generators.have_drawn():
        raise CannotRecord("random numbers were drawn; pass them in as a constant argument")
    check_agreement(compiled.run, _checking(program), examples, NUMPY, terms=_terms)
    return compiled


def trace(tape: Tape, program: Program, examples: Arrays) -> list[Node]:
    """Run `program` on boxes; return the nodes of its results."""
    try:
        with patched():
            results = program(*[tape.input(_copy(x)) for x in examples])
        return [tape.lift(y) for y in results]
    finally:
        tape.open = False


def _checking(program: Program) -> Program:
    """Return `program`, which then raises CannotRecord if it writes into its arguments."""

    def run(*inputs: Any) -> Arrays:
        before = [np.asarray(x).tobytes() for x in inputs]
        results = program(*inputs)
        if before != [np.asarray(x).tobytes() for x in inputs]:
            raise CannotRecord("the function writes into its arguments")
        return results

    return run


def _terms(inputs: Arrays) -> float:
    """Return the size, in units of rounding, of what cancellation may leave of the inputs."""
    numbers = (x for x in inputs if np.result_type(x).kind in "biufc")
    largest = (float(np.nanmax(np.abs(x), initial=1.0)) for x in numbers)
    return 1e3 * max(largest, default=1.0)


def _copy(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


# What is different in autograd while we record, and put back right after

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
