"""Writing into arrays, for autograd: a copy with some elements replaced."""

import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp, primitive
from autograd.numpy.numpy_boxes import ArrayBox

from diffface.backends.compiled import Array
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.mutable import Mutable
from diffface.backends.recording.user_frame import line_of_call


@primitive  # type: ignore[untyped-decorator]  # autograd is untyped
def write(array: Array, index: Any, value: Array) -> Array:
    """A copy of ``array`` with ``value`` at ``index``."""
    result = np.array(array)
    result[index] = value
    return result


def _of_value(ans: Array, array: Array, index: Any, value: Array) -> Any:
    shape = np.shape(value)

    def vjp(g: Array) -> Array:
        part = g[index]
        extra = anp.ndim(part) - len(shape)
        part = anp.sum(part, axis=tuple(range(extra))) if extra else part
        repeated = tuple(i for i, n in enumerate(shape) if n == 1 and anp.shape(part)[i] != 1)
        return anp.sum(part, axis=repeated, keepdims=True) if repeated else part

    return vjp


defvjp(write, lambda ans, array, index, value: lambda g: write(g, index, 0.0), None, _of_value)
defjvp(
    write,
    lambda g, ans, array, index, value: write(g, index, 0.0),
    None,
    lambda g, ans, array, index, value: write(np.zeros(ans.shape, ans.dtype), index, g),
)


# Whether a function runs that writes into an array: functions of the namespace take that, too.
WRITING: ContextVar[bool] = ContextVar("writing", default=False)

# The code of every function that autograd differentiates.
_PRIMITIVE = anp.sin.__code__


class Written(Mutable, ArrayBox):  # type: ignore[misc]  # autograd is untyped
    """An array that is written to; a box, so that ``box * out`` asks it first.

    A function of ``autograd.numpy`` called on one, and on a box as well, sees no box in it, would
    lose its derivative, and would keep what may be overwritten later; that is refused.
    """

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        _refuse_beside_boxes()
        return super().__array_ufunc__(ufunc, method, *inputs, **options)

    def __array_function__(self, f: Any, types: Any, args: Any, kwargs: Any) -> Any:
        _refuse_beside_boxes()
        return super().__array_function__(f, types, args, kwargs)


def written(f: Callable[[], Array]) -> Array:
    """``f()``, which writes into an array."""
    token = WRITING.set(True)
    try:
        return f()
    finally:
        WRITING.reset(token)


def _refuse_beside_boxes() -> None:
    """Raise if autograd has taken boxes out of the arguments that a NumPy function is called on."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code is not written.__code__:
        if frame.f_code is _PRIMITIVE and frame.f_locals["boxed_args"]:
            line = line_of_call()
            raise NotDifferentiableError(
                "`f` passes an array that it writes to, and one that is differentiated, to one "
                f"function of autograd.numpy{f', at {line}' if line else ''}. Take the function "
                "from `xp = diffface.namespace(x)` in `f`, or pass `out * 1.0`."
            )
        frame = frame.f_back
