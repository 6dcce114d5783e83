"""The Rosenbrock function."""

import numpy as np

from diffface.backends.namespace import namespace
from diffface.benchmark.problems.problem import Array, Problem, Size


def rosenbrock(x: Array) -> Array:
    """``sum(100 (x[i+1] - x[i]**2)**2 + (1 - x[i])**2)``.

    Parameters
    ----------
    x : array, shape (n,)

    Returns
    -------
    array, shape ()
    """
    xp = namespace(x)
    head = x[:-1]
    return xp.sum(100.0 * (x[1:] - head**2) ** 2 + (1.0 - head) ** 2)


def _make_args(size: Size, seed: int) -> tuple[Array]:
    (n,) = size
    return (np.random.default_rng(seed).uniform(-2.0, 2.0, n),)


ROSENBROCK = Problem(
    name="rosenbrock",
    f=rosenbrock,
    make_args=_make_args,
    sizes=((10,), (100,), (1_000,), (10_000,)),
    dimensions="n",
    operator="gradient",
    source="H. H. Rosenbrock, The Computer Journal 3 (1960), 175-184; chained form.",
)
