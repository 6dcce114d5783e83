"""Writing into arrays, for autograd: a copy with some elements replaced."""

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp, primitive

from diffface.backends.compiled import Array


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
