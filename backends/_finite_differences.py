"""Finite differences of NumPy functions."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import numpy as np

from diffface.backends._adapter import Adapter, Function, Pull
from diffface.backends._basis import pull_by_basis
from diffface.backends._batch import slices, stack
from diffface.backends._compiled import Array, Arrays, Compiled, Program
from diffface.backends._errors import InvalidArgumentError
from diffface.backends._kind import NUMPY
from diffface.backends._numpy_lift import lift
from diffface.backends._richardson import extrapolate
from diffface.backends._stencil import STENCILS, Evaluate, differences

_SCHEMES = (*STENCILS, "richardson")


@final
@dataclass(frozen=True)
class FiniteDifferences(Adapter):
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
    """

    scheme: Literal["central", "forward", "central4", "richardson"] = "central"
    step: float | None = None
    vectorized: bool = False
    # How many differences are stacked: rounding errors grow with each, and so must the step.
    stacked: int = field(default=1, repr=False)

    forward = True
    reverse = False
    black_box = True
    kind = NUMPY
    library = "numpy"

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

    @property
    def xp(self) -> Any:
        return np

    def pushforward(
        self,
        f: Function,
        x: Arrays,
        dx: Arrays,
        *,
        batched: bool = False,
        chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:
        stencil = STENCILS.get(self.scheme)
        y: Arrays = ()
        aux: Arrays = ()
        if value or (stencil and 0.0 in stencil.offsets):
            y, aux = self._value(f, x)
        seeds = slices(dx, np) if batched else [dx]
        evaluate = self._evaluator(f, chunk_size)
        if stencil is None:
            derivatives = [extrapolate(evaluate, x, v, self.step)[0] for v in seeds]
        else:
            epsilon = max(float(np.finfo(a.dtype).eps) for a in x)
            step = self.step or stencil.relative_step(epsilon, self.stacked)
            derivatives = differences(stencil, evaluate, x, seeds, step, y)
        if not batched:
            return y, derivatives[0], aux
        return y, stack(derivatives, dx, np), aux

    def estimate(self, f: Function, x: Arrays, dx: Arrays) -> tuple[Arrays, Arrays]:
        """Pushforward of ``f`` at ``x`` along ``dx`` by Richardson, and its absolute error."""
        return extrapolate(self._evaluator(f, None), x, dx, self.step)

    def pullback(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Pull, Arrays]:
        return pull_by_basis(self, f, x, value)

    def build(self, program: Program, examples: Arrays) -> Compiled:
        return Compiled(program, "stencil", program)

    def lift(self, value: object, like: Array) -> Array:
        return lift(value, like)

    def eye(self, rows: int, columns: int, offset: int, like: Array) -> Array:
        return np.eye(rows, columns, k=-offset, dtype=like.dtype)

    def scope(self, inputs: Arrays) -> AbstractContextManager[object]:
        return nullcontext()

    def second_order(self) -> tuple[Adapter, Adapter]:
        fine = replace(self, scheme="central4", stacked=2)
        return fine, fine

    def explain(self, error: Exception) -> str | None:
        return None

    def subtree(self, value: object) -> tuple[tuple[object, ...], Callable[[Any], object]] | None:
        return None

    def _value(self, f: Function, x: Arrays) -> tuple[Arrays, Arrays]:
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
