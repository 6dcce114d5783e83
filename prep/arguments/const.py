"""The mark of an argument that is not differentiated."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Const(Generic[T]):
    """An argument that the function takes as it is, and that nothing is computed for.

    Arrays and floats in ``value`` (any tree of them) are run-time values: a prepared call may be
    given others of the same shape and dtype. It may also stand at a leaf of a tree,
    ``{"w": w, "n": Const(3)}``: the function sees the plain value, and the derivative has None
    there. Strings, integers, flags, None, functions and other
    objects are static: a preparation holds for those it was made with.

    Parameters
    ----------
    value : tree of arrays, numbers and other objects
        The argument.

    Examples
    --------
    >>> import numpy as np
    >>> from diffface import Const, gradient
    >>> x = np.array([1.0, 2.0])
    >>> gradient(lambda x, a: (a * x**2).sum(), x, Const(3.0), backend="autograd")
    array([ 6., 12.])
    """

    value: T


def plain(args: Iterable[object]) -> tuple[Any, ...]:
    """Arguments without their ``Const``: what the function itself takes."""
    return tuple(a.value if isinstance(a, Const) else a for a in args)
