"""An operation with derivatives of its own, as the ``primitive`` of an adapter takes it."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from diffface.backends.compiled import Array, Arrays

# Places of the arrays whose derivative is wanted.
Active = frozenset[int]
# ``(saved, dy) -> J^H dy``: one entry per array of x, None where it is not active.
Puller = Callable[[Any, Arrays], tuple[Array | None, ...]]
# ``(y, x, dx) -> J dx``; dx is None where an array is not active.
Pusher = Callable[[Arrays, Arrays, tuple[Array | None, ...]], Arrays]


@dataclass(frozen=True, slots=True)
class Output:
    """What one result of a call of the host looks like."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Rule(ABC):
    """One operation on flat tuples of arrays of one library, and its derivatives.

    Laws
    ----
    * A method is told which arrays are active, and computes nothing for the others.
    * Where `puller` is None, `pusher` can be transposed, and the other way round; where both are,
      the derivative is that of `evaluate`. Where it cannot be had, they raise
      ``NotDifferentiableError``.
    * What they return is in the library of the arrays, and may be differentiated again.
    * Derivatives have the shape and dtype of what they are derivatives of.

    Attributes
    ----------
    name : str
        What messages call it.
    host : bool
        Whether it runs on NumPy arrays, unknown to the library.
    elementwise : bool
        Whether it treats all elements alike and broadcasts, so that it takes batches at once.
    fresh : bool
        Whether `evaluate`, on the host, returns memory that nobody else has, each result its own.
    """

    name: str
    host: bool
    elementwise: bool = False
    fresh: bool = False

    @abstractmethod
    def evaluate(self, x: Arrays) -> Arrays:
        """``f(x)``; on NumPy arrays, which are not written to, if it runs on the host."""

    @abstractmethod
    def outputs(self, x: Arrays) -> Sequence[Output]:
        """What ``f(x)`` looks like, if it runs on the host.

        Only shapes and dtypes of ``x``, arrays of any library, are looked at.
        """

    @abstractmethod
    def save(self, active: Active, y: Arrays, x: Arrays) -> Any:
        """What `puller` will need: any tree of arrays and other objects."""

    @abstractmethod
    def puller(self, active: Active) -> Puller | None:
        """How cotangents are pulled back, if that is known for these arrays."""

    @abstractmethod
    def pusher(self, active: Active) -> Pusher | None:
        """How tangents are pushed forward, if that is known for these arrays."""


def among(values: Sequence[Any], places: Sequence[int], others: Sequence[Any]) -> tuple[Any, ...]:
    """``others`` with ``values`` at ``places``."""
    found = list(others)
    for i, value in zip(places, values, strict=True):
        found[i] = value
    return tuple(found)


F = TypeVar("F", bound=Callable[..., Any])


# `torch.compile` meets functions with rules before any backend does. It is not imported for them,
# which would take seconds.


def called_while_tracing(method: F) -> F:
    """``method``, which compilers call when they come to it, instead of tracing what it does."""
    method._dynamo_marked_constant = True  # type: ignore[attr-defined]  # read by torch
    return method


def leave_whole(f: Callable[..., Any]) -> None:
    """Have compilers take this very object for one operation, which torch itself looks through.

    That is known to a compiler that comes to ``f`` after this call.
    """
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None:
        dynamo.allow_in_graph(f)
