"""A linear-in-the-state ODE solved by Runge-Kutta steps."""

from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.benchmark.problems.problem import Array, Problem, Size
from diffface.prep.arguments.const import Const

_END = 2.0


def ode_last(x: Array, steps: int) -> Array:
    """Last component of ``y(2)``, where ``y0' = x0``, ``yi' = xi y[i-1]`` and ``y(0) = 0``.

    Solved by `steps` classical Runge-Kutta steps of fourth order. Exact solution:
    ``yi(t) = x0 x1 ... xi t**(i+1) / (i+1)!``, met by four or fewer components up to rounding.
    A step carries the first component four further, so that all from ``4 * steps`` on, and their
    derivatives, stay zero: at the published sizes only time is worth comparing.

    Parameters
    ----------
    x : array, shape (n,)
    steps : int

    Returns
    -------
    array, shape ()
    """
    xp = namespace(x)
    h = _END / steps
    one = xp.ones_like(x[:1])

    def slope(y: Array) -> Array:
        return x * xp.concat([one, y[:-1]])

    y = xp.zeros_like(x)
    for _ in range(steps):
        k1 = slope(y)
        k2 = slope(y + (h / 2) * k1)
        k3 = slope(y + (h / 2) * k2)
        k4 = slope(y + h * k3)
        y = y + (h / 6) * (k1 + 2.0 * (k2 + k3) + k4)
    return y[-1]


def _make_args(size: Size, seed: int) -> tuple[Any, ...]:
    n, steps = size
    return np.random.default_rng(seed).random(n), Const(steps)


ODE = Problem(
    name="ode",
    f=ode_last,
    make_args=_make_args,
    sizes=((4, 5), (32, 10), (1_000, 10), (10_000, 10)),
    dimensions="n components, steps",
    operator="gradient",
    source="GradBench `ode` (MIT), after `an_ode` of B. M. Bell's cmpad; own code.",
)
