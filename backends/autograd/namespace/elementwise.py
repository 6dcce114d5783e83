"""Elementwise functions of the autograd namespace: those that differ from ``autograd.numpy``.

Names are those of the array API standard. ``sqrt`` and ``tanh`` are here for speed (autograd's
rules call ``x**-0.5`` and ``cosh``, which overflows), the others because autograd has no rule, no
forward rule, or one that does not broadcast.
"""

from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp

from diffface.backends.autograd.namespace.rules import (
    Array,
    choose,
    constant,
    match_real,
    numpy_primitive,
    primitive,
    unbroadcast,
)

__all__ = [
    "acos", "acosh", "asin", "asinh", "astype", "atan", "atan2", "atanh", "bitwise_invert",
    "bitwise_left_shift", "bitwise_right_shift", "clip", "copysign", "hypot",
    "positive", "pow", "sign", "signbit", "sqrt", "tanh", "where",
]  # fmt: skip

acos, acosh = anp.arccos, anp.arccosh
asin, asinh = anp.arcsin, anp.arcsinh
atan, atan2, atanh = anp.arctan, anp.arctan2, anp.arctanh
bitwise_invert = anp.invert
bitwise_left_shift, bitwise_right_shift = anp.left_shift, anp.right_shift
pow = anp.power


sqrt = numpy_primitive(np.sqrt)
defvjp(sqrt, lambda ans, x: lambda g: 0.5 * g / ans)
defjvp(sqrt, lambda g, ans, x: 0.5 * g / ans)

tanh = numpy_primitive(np.tanh)
defvjp(tanh, lambda ans, x: lambda g: g * (1.0 - ans * ans))
defjvp(tanh, lambda g, ans, x: g * (1.0 - ans * ans))

hypot = numpy_primitive(np.hypot)
defvjp(
    hypot,
    lambda ans, x, y: lambda g: unbroadcast(g * x / ans, x),
    lambda ans, x, y: lambda g: unbroadcast(g * y / ans, y),
)
defjvp(hypot, lambda g, ans, x, y: g * x / ans, lambda g, ans, x, y: g * y / ans)


@primitive
def cast_to(x: Array, dtype: Any) -> Array:
    return np.asarray(x).astype(dtype)


defvjp(cast_to, lambda _ans, x, dtype: lambda g: cast_to(match_real(g, x), anp.result_type(x)))
defjvp(cast_to, lambda g, _ans, x, dtype: cast_to(g, dtype))

_cast_constant = constant(lambda x, dtype: np.asarray(x).astype(dtype))


def astype(x: Array, dtype: Any, /, *, copy: bool = True, device: object = None) -> Array:
    """Convert to `dtype`; the derivative of a conversion to integers or bools is zero."""
    if not copy and anp.result_type(x) == dtype:
        return x
    if not np.issubdtype(dtype, np.inexact):
        return _cast_constant(x, dtype)
    if anp.iscomplexobj(x) and not np.issubdtype(dtype, np.complexfloating):
        x = anp.real(x)
    return cast_to(x, dtype)


def where(condition: Array, x1: Array = None, x2: Array = None, /) -> Array:
    """Choose elements of `x1` where `condition` holds, else of `x2`; all three broadcast."""
    if x1 is None:
        return anp.nonzero(condition)
    return choose(condition, x1, x2)


def clip(x: Array, /, min: Array = None, max: Array = None) -> Array:  # the standard's names
    """Clip to ``[min, max]``; also differentiable in the bounds, halves at a tie."""
    if min is not None:
        x = anp.maximum(x, min)
    return x if max is None else anp.minimum(x, max)


signbit = constant(lambda x: np.signbit(x))


def copysign(x1: Array, x2: Array, /) -> Array:
    """Magnitude of `x1` with the sign of `x2`."""
    return choose(anp.not_equal(signbit(x1), signbit(x2)), -x1, x1)


def sign(x: Array, /) -> Array:
    """Sign, with zero derivative; for complex `x` the phase ``x / |x|``, zero at zero."""
    if not anp.iscomplexobj(x):
        return anp.sign(x)
    zero = anp.equal(x, 0)
    return choose(zero, 0.0, x / choose(zero, 1.0, anp.abs(x)))


def positive(x: Array, /) -> Array:
    """`x` itself."""
    return x
