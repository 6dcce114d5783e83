"""The two-dimensional Brusselator: a reaction-diffusion right-hand side with a sparse Jacobian."""

from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.benchmark.problems.problem import Array, Problem, Size
from diffface.prep.arguments.const import Const


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


def _make_args(size: Size, seed: int) -> tuple[Any, ...]:
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
    make_args=_make_args,
    sizes=((4,), (8,), (32,), (100,)),
    dimensions="n grid points a side",
    operator="jacobian",
    source=(
        "Hairer and Wanner, Solving Ordinary Differential Equations II (1996), chapter IV.10; "
        "constants of the SciML tutorial (MIT); own code."
    ),
)
