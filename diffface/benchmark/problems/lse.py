"""Logarithm of a sum of exponentials."""

from types import ModuleType

import numpy as np

from diffface.backends.namespace import namespace
from diffface.benchmark.problems.problem import Array, Problem, Size


def logsumexp_along(xp: ModuleType, x: Array, axis: int) -> Array:
    """``log(sum(exp(x)))`` along `axis`, without overflow.

    Any shift near the maximum will do. A whole number has no derivative, so that none has to be
    taken of the maximum (where it would cancel), and no library-specific way to stop it is needed.
    """
    shift = xp.floor(xp.real(xp.max(x, axis=axis, keepdims=True)))
    return xp.log(xp.sum(xp.exp(x - shift), axis=axis)) + xp.squeeze(shift, axis=axis)


def logsumexp(x: Array) -> Array:
    """``log(sum(exp(x)))``.

    Parameters
    ----------
    x : array, shape (n,)

    Returns
    -------
    array, shape ()
    """
    return logsumexp_along(namespace(x), x, 0)


def _make_args(size: Size, seed: int) -> tuple[Array]:
    (n,) = size
    return (np.random.default_rng(seed).random(n),)


LSE = Problem(
    name="lse",
    f=logsumexp,
    make_args=_make_args,
    sizes=((10,), (2_500,), (10_000,), (160_000,)),
    dimensions="n",
    operator="gradient",
    source="GradBench `lse` (github.com/gradbench/gradbench, MIT); own code.",
)
