"""Finite-difference stencils: where to evaluate, and with which weights."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from diffface.backends.compiled import Array


@dataclass(frozen=True)
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

    @cached_property
    def outside(self) -> tuple[tuple[float, float], ...]:
        """Pairs of offset and weight, without that of ``x`` itself."""
        return tuple((o, w) for o, w in zip(self.offsets, self.weights, strict=True) if o)

    @cached_property
    def outside_weights(self) -> tuple[float, ...]:
        """The weights of ``outside``."""
        return tuple(w for _, w in self.outside)

    @cached_property
    def outside_offsets(self) -> Array:
        """The offsets of ``outside`` as a column, shape (m, 1)."""
        return np.array([[o] for o, _ in self.outside])

    @cached_property
    def center(self) -> float:
        """The weight of ``x`` itself; 0 where it is not evaluated."""
        return sum(w for o, w in zip(self.offsets, self.weights, strict=True) if not o)

    def within(self, behind: float, ahead: float, length: float) -> tuple["Stencil", float]:
        """The stencil and the length of step, of the same order, that stay within the room.

        Parameters
        ----------
        behind, ahead : float
            How far ``f`` may be evaluated on either side, in the unit of ``length``.
        length : float
            The step that is wanted; less where there is no room for it.
        """
        if -min(self.offsets) * length <= behind and max(self.offsets) * length <= ahead:
            return self, length
        one_sided = ONE_SIDED[self.order]
        fitting = min(length, power_below(max(ahead, behind) / max(one_sided.offsets)))
        return one_sided if ahead >= behind else one_sided.mirrored(), fitting

    def mirrored(self) -> "Stencil":
        """The same derivative from points on the other side."""
        offsets, weights = (tuple(-a for a in part) for part in (self.offsets, self.weights))
        return Stencil(offsets, weights, self.order)


# B. Fornberg, Generation of finite difference formulas on arbitrarily spaced grids,
# Math. Comp. 51 (1988), 699-706, tables 1 and 3.
STENCILS = {
    "forward": Stencil((0.0, 1.0), (-1.0, 1.0), 1),
    "central": Stencil((-1.0, 1.0), (-1 / 2, 1 / 2), 2),
    "central4": Stencil((-2.0, -1.0, 1.0, 2.0), (1 / 12, -2 / 3, 2 / 3, -1 / 12), 4),
}
ONE_SIDED = {
    1: STENCILS["forward"],
    2: Stencil((0.0, 1.0, 2.0), (-3 / 2, 2.0, -1 / 2), 2),
    4: Stencil((0.0, 1.0, 2.0, 3.0, 4.0), (-25 / 12, 4.0, -3.0, 4 / 3, -1 / 4), 4),
}


@lru_cache(maxsize=16)
def epsilon(dtype: np.dtype[Any]) -> float:
    """The distance from 1 to the next number of ``dtype``."""
    return float(np.finfo(dtype).eps)


def power_near(length: float) -> float:
    """The power of two nearest to ``length``; 1 where that is no positive finite number."""
    return 2.0 ** round(math.log2(length)) if 0 < length < math.inf else 1.0


def power_below(length: float) -> float:
    """The largest power of two that is no larger than ``length``; 0 where there is none."""
    return 2.0 ** math.floor(math.log2(length)) if 0 < length < math.inf else max(0.0, length)
