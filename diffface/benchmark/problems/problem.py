"""What a test problem is: a portable function, and arguments of any size from a seed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

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
