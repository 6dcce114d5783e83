"""Finite-difference stencils: where to evaluate, with which weights, and how far away."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from diffface.backends.adapter import Function
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError

# Evaluates f at many points, in order.
Evaluate = Callable[[Iterable[Arrays]], Iterator[Arrays]]


@dataclass(frozen=True, slots=True)
class Stencil:
    """``f'(x) v = sum_k weights[k] f(x + offsets[k] t v) / t + O(t**order)``.

    Attributes
    ----------
    offsets : tuple of float
        Multiples of the step; 0 stands for ``x`` itself.
    weights : tuple of float
        One weight per offset.
    order : int
        Order of the truncation error in the step.
    """

    offsets: tuple[float, ...]
    weights: tuple[float, ...]
    order: int

    def relative_step(self, epsilon: float, derivatives: int) -> float:
        """Relative step that balances truncation against rounding.

        Truncation grows as ``t**order``, rounding as ``epsilon / t**derivatives``; their sum is
        least near ``epsilon ** (1 / (order + derivatives))``, see W. H. Press et al., Numerical
        Recipes, 3rd ed., section 5.7.
        """
        return float(epsilon ** (1 / (self.order + derivatives)))


# B. Fornberg, Generation of finite difference formulas on arbitrarily spaced grids,
# Math. Comp. 51 (1988), 699-706, tables 1 and 3.
STENCILS = {
    "forward": Stencil((0.0, 1.0), (-1.0, 1.0), 1),
    "central": Stencil((-1.0, 1.0), (-1 / 2, 1 / 2), 2),
    "central4": Stencil((-2.0, -1.0, 1.0, 2.0), (1 / 12, -2 / 3, 2 / 3, -1 / 12), 4),
}


@lru_cache(maxsize=16)
def epsilon(dtype: np.dtype[Any]) -> float:
    """The distance from 1 to the next number of ``dtype``."""
    return float(np.finfo(dtype).eps)


def differences(
    stencil: Stencil, evaluate: Evaluate, x: Arrays, seeds: Sequence[Arrays], step: float,
    y: Arrays, length: float | None = None,
) -> list[Arrays]:  # fmt: skip
    """Directional derivatives of ``f`` at ``x`` along every one of ``seeds``.

    Parameters
    ----------
    stencil : Stencil
        Which differences.
    evaluate : callable
        Evaluates ``f`` at an iterable of points, exactly once each.
    x : tuple of arrays
        The primal.
    seeds : sequence of tuples of arrays
        Tangents, each like ``x``.
    step : float
        Relative step.
    y : tuple of arrays
        ``f(x)``; used only by stencils that have 0 among their offsets.
    length : float, optional
        How far to go along each of the seeds; by default it follows from the relative step.
    """
    lengths = [length or distance(x, v, step) for v in seeds]
    outside = [(o, w) for o, w in zip(stencil.offsets, stencil.weights, strict=True) if o]
    center = sum(w for o, w in zip(stencil.offsets, stencil.weights, strict=True) if not o)
    values = evaluate(
        shifted(x, v, o * t) for v, t in zip(seeds, lengths, strict=True) for o, _ in outside
    )
    derivatives = []
    for t in lengths:
        total = [center * a for a in y] if center else None
        for _, w in outside:
            terms = [w * a for a in next(values)]
            total = terms if total is None else list(map(np.add, total, terms))
        derivatives.append(tuple(a / t for a in total or ()))
    return derivatives


def unit_differences(
    stencil: Stencil, f: Function, x: Arrays, step: float, y: Arrays
) -> list[Arrays]:
    """Like ``differences`` along all unit vectors; each point moves one coordinate only."""
    terms = [(o, w) for o, w in zip(stencil.offsets, stencil.weights, strict=True) if o]
    center = sum(w for o, w in zip(stencil.offsets, stencil.weights, strict=True) if not o)
    derivatives: list[Arrays] = []
    for j, leaf in enumerate(x):
        flat = leaf.reshape(-1)
        lengths = distances(flat, step)
        moves = [(w, (flat + o * lengths).tolist()) for o, w in terms]
        for k, t in enumerate(lengths.tolist()):
            total = [center * a for a in y] if center else None
            for w, coordinates in moves:
                # Every point is new to f, which may keep or overwrite what it is given.
                moved = flat.copy()
                moved[k] = coordinates[k]
                point = [moved.reshape(leaf.shape) if i == j else a.copy() for i, a in enumerate(x)]
                values = [w * a for a in f(tuple(point))[0]]
                total = values if total is None else list(map(operator.add, total, values))
            derivatives.append(tuple([a / t for a in total or ()]))
    return derivatives


def unit_differences_directly(
    stencil: Stencil, f: Function, vector: Array, step: float, y: Arrays
) -> Array | None:
    """``unit_differences`` of a function of one vector that returns a float: a plain loop.

    Returns None, having evaluated nothing, where ``f`` is no such function.
    """
    direct = getattr(f, "direct", None)
    if direct is None or vector.ndim != 1 or vector.dtype != np.float64 or not vector.size:
        return None
    lengths = distances(vector, step)
    center = 0.0
    moves = []
    for offset, weight in zip(stencil.offsets, stencil.weights, strict=True):
        if offset:
            moves.append((weight, (vector + offset * lengths).tolist()))
        else:
            center = weight * y[0]
    derivatives = []
    # The first evaluation goes the checked way.
    evaluate: Any = lambda array: f((array,))[0][0]
    for k in range(len(vector)):
        total = center
        for weight, coordinates in moves:
            moved = vector.copy()
            moved[k] = coordinates[k]
            total += weight * evaluate(moved)
            evaluate = direct
        derivatives.append(total)
    return numbers(derivatives) / lengths


def numbers(values: list[Any], kinds: str = "f") -> Array:
    """What a function of one real result returned in turn, unchecked, as one array."""
    try:
        column = np.array(values)
    except ValueError:  # of several shapes
        column = np.empty((0, 0))
    if column.dtype.kind not in kinds or column.ndim != 1:
        raise NotDifferentiableError(
            "`f` must return one real number (shape ()) at every evaluation, got something else "
            "at a later one."
        )
    return column


def distances(flat: Array, step: float) -> Array:
    """``distance`` along each of the unit vectors; 1 where a coordinate is not finite."""
    # The nearest power of two, by the exponent of v / sqrt(2): 2^k for v in [2^k / sqrt(2), ...).
    scale = step * math.sqrt(0.5) * np.maximum(1.0, np.abs(flat))
    return np.ldexp(scale.dtype.type(1.0), np.frexp(scale)[1])


def shifted(x: Arrays, v: Arrays, distance: complex) -> Arrays:
    """``x + distance v``, in the dtype of ``x`` (Python numbers do not promote)."""
    return tuple(a + distance * d for a, d in zip(x, v, strict=True))


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
    scale = step * max(1.0, *moving) / largest
    return 2.0 ** round(math.log2(scale)) if 0 < scale < math.inf else 1.0
