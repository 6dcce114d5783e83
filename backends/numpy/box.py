"""Bounds within which a function may be evaluated."""

from typing import Any

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.numpy.options import Vector
from diffface.backends.numpy.steps import joined

# Lower and upper ones, of shape (N,) or (1,).
Bounds = tuple[Vector, Vector]


class Box:
    """Bounds at a point, for all coordinates together; shapes (N,).

    A coordinate that is outside already goes no further out.
    """

    __slots__ = ("ahead", "behind", "lower", "upper", "x")

    def __init__(self, bounds: Bounds, x: Arrays) -> None:
        if any(a.dtype.kind == "c" for a in x):
            raise InvalidArgumentError("`bounds` are for real arguments, got complex ones.")
        self.x = joined(x).astype(float)
        lower, upper = (b.array for b in bounds)
        for name, bound in (("lower", lower), ("upper", upper)):
            if bound.size not in (1, self.x.size):
                raise InvalidArgumentError(
                    f"`bounds` must be numbers, or have one for each of the {len(self.x)} "
                    f"coordinates of the active arguments; the {name} ones are {bound.size}."
                )
        self.lower = np.minimum(lower, self.x)
        self.upper = np.maximum(upper, self.x)
        self.behind = self.x - self.lower
        self.ahead = self.upper - self.x

    def rooms(self, v: Arrays) -> tuple[Array, Array]:
        """How far along ``v`` each coordinate may go, behind and ahead; inf where it stays."""
        moved = joined(v).astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            behind = np.where(moved > 0, self.behind, self.ahead) / np.abs(moved)
            ahead = np.where(moved > 0, self.ahead, self.behind) / np.abs(moved)
        behind[moved == 0] = ahead[moved == 0] = np.inf
        fixed = np.flatnonzero((behind == 0) & (ahead == 0))
        if len(fixed):
            self.refuse(int(fixed[0]))
        return behind, ahead

    def refuse(self, k: int) -> None:
        """Say that coordinate ``k`` cannot move."""
        raise InvalidArgumentError(
            f"Coordinate {k} is fixed by equal bounds at {self.lower[k]}, so that there is no "
            "derivative without leaving them; hold it constant with `Const`, or widen its bounds."
        )

    def clipped(self, point: Arrays) -> Arrays:
        """``point``, which rounding may have carried beyond a bound, within."""
        leaves, start = [], 0
        for a in point:
            at = slice(start, start + a.size)
            lower, upper = self.lower[at].reshape(a.shape), self.upper[at].reshape(a.shape)
            leaves.append(_within(a, lower, upper))
            start += a.size
        return tuple(leaves)


def box_of(bounds: Bounds | None, x: Arrays) -> Box | None:
    """The bounds at ``x``, if there are any."""
    return None if bounds is None else Box(bounds, x)


def reflected(bounds: Bounds, x: Arrays) -> Arrays:
    """``x``, mirrored at the bounds where it is beyond them."""
    lower, upper = (b.array for b in bounds)
    flat = joined(x).astype(float)
    flat = np.where(flat > upper, 2 * upper - flat, flat)
    flat = np.where(flat < lower, 2 * lower - flat, flat)
    flat = np.clip(flat, lower, upper)
    leaves, start = [], 0
    for a in x:
        leaves.append(flat[start : start + a.size].reshape(a.shape).astype(a.dtype))
        start += a.size
    return tuple(leaves)


def _within(a: Array, lower: Any, upper: Any) -> Array:
    # In the dtype of a, towards the inside: a bound need not be one of its numbers.
    low, high = lower.astype(a.dtype), upper.astype(a.dtype)
    low = np.where(low < lower, np.nextafter(low, a.dtype.type(np.inf)), low)
    high = np.where(high > upper, np.nextafter(high, a.dtype.type(-np.inf)), high)
    return np.clip(a, low, high).astype(a.dtype, copy=False)
