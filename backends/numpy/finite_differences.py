"""Finite differences of NumPy functions."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, final

import numpy as np

from diffface.backends.adapter import Adapter, Function
from diffface.backends.compiled import Arrays
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.generic import slices, stack
from diffface.backends.numpy.adapter import NumPyAdapter
from diffface.backends.numpy.richardson import FIRST_STEP, extrapolate
from diffface.backends.numpy.stencil import (
    STENCILS,
    Evaluate,
    Stencil,
    differences,
    distances,
    epsilon,
    unit_differences,
    unit_differences_directly,
)

_SCHEMES = (*STENCILS, "richardson")


@final
@dataclass(frozen=True)
class FiniteDifferences(NumPyAdapter):
    """Plain NumPy functions as black boxes, differentiated by stencils.

    Parameters
    ----------
    scheme : {"central", "forward", "central4", "richardson"}
        Differences whose truncation error has order 2, 1 or 4 in the step; or central differences
        extrapolated until their estimated error stops falling (see :meth:`estimate`).
    step : float, optional
        Relative step, positive and finite: a coordinate ``x_k`` moves by about
        ``step * max(1, abs(x_k))``. By default the power of the dtype's epsilon that balances
        truncation and rounding.
    vectorized : bool
        ``f`` takes a batch: every active array with one leading axis more, and so its result.
        All points of a stencil are then evaluated in one call.

    Notes
    -----
    Second derivatives are differences of differences with the ``central4`` scheme: their
    truncation error has order 4, and the default step is ``epsilon ** (1/6)``.

    The scale ``max(1, abs(x_k))`` is SciPy's. It is too large for coordinates far below 1 that
    matter, such as rates of 1e-7: scale them, or pass a ``step`` to suit.
    """

    scheme: Literal["central", "forward", "central4", "richardson"] = "central"
    step: float | None = None
    vectorized: bool = False
    # How many differences are stacked: rounding errors grow with each, and so must the step.
    stacked: int = field(default=1, repr=False)

    black_box = True

    def __post_init__(self) -> None:
        if self.scheme not in _SCHEMES:
            names = ", ".join(map(repr, _SCHEMES))
            raise InvalidArgumentError(f"`scheme` must be one of {names}, got {self.scheme!r}.")
        number = isinstance(self.step, int | float) and not isinstance(self.step, bool)
        if self.step is not None and not (number and 0 < self.step < math.inf):
            raise InvalidArgumentError(
                f"`step` must be a positive finite number, got {self.step!r}; "
                "leave it out to have it chosen from the dtype."
            )

    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        y, (dy,), aux = self._along(f, x, [dx], None, value)
        return y, dy, aux

    def pushforwards(
        self, f: Function, x: Arrays, seeds: Arrays, *, chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        y, derivatives, aux = self._along(f, x, slices(seeds, np), chunk_size, value)
        return y, stack(derivatives, seeds, np), aux

    def columns(
        self, f: Function, x: Arrays, *, chunk_size: int | None = None, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        stencil = STENCILS.get(self.scheme)
        if stencil is None or self.vectorized:
            return Adapter.columns(self, f, x, chunk_size=chunk_size, value=value)
        y, aux = self._value(f, x, value)
        step = self._step(x, stencil)
        column = unit_differences_directly(stencil, f, x[0], step, y) if len(x) == 1 else None
        if column is not None:
            return y, (column,), aux
        derivatives = unit_differences(stencil, f, x, step, y)
        return y, tuple(np.stack(column) for column in zip(*derivatives, strict=True)), aux

    def compressed(
        self, f: Function, x: Arrays, seeds: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays | None, Arrays]:
        stencil = STENCILS.get(self.scheme)
        y, aux = self._value(f, x, value)
        step = (self.step or FIRST_STEP) if stencil is None else self._step(x, stencil)
        # Each as far as in `columns`: one distance for all would drown the small ones.
        moves = tuple(distances(a.reshape(-1), step).reshape(a.shape) for a in x)
        directions = [tuple(map(np.multiply, seed, moves)) for seed in slices(seeds, np)]
        evaluate = self._evaluator(f, None)
        if stencil is None:
            dy = [extrapolate(evaluate, x, v, None, 1.0)[0] for v in directions]
        else:
            dy = differences(stencil, evaluate, x, directions, step, y, 1.0)
        return y, stack(dy, seeds, np), moves, aux

    def estimate(self, f: Function, x: Arrays, dx: Arrays) -> tuple[Arrays, Arrays]:
        """Pushforward of ``f`` at ``x`` along ``dx`` by Richardson, and its absolute error."""
        return extrapolate(self._evaluator(f, None), x, dx, self.step)

    def outside(self) -> Adapter:
        # Batches are for the user's function; the derivative of it takes one point.
        return replace(self, vectorized=False) if self.vectorized else self

    def second_order(self) -> tuple[Adapter, Adapter]:
        fine = replace(self, scheme="central4", stacked=2)
        return fine.outside(), fine

    def _step(self, x: Arrays, stencil: Stencil) -> float:
        if self.step:
            return self.step
        return stencil.relative_step(max([epsilon(a.dtype) for a in x]), self.stacked)

    def _along(
        self, f: Function, x: Arrays, seeds: list[Arrays], chunk_size: int | None, value: bool
    ) -> tuple[Arrays, list[Arrays], Arrays]:
        """``y``, the derivatives along each of ``seeds``, and aux."""
        stencil = STENCILS.get(self.scheme)
        y, aux = self._value(f, x, value)
        evaluate = self._evaluator(f, chunk_size)
        if stencil is None:
            return y, [extrapolate(evaluate, x, v, self.step)[0] for v in seeds], aux
        return y, differences(stencil, evaluate, x, seeds, self._step(x, stencil), y), aux

    def _value(self, f: Function, x: Arrays, asked: bool) -> tuple[Arrays, Arrays]:
        """``f(x)``, where it is asked for or belongs to the stencil."""
        stencil = STENCILS.get(self.scheme)
        if not asked and (stencil is None or 0.0 not in stencil.offsets):
            return (), ()
        if not self.vectorized:
            # A copy, since a function that writes to its argument would move the other points.
            return f(tuple(map(np.array, x)))
        y, aux = f(tuple(a[None] for a in x))
        return tuple(a[0] for a in y), tuple(a[0] for a in aux)

    def _evaluator(self, f: Function, chunk_size: int | None) -> Evaluate:
        def one_by_one(points: Iterable[Arrays]) -> Iterator[Arrays]:
            return (f(point)[0] for point in points)

        def at_once(points: Iterable[Arrays]) -> Iterator[Arrays]:
            rest = list(points)
            size = chunk_size or len(rest)
            for start in range(0, len(rest), size):
                chunk = rest[start : start + size]
                yield from zip(*f(tuple(map(np.stack, zip(*chunk, strict=True))))[0], strict=True)

        return at_once if self.vectorized else one_by_one
