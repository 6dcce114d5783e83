"""The derivative that an expert writes by hand: what it is of, and helpers for all libraries."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Example(NamedTuple):
    """A derivative to write by hand.

    Attributes
    ----------
    f : callable
        The user's function.
    args : tuple of array, number or tree
        Its arguments, of the framework's own arrays.
    active : tuple of int
        Which of them are differentiated.
    seed : tree of arrays or None
        Tangents (a tuple with one entry for each active argument) or cotangents (like ``y``).
    tall : bool
        Whether ``f`` returns more numbers than it is differentiated by.
    """

    f: Callable[..., Any]
    args: tuple[Any, ...]
    active: tuple[int, ...]
    seed: Any
    tall: bool

    @property
    def argnums(self) -> int | tuple[int, ...]:
        """What frameworks call ``argnums``: an int for one active argument."""
        return self.active[0] if len(self.active) == 1 else self.active

    @property
    def x(self) -> Any:
        """The active arguments, a tuple."""
        return tuple(self.args[i] for i in self.active)

    @property
    def single(self) -> bool:
        """Whether there is one active argument, and that an array."""
        return len(self.active) == 1 and hasattr(self.x[0], "shape")


# Makes, once, what is then called often: takes nothing, returns the derivative.
Make = Callable[[Example], Callable[[], Any]]
# By operator.
ByHand = Mapping[str, Make]


def put(args: tuple[Any, ...], where: tuple[int, ...], values: Any) -> list[Any]:
    """``args`` with ``values`` in the places ``where``."""
    changed = list(args)
    for i, value in zip(where, values, strict=True):
        changed[i] = value
    return changed


def of_active(example: Example) -> Callable[..., Any]:
    """``f`` of its active arguments alone."""
    if len(example.args) == len(example.active):
        return example.f
    return lambda *x: example.f(*put(example.args, example.active, x))
