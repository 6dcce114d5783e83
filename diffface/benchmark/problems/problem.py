"""What a test problem is: a portable function, and arguments of any size; and the simplest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from diffface.backends.namespace import namespace

Array: TypeAlias = Any
"""An array of NumPy, JAX or PyTorch, or an autograd box."""

Size: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """A function to differentiate, with everything needed to call it.

    Parameters
    ----------
    name : str
        Short name, as in the literature.
    f : callable
        The function, written once for all array libraries through ``namespace``.
    make_args : callable
        ``make_args(size, seed)`` returns the arguments of `f`: float64 NumPy arrays or trees of
        them, those that are not differentiated inside a ``Const``. Equal seeds, equal arguments.
    sizes : tuple of tuple of int
        Sizes at which the problem is usually posed, small to large.
    dimensions : str
        What the numbers of a size are.
    operator : str
        The derivative that is usually asked for: ``"gradient"``, ``"jacobian"`` or ``"hvp"``.
    source : str
        Where the formula is from, and the licence of that source.
    """

    name: str
    f: Callable[..., Any]
    make_args: Callable[[Size, int], tuple[Any, ...]]
    sizes: tuple[Size, ...]
    dimensions: str
    operator: str
    source: str


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
