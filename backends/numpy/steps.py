"""How far differences move: in units of each variable's own size."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.numpy.stencil import power_near

# A variable smaller than this may be a small number or nearly zero: see `differences.derivatives`.
SMALL = 1 / 16

_HALF_ROOT = math.sqrt(0.5)

# Steps are nearly powers of two, so that ``x + step`` is exact, but not quite: values of float64
# functions, linear ones of small integers, too, then have more digits than float32 holds.
ODD = 1 + 2.0**-25


class Steps(NamedTuple):
    """Relative steps, and what they are relative to.

    Attributes
    ----------
    relative : float
        Each coordinate moves by about so much of its size; the least one, of several.
    given : float, array of shape (N,) or None
        The user's steps, relative to ``max(1, abs(x_k))``, for all coordinates together.
    limit : float
        How far, relative to its size, a coordinate may move along with larger ones.
    level : float
        The relative rounding error of values.
    """

    relative: float
    given: float | Array | None = None
    limit: float = 0.0
    level: float = 0.0

    def lengths(self, flat: Array, start: int) -> tuple[Array, Array | None]:
        """How far to move each coordinate of a leaf, of which ``start`` come before.

        Steps that are not given are in units of ``abs(x_k)``, and of 1 where that is 0. Then there
        are also those in units of 1, for `SMALL` coordinates; 0 for others, None for none.
        """
        if self.given is not None:
            given = self.given
            part = given if isinstance(given, float) else given[start : start + len(flat)]
            return distances(flat, part), None
        sizes, smallest = own_sizes(flat)
        lengths = _powers(sizes, self.relative, ODD)
        if smallest >= SMALL:
            return lengths, None
        small = (np.abs(flat) < SMALL) & (sizes != 1.0)
        if not small.any():
            return lengths, None
        return lengths, np.where(small, power_near(self.relative) * ODD, 0.0)

    def reaches(self, x: Arrays, v: Arrays) -> Array:
        """How far along ``v`` each coordinate would move, over the relative step."""
        sizes = []
        start = 0
        for a in x:
            flat = a.reshape(-1)
            if self.given is None:
                sizes.append(own_sizes(flat)[0].astype(float))
            else:
                size = np.maximum(1.0, np.abs(flat)).astype(float)
                if not isinstance(self.given, float):
                    size *= self.given[start : start + len(flat)] / self.relative
                sizes.append(size)
            start += len(flat)
        moved = np.concatenate([np.abs(d.reshape(-1)).astype(float) for d in v])
        with np.errstate(divide="ignore", over="ignore"):
            return np.concatenate(sizes) / moved


def own_sizes(flat: Array) -> tuple[Array, float]:
    """``abs(x_k)``, and 1 where that is zero, or so small that it has no step; with the least."""
    sizes = np.abs(flat)
    least = _least(sizes.dtype)
    smallest = sizes[sizes.argmin()] if sizes.size else math.inf
    if smallest > least:
        return sizes, smallest
    return np.where(sizes > least, sizes, sizes.dtype.type(1.0)), smallest


@cache
def _least(dtype: np.dtype[Any]) -> Any:
    """The size from which on a number has a step."""
    limits = np.finfo(dtype)
    return limits.tiny / limits.eps


def distances(flat: Array, step: Any) -> Array:
    """``distance`` along each of the unit vectors; 1 where a coordinate is not finite."""
    return _powers(np.maximum(1.0, np.abs(flat)), step)


def distance(x: Arrays, v: Arrays, step: float) -> float:
    """How far to go along ``v``: about ``step`` relative to the coordinates that move.

    ``max(1, abs(x_k))`` is SciPy's scale for a coordinate. The result is a power of two, so that
    ``distance * v`` is exact and ``x + distance * v`` nearly always.
    """
    largest = max((float(np.max(np.abs(d))) for d in v if d.size), default=0.0)
    if not 0 < largest < math.inf:
        return 1.0
    moving = (
        float(np.max(np.abs(a) * (np.abs(d) / largest)))
        for a, d in zip(x, v, strict=True)
        if d.size
    )
    return power_near(step * max(1.0, *moving) / largest)


def groups(reaches: Array, factor: float) -> list[Array]:
    """The indices of finite ``reaches``, in groups that are within a factor of each other."""
    order = np.argsort(reaches, kind="stable")
    order = order[np.isfinite(reaches[order])]
    found: list[Array] = []
    while len(order):
        near = int(np.searchsorted(reaches[order], factor * reaches[order[0]], side="right"))
        found.append(order[:near])
        order = order[near:]
    return found


def shifted(x: Arrays, v: Arrays, distance: complex) -> Arrays:
    """``x + distance v``, in the dtype of ``x`` (Python numbers do not promote)."""
    return tuple(a + distance * d for a, d in zip(x, v, strict=True))


def chosen(v: Arrays, which: Array) -> Arrays:
    """``v`` with zeros at all flat indices but ``which``."""
    leaves, start = [], 0
    keep = np.zeros(sum(d.size for d in v), bool)
    keep[which] = True
    for d in v:
        mask = keep[start : start + d.size].reshape(d.shape)
        leaves.append(np.where(mask, d, d.dtype.type(0)))
        start += d.size
    return tuple(leaves)


def joined(leaves: Sequence[Array]) -> Array:
    """All elements of several arrays as one vector."""
    return np.concatenate([np.reshape(a, -1) for a in leaves])


def _powers(sizes: Array, relative: Any, unit: float = 1.0) -> Array:
    # The nearest power of two, by the exponent of v / sqrt(2): 2^k for v in [2^k / sqrt(2), ...).
    return np.ldexp(sizes.dtype.type(unit), np.frexp(sizes * (relative * _HALF_ROOT))[1])
