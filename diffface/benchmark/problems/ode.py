"""Ordinary differential equations: a stiff system and the Brusselator."""

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


def _make_ode(size: Size, seed: int) -> tuple[Any, ...]:
    n, steps = size
    return np.random.default_rng(seed).random(n), Const(steps)


ODE = Problem(
    name="ode",
    f=ode_last,
    make_args=_make_ode,
    sizes=((4, 5), (32, 10), (1_000, 10), (10_000, 10)),
    dimensions="n components, steps",
    operator="gradient",
    source="GradBench `ode` (MIT), after `an_ode` of B. M. Bell's cmpad; own code.",
)


def brusselator(state: Array, forcing: Array, diffusion: float) -> Array:
    """Time derivative of both concentrations on a periodic grid.

    ``u' = 1 + u**2 v - 4.4 u + alpha lap(u) + forcing`` and
    ``v' = 3.4 u - u**2 v + alpha lap(v)``, with the five-point Laplacian: a row of the Jacobian
    has six nonzero entries.

    Parameters
    ----------
    state : array, shape (2 n**2,)
        `u`, then `v`, each row by row.
    forcing : array, shape (n, n)
    diffusion : float
        ``alpha / spacing**2``.

    Returns
    -------
    array, shape (2 n**2,)
    """
    xp = namespace(state)
    fields = xp.reshape(state, (2, *forcing.shape))
    neighbours = (
        xp.roll(fields, 1, axis=1)
        + xp.roll(fields, -1, axis=1)
        + xp.roll(fields, 1, axis=2)
        + xp.roll(fields, -1, axis=2)
    )
    u, v = fields[0], fields[1]
    reaction = u * u * v
    rates = xp.stack([1.0 + reaction - 4.4 * u + forcing, 3.4 * u - reaction])
    return xp.reshape(rates + diffusion * (neighbours - 4.0 * fields), (-1,))


def _make_brusselator(size: Size, seed: int) -> tuple[Any, ...]:
    (n,) = size
    x, y = np.meshgrid(np.linspace(0.0, 1.0, n), np.linspace(0.0, 1.0, n), indexing="ij")
    smooth = np.stack([22.0 * (y * (1.0 - y)) ** 1.5, 27.0 * (x * (1.0 - x)) ** 1.5])
    state = smooth + 0.1 * np.random.default_rng(seed).random((2, n, n))
    # The forcing of the source after t = 1.1.
    forcing = np.where((x - 0.3) ** 2 + (y - 0.6) ** 2 <= 0.1**2, 5.0, 0.0)
    spacing = 1.0 / max(n - 1, 1)
    return state.reshape(-1), Const(forcing), Const(10.0 / spacing**2)


BRUSSELATOR = Problem(
    name="brusselator",
    f=brusselator,
    make_args=_make_brusselator,
    sizes=((4,), (8,), (32,), (100,)),
    dimensions="n grid points a side",
    operator="jacobian",
    source=(
        "Hairer and Wanner, Solving Ordinary Differential Equations II (1996), chapter IV.10; "
        "constants of the SciML tutorial (MIT); own code."
    ),
)
