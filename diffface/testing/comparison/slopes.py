"""Limits of difference quotients of a function of one number, each with an estimated error.

All of them are Richardson extrapolations of central differences. The others become central ones by
a change of variable: where ``q(t)`` is a quotient with errors in powers of ``t``, the odd function
``p(u) = u q(u**2)`` has the central difference ``p(u) / u = q(u**2)``, with errors in powers of
``u**2``; where they are in powers of ``t**2`` already, ``p(u) = u q(abs(u))`` does.
"""

from typing import NamedTuple

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


class Limit(NamedTuple):
    """The limit of a quotient, and an estimate of its absolute error: one array per leaf."""

    value: Arrays
    error: Arrays


def slope(f: Line, noise: float) -> Limit:
    """``f'(0)``, for a function with rounding errors of size ``noise``."""
    return _best(f, noise, 1)


def one_sided(f: Line, noise: float, side: int) -> Limit:
    """``lim (f(t) - f(0)) / t`` as ``t`` goes to 0 from the right (side 1) or the left (-1)."""
    start = f(0.0)

    def odd(u: float) -> Arrays:
        t = side * u * u
        return tuple((a - b) * (u / t) for a, b in zip(f(t), start, strict=True))

    return _best(odd, noise, 1, roots=True)


def curvature(f: Line, noise: float) -> Limit:
    """``f''(0)``."""
    start = f(0.0)

    def odd(u: float) -> Arrays:
        ahead, behind = f(u), f(-u)
        return tuple((a - c - (c - b)) / u for a, b, c in zip(ahead, behind, start, strict=True))

    return _best(odd, noise, 2)


def one_sided_curvature(f: Line, noise: float, side: int) -> Limit:
    """The limit of ``(f(2t) - 2 f(t) + f(0)) / t**2`` from one side."""
    start = f(0.0)

    def odd(u: float) -> Arrays:
        t = side * u * u
        near, far = f(t), f(2 * t)
        return tuple(
            u * (a - b - (b - c)) / (t * t) for a, b, c in zip(far, near, start, strict=True)
        )

    return _best(odd, noise, 2, roots=True)


def _best(odd: Line, noise: float, order: int, roots: bool = False) -> Limit:
    """The limit from the first step whose estimated error is least, for each component."""
    best: Limit | None = None
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


def _better(a: Limit, b: Limit) -> Limit:
    chosen = [e < d for d, e in zip(a.error, b.error, strict=True)]
    return Limit(
        tuple(np.where(c, y, x) for c, x, y in zip(chosen, a.value, b.value, strict=True)),
        tuple(np.where(c, e, d) for c, d, e in zip(chosen, a.error, b.error, strict=True)),
    )


def _twice(odd: Line, step: float, floor: float) -> Limit:
    def closer(s: float) -> Arrays:
        return tuple(a / RATIO for a in odd(RATIO * s))

    one, two = _extrapolated(odd, step), _extrapolated(closer, step)
    errors = [
        np.maximum(np.minimum(d, e), np.abs(a - b)) + floor
        for a, d, b, e in zip(*one, *two, strict=True)
    ]
    value = _better(one, two).value
    finite = [np.isfinite(e) for e in errors]
    return Limit(value, tuple(np.where(c, e, np.inf) for c, e in zip(finite, errors, strict=True)))


def _extrapolated(odd: Line, step: float) -> Limit:
    differences = FiniteDifferences(scheme="richardson", step=step)
    origin, unit = np.array(0.0), np.array(1.0)
    return Limit(*differences.estimate(lambda x: (odd(float(x[0])), ()), (origin,), (unit,)))
