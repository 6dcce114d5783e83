"""Joining, moving, selecting and sorting in the autograd namespace.

Joins have one forward rule for all of their arguments together: autograd's own joins zeros once
per argument. Selections are primitives of our own, because autograd's indexing hides the indices
inside a tuple, where a recorder does not see them.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Literal

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defjvp_argnums, defvjp, defvjp_argnums

from diffface.backends.autograd.namespace.rules import (
    Array,
    Axis,
    along,
    axes_of,
    axis_of,
    broadcast_to,
    constant,
    match_real,
    numpy_primitive,
    primitive,
)

__all__ = [
    "argsort", "broadcast_arrays", "broadcast_to", "concat", "concatenate", "expand_dims", "flip",
    "matrix_transpose", "meshgrid", "permute_dims", "repeat", "reshape", "roll", "searchsorted",
    "sort", "stack", "take", "take_along_axis", "tile", "unstack",
]  # fmt: skip


# Joining


def _join_jvp(join: Callable[..., Array]) -> Callable[..., Array]:
    def jvp(
        argnums: Sequence[int], gs: Sequence[Array], ans: Array, args: Sequence[Array], _: object
    ) -> Array:
        tangents = dict(zip(argnums, gs, strict=True))
        zeros = (np.zeros(anp.shape(a), anp.result_type(a)) for a in args[1:])
        return join(args[0], *(tangents.get(i, z) for i, z in enumerate(zeros, start=1)))

    return jvp


@primitive
def concat_along(axis: int, *arrays: Array) -> Array:
    return np.concatenate(arrays, axis)


def _concat_vjp(
    argnums: Sequence[int], ans: Array, args: Sequence[Array], _: object
) -> Callable[[Array], tuple[Array, ...]]:
    axis, ndim = args[0], anp.ndim(ans)
    ends = [0, *accumulate(anp.shape(a)[axis] for a in args[1:])]
    cuts = [along(axis, ndim, slice(ends[i - 1], ends[i])) for i in argnums]
    return lambda g: tuple(
        match_real(g[cut], args[i]) for i, cut in zip(argnums, cuts, strict=True)
    )


@primitive
def stack_along(axis: int, *arrays: Array) -> Array:
    return np.stack(arrays, axis)


def _stack_vjp(
    argnums: Sequence[int], ans: Array, args: Sequence[Array], _: object
) -> Callable[[Array], tuple[Array, ...]]:
    axis, ndim = args[0], anp.ndim(ans)
    return lambda g: tuple(match_real(g[along(axis, ndim, i - 1)], args[i]) for i in argnums)


defvjp_argnums(concat_along, _concat_vjp)
defjvp_argnums(concat_along, _join_jvp(concat_along))
defvjp_argnums(stack_along, _stack_vjp)
defjvp_argnums(stack_along, _join_jvp(stack_along))


def concat(arrays: Sequence[Array], /, axis: int | None = 0) -> Array:
    """Join along an existing axis; ``axis=None`` flattens first."""
    if axis is None:
        return concat_along(0, *(anp.reshape(a, (-1,)) for a in arrays))
    return concat_along(axis, *arrays)


def concatenate(arrays: Sequence[Array], axis: int | None = 0) -> Array:
    """Join along an existing axis, under NumPy's name."""
    return concat(arrays, axis=axis)


def stack(arrays: Sequence[Array], /, axis: int = 0) -> Array:
    """Join along a new axis."""
    return stack_along(axis, *arrays)


def unstack(x: Array, /, axis: int = 0) -> tuple[Array, ...]:
    """Split into the slices along `axis`."""
    ndim = anp.ndim(x)
    return tuple(x[along(axis, ndim, i)] for i in range(anp.shape(x)[axis]))


# Moving


_flip = numpy_primitive(np.flip)
_roll = numpy_primitive(np.roll)
defvjp(_flip, lambda _ans, x, axis: lambda g: _flip(g, axis))
defjvp(_flip, "same")
defvjp(_roll, lambda _ans, x, shift, axis: lambda g: _roll(g, tuple(-s for s in shift), axis))
defjvp(_roll, "same")


def flip(x: Array, /, axis: Axis = None) -> Array:
    """Reverse the order along `axis`, by default along all."""
    return _flip(x, axes_of(axis, anp.ndim(x)))


def roll(x: Array, /, shift: int | Sequence[int], *, axis: Axis = None) -> Array:
    """Shift cyclically along `axis`; ``axis=None`` rolls the flattened array."""
    shifts = tuple(shift) if isinstance(shift, Sequence) else (int(shift),)
    if axis is None:
        return anp.reshape(_roll(anp.reshape(x, (-1,)), shifts, (0,)), anp.shape(x))
    axes = axes_of(axis, anp.ndim(x))
    return _roll(x, shifts * len(axes) if len(shifts) == 1 else shifts, axes)


def permute_dims(x: Array, /, axes: Sequence[int]) -> Array:
    """Permute the axes."""
    # Normalised, because autograd inverts the permutation with a bare argsort.
    return anp.transpose(x, axes_of(axes, anp.ndim(x)))


def matrix_transpose(x: Array, /) -> Array:
    """Exchange the last two axes."""
    return anp.swapaxes(x, -1, -2)


def expand_dims(x: Array, /, axis: int = 0) -> Array:
    """Insert an axis of length one."""
    return anp.expand_dims(x, axis)


def reshape(x: Array, /, shape: int | Sequence[int], *, copy: bool | None = None) -> Array:
    """Give `x` another shape; `copy` is accepted and ignored."""
    return anp.reshape(x, shape)


def broadcast_arrays(*arrays: Array) -> tuple[Array, ...]:
    """Broadcast all to their common shape."""
    shape = np.broadcast_shapes(*(anp.shape(a) for a in arrays))
    return tuple(broadcast_to(a, shape) for a in arrays)


def meshgrid(*arrays: Array, indexing: str = "xy") -> tuple[Array, ...]:
    """Coordinate arrays of shape ``(n0, n1, ...)``, the first two exchanged for ``"xy"``."""
    n = len(arrays)
    columns = (anp.reshape(a, (-1, *(1,) * (n - 1 - i))) for i, a in enumerate(arrays))
    grids = broadcast_arrays(*columns)
    exchange = indexing == "xy" and n > 1
    return tuple(anp.swapaxes(g, 0, 1) for g in grids) if exchange else grids


def tile(x: Array, repetitions: int | Sequence[int], /) -> Array:
    """Repeat the whole of `x` along each axis."""
    reps = tuple(repetitions) if isinstance(repetitions, Sequence) else (int(repetitions),)
    shape = anp.shape(x)
    ndim = max(len(shape), len(reps))
    shape, reps = (1,) * (ndim - len(shape)) + shape, (1,) * (ndim - len(reps)) + reps
    split = [n for s in shape for n in (1, s)]
    full = [n for r, s in zip(reps, shape, strict=True) for n in (r, s)]
    product = tuple(r * s for r, s in zip(reps, shape, strict=True))
    return anp.reshape(broadcast_to(anp.reshape(x, split), full), product)


# Selecting and sorting


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
    return _take(x, indices, axis_of(axis, anp.ndim(x)))


def repeat(x: Array, repeats: int | Array, /, axis: int | None = None) -> Array:
    """Repeat each element along `axis`."""
    n = anp.shape(x)[axis] if axis is not None else anp.size(x)
    return take(x, np.repeat(np.arange(n), repeats), axis=axis)


def take_along_axis(x: Array, indices: Array, /, axis: int = -1) -> Array:
    """Take along `axis` with an index array of the same number of dimensions."""
    return _take_along(x, indices, axis_of(axis, anp.ndim(x)))


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
