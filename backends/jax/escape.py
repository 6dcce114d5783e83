"""Errors of JAX's tracers that the user's function catches itself, and goes on.

Under ``jax.jit`` such a function would be compiled as it went, whatever the values. So the errors
are counted where they are made, while a program is traced.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

# What a tracer says when it is asked for its value.
ERRORS: tuple[type[Exception], ...] = (
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
def watched() -> Iterator[list[Exception]]:
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
            _originals[:] = [(kind, kind.__init__) for kind in ERRORS]
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
