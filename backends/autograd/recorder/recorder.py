"""Recording: run a derivation once on boxes, and note every NumPy function that runs.

``record`` is the only entry. What it notes becomes a graph (``_graph``), simplified on the
way (``_rules``), then Python source (``_program``). It must not know which
derivation it records.

Frozen, that is, part of the program: whatever is not an input. Arrays that the user's function
captures are copied when it uses them. Not frozen but refused: values that decide a branch, a shape
or a Python number; writing into arrays; random numbers; anything else that a second, eager run
contradicts.
"""

import random
from typing import Any

import numpy as np
from autograd import tracer

from diffface.backends.autograd.recorder.boxes import is_a
from diffface.backends.autograd.recorder.checks import check_elsewhere, check_same
from diffface.backends.autograd.recorder.escape import user_line
from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.autograd.recorder.patches import patched
from diffface.backends.autograd.recorder.program import compile_graph
from diffface.backends.autograd.recorder.tape import Tape
from diffface.backends.compiled import Arrays, Compiled, Program
from diffface.backends.errors import CannotRecord


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
    state = _random_state()
    try:
        outputs, traced = _trace(tape, program, examples)
        compiled = compile_graph(tape.inputs, outputs)
        found = compiled.run(*examples)
    except Exception as error:
        if tape.escaped is not None:
            raise tape.escaped from None
        if isinstance(error, CannotRecord):
            raise
        program(
            *map(_copy, examples)
        )  # an error of the user's own comes again, and goes up from here
        line = user_line(error.__traceback__)
        raise CannotRecord(
            f"the recorder cannot follow: {type(error).__name__}: {error}", line
        ) from error
    if tape.escaped is not None:  # the user's function swallowed the error
        raise tape.escaped
    if state != _random_state():
        raise CannotRecord("random numbers were drawn; pass them in as a constant argument")
    check_same(found, tuple(traced), examples)
    check_elsewhere(program, compiled, examples)
    return compiled


def _trace(tape: Tape, program: Program, examples: Arrays) -> tuple[list[Node], list[Any]]:
    """Run `program` on boxes; return the nodes and the values of its results."""
    try:
        with patched():
            results = program(*[tape.input(_copy(x)) for x in examples])
        values = [y._concrete if is_a(y, tracer.Box) else y for y in results]
        return [tape.lift(y) for y in results], values
    finally:
        tape.open = False


def _copy(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


def _random_state() -> tuple[Any, ...]:
    # The state that users may still draw from, not one of ours.
    state: Any = np.random.get_state()  # noqa: NPY002
    _, keys, position, *gauss = state
    return keys.tobytes(), position, *gauss, random.getstate()
