"""Making arrays in the autograd namespace, and asking about their types.

New arrays are plain NumPy arrays, constants to autograd, unless they are made from boxes.
``device`` is accepted everywhere and ignored: there is only one.
"""

from collections.abc import Sequence
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp

from diffface.backends.autograd.namespace.elementwise import astype
from diffface.backends.autograd.namespace.rules import (
    Array,
    broadcast_to,
    is_box,
    numpy_primitive,
    unbroadcast,
)

__all__ = [
    "arange", "array", "asarray", "can_cast", "empty", "empty_like", "eye", "finfo", "full",
    "full_like", "iinfo", "isdtype", "linspace", "ones", "ones_like", "result_type", "tril",
    "tril_indices", "triu", "triu_indices", "zeros", "zeros_like",
]  # fmt: skip

# Constants, whose arguments are never boxes.
isdtype, tril_indices, triu_indices = np.isdtype, np.tril_indices, np.triu_indices


def asarray(
    obj: Any, /, *, dtype: Any = None, device: object = None, copy: bool | None = None
) -> Array:
    """Make an array of numbers, arrays, boxes, or nested sequences of them."""
    if is_box(obj):
        # Converted even if the dtype fits, as the box may hold a Python number.
        return obj if dtype is None else astype(obj, dtype)
    if isinstance(obj, list | tuple) and _holds_box(obj):
        boxed = anp.array(obj)
        return boxed if dtype is None else astype(boxed, dtype, copy=False)
    return np.asarray(obj, dtype=dtype, copy=copy)


def _holds_box(obj: Any) -> bool:
    return is_box(obj) or (isinstance(obj, list | tuple) and any(map(_holds_box, obj)))


def array(obj: Any, dtype: Any = None, *, copy: bool = True) -> Array:
    """``asarray``, under NumPy's name; a new array unless `obj` is a box."""
    return asarray(obj, dtype=dtype, copy=copy or None)


def zeros(shape: int | Sequence[int], *, dtype: Any = None, device: object = None) -> Array:
    """Zeros, float64 by default."""
    return np.zeros(shape, dtype)


def ones(shape: int | Sequence[int], *, dtype: Any = None, device: object = None) -> Array:
    """Ones, float64 by default."""
    return np.ones(shape, dtype)


def empty(shape: int | Sequence[int], *, dtype: Any = None, device: object = None) -> Array:
    """Zeros: derivatives must never depend on memory that nobody wrote."""
    return np.zeros(shape, dtype)


def full(
    shape: int | Sequence[int], fill_value: Array, *, dtype: Any = None, device: object = None
) -> Array:
    """One value everywhere, which may be a box."""
    if not is_box(fill_value):
        return np.full(shape, fill_value, dtype)
    value = fill_value if dtype is None else astype(fill_value, dtype)
    return broadcast_to(value, tuple(shape) if isinstance(shape, Sequence) else (shape,))


def zeros_like(x: Array, /, *, dtype: Any = None, device: object = None) -> Array:
    """Zeros of the shape of `x`."""
    return np.zeros(anp.shape(x), dtype or anp.result_type(x))


def ones_like(x: Array, /, *, dtype: Any = None, device: object = None) -> Array:
    """Ones of the shape of `x`."""
    return np.ones(anp.shape(x), dtype or anp.result_type(x))


def empty_like(x: Array, /, *, dtype: Any = None, device: object = None) -> Array:
    """Zeros of the shape of `x`; see `empty`."""
    return zeros_like(x, dtype=dtype)


def full_like(x: Array, /, fill_value: Array, *, dtype: Any = None, device: object = None) -> Array:
    """One value everywhere, in the shape of `x`."""
    return full(anp.shape(x), fill_value, dtype=dtype or anp.result_type(x))


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    device: object = None,
) -> Array:
    """Ones on the diagonal `k`, float64 by default."""
    return np.eye(n_rows, n_cols, k, dtype or float)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: object = None,
) -> Array:
    """Evenly spaced values from `start` up to, not including, `stop`."""
    first, last = (0, start) if stop is None else (start, stop)
    return np.arange(first, last, step, dtype=dtype)


_linspace = numpy_primitive(np.linspace)


def _ramp(num: int, endpoint: bool, like: Array) -> Array:
    """Weights of `stop`, shaped so that they broadcast against the answer `like`."""
    return np.reshape(np.linspace(0.0, 1.0, num, endpoint), (-1, *(1,) * (anp.ndim(like) - 1)))


defvjp(
    _linspace,
    lambda ans, a, b, n, end: lambda g: unbroadcast(anp.sum(g * (1.0 - _ramp(n, end, ans)), 0), a),
    lambda ans, a, b, n, end: lambda g: unbroadcast(anp.sum(g * _ramp(n, end, ans), 0), b),
)
defjvp(
    _linspace,
    lambda g, ans, a, b, n, end: g * (1.0 - _ramp(n, end, ans)),
    lambda g, ans, a, b, n, end: g * _ramp(n, end, ans),
)


def linspace(
    start: Array,
    stop: Array,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: object = None,
    endpoint: bool = True,
) -> Array:
    """`num` evenly spaced values; differentiable in both ends."""
    values = _linspace(start, stop, num, endpoint)
    return values if dtype is None else astype(values, dtype)


def tril(x: Array, /, *, k: int = 0) -> Array:
    """Lower triangle of the last two axes."""
    return anp.tril(x, k=k)


def triu(x: Array, /, *, k: int = 0) -> Array:
    """Upper triangle of the last two axes."""
    return anp.triu(x, k=k)


def _dtype(x: Any) -> Any:
    return anp.result_type(x) if is_box(x) else x


def result_type(*arrays_and_dtypes: Any) -> Any:
    """Return the dtype to which all promote."""
    return np.result_type(*(_dtype(x) for x in arrays_and_dtypes))


def can_cast(from_: Any, to: Any, /) -> bool:
    """Tell whether `from_` converts to the dtype `to` without loss."""
    source = from_.dtype if hasattr(from_, "dtype") else from_
    return bool(np.can_cast(source, to))


def finfo(type: Any, /) -> Any:  # the standard's name
    """Machine limits of a floating dtype, or of the dtype of an array."""
    return np.finfo(_dtype(type))


def iinfo(type: Any, /) -> Any:  # the standard's name
    """Machine limits of an integer dtype, or of the dtype of an array."""
    return np.iinfo(_dtype(type))
