"""Reductions and cumulative operations of the autograd namespace.

``prod`` and ``cumulative_prod`` are trees of products, so that their derivatives of every order
are right when elements are zero (autograd's own divide by the elements).
"""

import math
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp

from diffface.backends.autograd.namespace.elementwise import astype, sqrt
from diffface.backends.autograd.namespace.rules import (
    Array,
    Axis,
    along,
    axes_of,
    axis_of,
    broadcast_to,
    numpy_primitive,
)
from diffface.backends.autograd.namespace.shapes import concat, flip

__all__ = [
    "cumulative_prod", "cumulative_sum", "diff", "max", "mean", "min", "prod", "std", "sum", "var",
    "vecdot",
]  # fmt: skip


_sum = numpy_primitive(np.sum)


def _reduced(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the axes of a reduction: as in NumPy, a number is reduced along its axis 0, too."""
    return () if ndim == 0 and axis in (0, -1) else axes_of(axis, ndim)


def _spread(g: Array, x: Array, axis: tuple[int, ...]) -> Array:
    """Repeat a reduced `g` along the axes over which `x` was reduced."""
    shape = anp.shape(x)
    kept = tuple(1 if i in axis else n for i, n in enumerate(shape))
    return broadcast_to(anp.reshape(g, kept), shape)


defvjp(_sum, lambda _ans, x, axis, keepdims: lambda g: _spread(g, x, axis))
defjvp(_sum, "same")


def sum(  # the standard's name
    x: Array, /, axis: Axis = None, dtype: Any = None, keepdims: bool = False
) -> Array:
    """Sum over `axis`."""
    x = anp.array(x) if isinstance(x, list | tuple) else x
    x = x if dtype is None else astype(x, dtype)
    return _sum(x, axis=_reduced(axis, anp.ndim(x)), keepdims=keepdims)


def _count(x: Array, axis: Axis) -> int:
    shape = anp.shape(x)
    return int(np.prod([shape[i] for i in _reduced(axis, len(shape))], dtype=int))


def mean(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:
    """Mean over `axis`."""
    x = anp.array(x) if isinstance(x, list | tuple) else x
    return sum(x, axis, keepdims=keepdims) / _count(x, axis)


def var(x: Array, /, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Array:
    """Variance over `axis`, divided by ``n - correction``."""
    d = x - mean(x, axis, keepdims=True)
    square = anp.real(d * anp.conj(d)) if anp.iscomplexobj(d) else d * d
    return sum(square, axis, keepdims=keepdims) / (_count(x, axis) - correction)


def std(x: Array, /, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Array:
    """Standard deviation over `axis`."""
    return sqrt(var(x, axis, correction, keepdims))


def max(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:  # the standard's name
    """Maximum over `axis`; ties share the derivative equally."""
    return anp.max(x, axis=_reduced(axis, anp.ndim(x)), keepdims=keepdims)


def min(x: Array, /, axis: Axis = None, keepdims: bool = False) -> Array:  # the standard's name
    """Minimum over `axis`; ties share the derivative equally."""
    return anp.min(x, axis=_reduced(axis, anp.ndim(x)), keepdims=keepdims)


def prod(x: Array, /, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """Product over `axis`, by halving: ``log2(n)`` elementwise products."""
    x = x if dtype is None else astype(x, dtype)
    shape, axes = anp.shape(x), _reduced(axis, anp.ndim(x))
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    n = math.prod(shape[i] for i in axes)
    y = anp.reshape(anp.transpose(x, (*axes, *kept)), (n, *(shape[i] for i in kept)))
    if anp.shape(y)[0] == 0:
        y = np.ones((1, *anp.shape(y)[1:]), anp.result_type(x))
    while (n := anp.shape(y)[0]) > 1:
        half = y[: n // 2] * y[n // 2 : 2 * (n // 2)]
        y = half if n % 2 == 0 else concat([half, y[-1:]])
    y = y[0]
    return (
        anp.reshape(y, tuple(1 if i in axes else n for i, n in enumerate(shape))) if keepdims else y
    )


def _only_axis(x: Array, axis: int | None) -> int:
    if axis is None and anp.ndim(x) != 1:
        raise ValueError(f"`axis` is needed for an array of {anp.ndim(x)} dimensions")
    return axis_of(axis or 0, anp.ndim(x))


_cumsum = numpy_primitive(np.cumsum)
defvjp(
    _cumsum,
    lambda _ans, x, axis: lambda g: flip(_cumsum(flip(g, axis=axis), axis), axis=axis),
)
defjvp(_cumsum, "same")


def _with_initial(x: Array, axis: int, value: float) -> Array:
    shape = tuple(1 if i == axis else n for i, n in enumerate(anp.shape(x)))
    return concat([np.full(shape, value, anp.result_type(x)), x], axis=axis)


def cumulative_sum(
    x: Array, /, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Cumulative sum along `axis`."""
    axis = _only_axis(x, axis)
    y = _cumsum(x if dtype is None else astype(x, dtype), axis)
    return _with_initial(y, axis, 0) if include_initial else y


def cumulative_prod(
    x: Array, /, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Array:
    """Cumulative product along `axis`, by doubling strides: ``log2(n)`` elementwise products."""
    axis, ndim = _only_axis(x, axis), anp.ndim(x)
    y = x if dtype is None else astype(x, dtype)
    stride, n = 1, anp.shape(x)[axis]
    while stride < n:
        head = y[along(axis, ndim, slice(None, stride))]
        tail = y[along(axis, ndim, slice(stride, None))]
        y = concat([head, tail * y[along(axis, ndim, slice(None, n - stride))]], axis=axis)
        stride *= 2
    return _with_initial(y, axis, 1) if include_initial else y


def diff(
    x: Array, /, axis: int = -1, n: int = 1, prepend: Array = None, append: Array = None
) -> Array:
    """Differences of neighbours along `axis`, taken `n` times."""
    if n == 0:
        return x  # as NumPy's, whatever there is to put before and behind
    x = concat([p for p in (prepend, x, append) if p is not None], axis=axis)
    ndim = anp.ndim(x)
    for _ in range(n):
        x = x[along(axis, ndim, slice(1, None))] - x[along(axis, ndim, slice(None, -1))]
    return x


def vecdot(x1: Array, x2: Array, /, axis: int = -1) -> Array:
    """Sum over `axis` of ``conj(x1) * x2``."""
    left = anp.conj(x1) if anp.iscomplexobj(x1) else x1
    return sum(left * x2, axis)
