"""What keeps a function of one number from having a slope: rounding errors, jumps, steep places."""

from typing import Any

import numpy as np

from diffface.testing.comparison.subject import Arrays, Line

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
