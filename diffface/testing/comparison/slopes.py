"""Differences of f along a line: their limit, and where f is not smooth."""

from typing import Any, NamedTuple

import numpy as np

from diffface.backends.numpy.finite_differences import FiniteDifferences
from diffface.testing.comparison.subject import Arrays, Line

# First steps, relative to the coordinate: that of smooth functions, and those of functions whose
# natural scale is far below 1.
STEPS = (2.0**-3, 2.0**-12, 2.0**-22)
# Each limit is taken twice, from first steps of this ratio: an estimated error can be small by
# chance, but not two results alike.
RATIO = 0.7
# A relative error that is good enough to stop looking for a better first step.
GOOD = 1e-9


class Extrapolated(NamedTuple):
    """The limit of a quotient, and an estimate of its absolute error: one array per leaf."""

    value: Arrays
    error: Arrays


def slope(f: Line, noise: float) -> Extrapolated:
    """``f'(0)``, for a function with rounding errors of size ``noise``."""
    return _best(f, noise, 1)


def one_sided(f: Line, noise: float, side: int) -> Extrapolated:
    """``lim (f(t) - f(0)) / t`` as ``t`` goes to 0 from the right (side 1) or the left (-1)."""
    start = f(0.0)

    def odd(u: float) -> Arrays:
        t = side * u * u
        return tuple((a - b) * (u / t) for a, b in zip(f(t), start, strict=True))

    return _best(odd, noise, 1, roots=True)


def curvature(f: Line, noise: float) -> Extrapolated:
    """``f''(0)``."""
    start = f(0.0)

    def odd(u: float) -> Arrays:
        ahead, behind = f(u), f(-u)
        return tuple((a - c - (c - b)) / u for a, b, c in zip(ahead, behind, start, strict=True))

    return _best(odd, noise, 2)


def one_sided_curvature(f: Line, noise: float, side: int) -> Extrapolated:
    """The limit of ``(f(2t) - 2 f(t) + f(0)) / t**2`` from one side."""
    start = f(0.0)

    def odd(u: float) -> Arrays:
        t = side * u * u
        near, far = f(t), f(2 * t)
        return tuple(
            u * (a - b - (b - c)) / (t * t) for a, b, c in zip(far, near, start, strict=True)
        )

    return _best(odd, noise, 2, roots=True)


def _best(odd: Line, noise: float, order: int, roots: bool = False) -> Extrapolated:
    """The limit from the first step whose estimated error is least, for each component."""
    best: Extrapolated | None = None
    for step in STEPS:
        found = _twice(odd, step**0.5 if roots else step, noise / step**order)
        best = found if best is None else _better(best, found)
        if all(
            np.all(e <= GOOD * np.max(np.abs(a), initial=0.0) + noise / STEPS[0] ** order)
            for a, e in zip(best.value, best.error, strict=True)
        ):
            break
    assert best is not None
    return best


def _better(a: Extrapolated, b: Extrapolated) -> Extrapolated:
    chosen = [e < d for d, e in zip(a.error, b.error, strict=True)]
    return Extrapolated(
        tuple(np.where(c, y, x) for c, x, y in zip(chosen, a.value, b.value, strict=True)),
        tuple(np.where(c, e, d) for c, d, e in zip(chosen, a.error, b.error, strict=True)),
    )


def _twice(odd: Line, step: float, floor: float) -> Extrapolated:
    def closer(s: float) -> Arrays:
        return tuple(a / RATIO for a in odd(RATIO * s))

    one, two = _extrapolated(odd, step), _extrapolated(closer, step)
    errors = [
        np.maximum(np.minimum(d, e), np.abs(a - b)) + floor
        for a, d, b, e in zip(*one, *two, strict=True)
    ]
    value = _better(one, two).value
    finite = [np.isfinite(e) for e in errors]
    return Extrapolated(
        value, tuple(np.where(c, e, np.inf) for c, e in zip(finite, errors, strict=True))
    )


def _extrapolated(odd: Line, step: float) -> Extrapolated:
    differences = FiniteDifferences(scheme="richardson", step=step)
    origin, unit = np.array(0.0), np.array(1.0)
    return Extrapolated(*differences.estimate(lambda x: (odd(float(x[0])), ()), (origin,), (unit,)))


# Exponents of distances that are looked at on the way to the limit.
EXPONENTS = (16, 26, 36)
# Distances between points whose differences show rounding errors.
SPACINGS = tuple(4.0**-k for k in range(11, 21))


def noise(f: Line) -> float:
    """Size of the rounding errors in ``f``, relative to ``f``.

    From fourth differences at steps so small that a smooth function has none: those of independent
    errors of size ``s`` have the mean square ``70 s**2`` [1]_. Where they fall with the step, they
    are the function's own, and the step is not small enough.

    References
    ----------
    .. [1] J. J. More and S. M. Wild, Estimating computational noise, SIAM Journal on Scientific
       Computing 33 (2011), 1292-1314, section 3.
    """
    sizes = [_fourth_differences(f, SPACINGS[0])]
    for spacing in SPACINGS[1:]:
        sizes.append(_fourth_differences(f, spacing))
        # Those of a smooth function fall by 256, those of rounding errors stay.
        if sizes[-1] > sizes[-2] / 50:
            break
    return sizes[-2]


def _fourth_differences(f: Line, spacing: float) -> float:
    sizes = [0.0]
    # A little away from 0, where there may be a kink.
    for leaf in zip(*(f(2.0**-10 + (k + 0.25) * spacing) for k in range(17)), strict=True):
        values = np.stack(leaf)
        fourth = np.mean(np.abs(np.diff(values, 4, axis=0)) ** 2, axis=0) / 70
        relative = np.sqrt(fourth) / np.max(np.abs(values), initial=0.0)
        sizes.append(float(np.max(relative[np.isfinite(relative)], initial=0.0)))
    return max(sizes)


def jump(f: Line) -> tuple[Arrays, Arrays] | None:
    """Values on the left and on the right, if they stay apart however close they are taken."""
    apart = []
    for exponent in EXPONENTS:
        left, right = f(-(2.0**-exponent)), f(2.0**-exponent)
        apart.append(max(map(_distance, left, right), default=0.0))
    size = max((float(np.max(np.abs(a), initial=0.0)) for a in (*left, *right)), default=0.0)
    # A continuous function would lose a factor of 2**10 at each step (a root of it, 2**5).
    stays = apart[2] > 0.5 * apart[0] and apart[2] > 1e-6 * size
    return (left, right) if stays and np.isfinite(apart[0]) else None


def is_steep(f: Line, side: int) -> bool:
    """Whether ``(f(t) - f(0)) / t`` grows without end as ``t`` goes to 0 from one side."""
    start = f(0.0)
    slopes = [
        max(_distance(a, b) * 2.0**k for a, b in zip(f(side * 2.0**-k), start, strict=True))
        for k in EXPONENTS
    ]
    # A slope that is infinite at the limit grows by 2**(10 (1 - p)) each time, for t**p.
    return bool(0 < 4 * slopes[0] < slopes[1] and 4 * slopes[1] < slopes[2] < np.inf)


def is_outside(f: Line, side: int) -> bool:
    """Whether ``f`` is not finite on one side, however close."""
    return any(not np.all(np.isfinite(a)) for a in f(side * 2.0 ** -EXPONENTS[-1]))


def _distance(a: Any, b: Any) -> float:
    return float(np.max(np.abs(a - b), initial=0.0))
