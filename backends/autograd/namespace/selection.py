"""Selecting and sorting in the autograd namespace.

Primitives of our own, because autograd's indexing hides the indices inside a tuple, where a
recorder does not see them.
"""

from typing import Any, Literal

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp

from diffface.backends.autograd.namespace.rules import (
    Array,
    along,
    constant,
    numpy_primitive,
    primitive,
)

__all__ = ["argsort", "repeat", "searchsorted", "sort", "take", "take_along_axis"]


@primitive
def _put(g: Array, indices: Array, axis: int, length: int) -> Array:
    """Transpose of `_take`: add `g` up at the indices."""
    shape = (*np.shape(g)[:axis], length, *np.shape(g)[axis + np.ndim(indices) :])
    out = np.zeros(shape, np.result_type(g))
    np.add.at(out, along(axis, len(shape), indices), g)
    return out


@primitive
def _put_along(g: Array, indices: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """Transpose of `_take_along`: add `g` up at the indices along `axis`."""
    grid: list[Any] = list(np.ix_(*(np.arange(n) for n in np.shape(g))))
    grid[axis] = indices
    out = np.zeros(shape, np.result_type(g))
    np.add.at(out, tuple(grid), g)
    return out


_take = numpy_primitive(np.take)
_take_along = numpy_primitive(np.take_along_axis)

defvjp(_take, lambda _ans, x, i, axis: lambda g: _put(g, i, axis, anp.shape(x)[axis]))
defjvp(_take, lambda g, _ans, x, i, axis: _take(g, i, axis))
defvjp(_put, lambda _ans, g, i, axis, length: lambda h: _take(h, i, axis))
defjvp(_put, lambda dg, _ans, g, i, axis, length: _put(dg, i, axis, length))

defvjp(_take_along, lambda _ans, x, i, axis: lambda g: _put_along(g, i, axis, anp.shape(x)))
defjvp(_take_along, lambda g, _ans, x, i, axis: _take_along(g, i, axis))
defvjp(_put_along, lambda _ans, g, i, axis, shape: lambda h: _take_along(h, i, axis))
defjvp(_put_along, lambda dg, _ans, g, i, axis, shape: _put_along(dg, i, axis, shape))


def take(x: Array, indices: Array, /, axis: int | None = None) -> Array:
    """Take elements along `axis`; ``axis=None`` takes from the flattened array."""
    if axis is None:
        x, axis = anp.reshape(x, (-1,)), 0
    return _take(x, indices, axis % anp.ndim(x))


def repeat(x: Array, repeats: int | Array, /, axis: int | None = None) -> Array:
    """Repeat each element along `axis`."""
    n = anp.shape(x)[axis] if axis is not None else anp.size(x)
    return take(x, np.repeat(np.arange(n), repeats), axis=axis)


def take_along_axis(x: Array, indices: Array, /, axis: int = -1) -> Array:
    """Take along `axis` with an index array of the same number of dimensions."""
    return _take_along(x, indices, axis % anp.ndim(x))


@constant
def _argsort(x: Array, axis: int, descending: bool, stable: bool) -> Array:
    kind: Literal["stable"] | None = "stable" if stable else None
    if not descending:
        return np.argsort(x, axis, kind=kind)
    # Reversed twice, so that equal elements keep their order.
    order = np.flip(np.argsort(np.flip(x, axis), axis, kind=kind), axis)
    return np.shape(x)[axis] - 1 - order


def argsort(x: Array, /, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Indices that sort along `axis`."""
    return _argsort(x, axis, descending, stable)


def sort(x: Array, /, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Sort along `axis`; the derivative moves with the elements."""
    order = _argsort(x, axis, descending, stable)
    return take_along_axis(x, order, axis=axis)


def searchsorted(x1: Array, x2: Array, /, side: str = "left", sorter: Array = None) -> Array:
    """Indices at which `x2` would be inserted into the sorted `x1`."""
    return anp.searchsorted(x1, x2, side, sorter)
