"""Programs compiled by XLA."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffface.backends.compiled import Array, Arrays, Compiled, Program, Shortcut
from diffface.backends.errors import CannotRecord
from diffface.backends.jax.host import original_errors, watched_for_calls
from diffface.backends.recording.reachable import Generators


def compile_xla(program: Program, examples: Arrays, wide: bool) -> Compiled:
    """``jax.jit`` of ``program``, compiled for the signature of ``examples``.

    Parameters
    ----------
    program : callable
        What to compile.
    examples : tuple of arrays
        Inputs like those to come.
    wide : bool
        Whether 64-bit types are needed. JAX compiles anew whenever the flag differs, so the calls
        run under the flag that the program was compiled under.

    Raises
    ------
    CannotRecord
        If the program asks for the value of a tracer, even if it goes on without.
    """
    jitted = jax.jit(program)
    flag = wide or jax.enable_x64.value

    def run(*inputs: Array) -> Arrays:
        with jax.enable_x64(flag):
            outputs: Arrays = jitted(*inputs)
        return outputs

    def run_to_the_end(*inputs: Array) -> Arrays:
        # An error of a function on the host comes when the program gets there.
        with original_errors():
            outputs: Arrays = jax.block_until_ready(run(*inputs))
        return outputs

    shortcut = Shortcut(jitted, jax.enable_x64, "value", flag, jax.enable_x64)
    compiled = Compiled(run, "xla", jitted, shortcut, taken=_taken)
    generators = Generators(program)
    try:
        # Without tracing, nothing would be found out.
        with _watched() as caught, watched_for_calls() as calls_host, jax.disable_jit(False):
            outputs = run_to_the_end(*examples)
    except (jax.errors.ConcretizationTypeError, jax.errors.NonConcreteBooleanIndexError) as error:
        raise CannotRecord(str(error).splitlines()[0]) from error
    if generators.have_drawn():
        raise CannotRecord("it draws random numbers that JAX does not know; pass keys in")
    if caught:
        raise CannotRecord("the error of a JAX tracer was caught") from caught[0]
    jax.block_until_ready(outputs)
    return replace(compiled, run=run_to_the_end, shortcut=None) if calls_host() else compiled


class _Memory:
    """Memory of an array that says that nobody may write to it, for NumPy to write to."""

    __slots__ = ("__array_interface__", "_holder")

    def __init__(self, array: Any) -> None:
        interface = array.__array_interface__
        address, _ = interface["data"]
        self.__array_interface__ = {**interface, "data": (address, False)}
        self._holder = array


def _taken(output: Array) -> Any:
    # Each run of a program makes new memory for each of its outputs.
    array = np.asarray(output)
    if not array.flags.c_contiguous or array.dtype.isbuiltin != 1:
        return np.array(array, order="C")
    return np.asarray(_Memory(array))


def coarsest_unit(traced: object) -> float:
    """The machine epsilon of the least precise numbers that a jaxpr computes with."""
    text = str(traced)
    found = (dtype for name, dtype in _PRECISIONS.items() if name in text)
    # jax's finfo is untyped.
    return max((float(jnp.finfo(dtype).eps) for dtype in found), default=0.0)  # type: ignore[no-untyped-call]


# As variables are typed where a jaxpr is printed, those of the functions in it, too.
_PRECISIONS = {
    ":f64[": jnp.float64, ":c128[": jnp.float64, ":f32[": jnp.float32, ":c64[": jnp.float32,
    ":f16[": jnp.float16, ":bf16[": jnp.bfloat16,
}  # fmt: skip


# What a tracer says when it is asked for its value. A function that catches it and goes on would be
# compiled as it went, whatever the values: so these are counted where they are made.
_ERRORS: tuple[type[Exception], ...] = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
)
# Threads may trace at the same time: the first one in changes the classes, the last one out
# changes them back.
_lock = threading.Lock()
_originals: list[tuple[Any, Any]] = []
_watching = 0
_here = threading.local()


@contextmanager
def _watched() -> Iterator[list[Exception]]:
    """Collect the errors that tracers make in this thread, whether they are caught or not."""
    outer = getattr(_here, "errors", None)
    found: list[Exception] = []
    _here.errors = found
    _change(+1)
    try:
        yield found
    finally:
        _change(-1)
        _here.errors = outer


def _change(by: int) -> None:
    global _watching
    with _lock:
        _watching += by
        if by > 0 and _watching == 1:
            _originals[:] = [(kind, kind.__init__) for kind in _ERRORS]
            for kind, original in _originals:
                kind.__init__ = _noting(original)
        elif _watching == 0:
            for kind, original in _originals:
                kind.__init__ = original


def _noting(original: Any) -> Any:
    def init(self: Exception, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        errors = getattr(_here, "errors", None)
        if errors is not None:
            errors.append(self)

    return init
