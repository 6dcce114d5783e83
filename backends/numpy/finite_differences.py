"""Finite differences of NumPy functions."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal, final

import numpy as np

from diffface.backends.adapter import Adapter, Function, Pull
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import InvalidArgumentError, UnsupportedOperatorError
from diffface.backends.generic import Part, slices, stack, typed
from diffface.backends.numpy import workers as _workers
from diffface.backends.numpy.adapter import NumPyAdapter
from diffface.backends.numpy.box import box_of, reflected
from diffface.backends.numpy.differences import derivatives
from diffface.backends.numpy.evaluator import (
    Evaluate,
    check_vectorized,
    compare,
    evaluator,
    in_step,
    of_one,
)
from diffface.backends.numpy.moves import Move, along, coordinates, nearby, together
from diffface.backends.numpy.one_vector import directly
from diffface.backends.numpy.options import Vector, bounds_of, check_scheme, step_of
from diffface.backends.numpy.precision import coarse
from diffface.backends.numpy.richardson import extrapolated
from diffface.backends.numpy.scheme import Scheme, scheme_of
from diffface.backends.numpy.stencil import STENCILS, epsilon
from diffface.backends.numpy.steps import Steps

# Groups of moves, whose derivatives are summed, given how far to move.
_Moves = Callable[[Steps], list[list[Move]]]


@final
@dataclass(frozen=True)
class FiniteDifferences(NumPyAdapter):
    """Plain NumPy functions as black boxes, differentiated by stencils.

    Parameters
    ----------
    scheme : {"central", "forward", "central4", "richardson"}
        Differences whose truncation error has order 2, 1 or 4 in the step; or central differences
        extrapolated until their estimated error stops falling (see :meth:`errors`).
    step : float or array, optional
        Relative step, positive and finite: a coordinate ``x_k`` moves by about
        ``step * max(1, abs(x_k))``. An array has one for each of the coordinates of all active
        arguments, one after the other in C order. By default see the notes.
    vectorized : bool
        ``f`` takes a batch: every active array with one leading axis more, and so its result.
        All points of a stencil are then evaluated in one call; with ``in_axes`` for active
        arguments alone, those of all stencils, if the scheme is not ``"richardson"``. A preparation
        compares ``f`` at two points with ``f`` at each of them.
    bounds : pair of float or array, or scipy.optimize.Bounds, optional
        ``(lower, upper)``: ``f`` is evaluated nowhere outside, but with differences to one side, of
        the same order. Numbers, or arrays with one for each coordinate; infinite where there is
        none. At a point that is outside itself, no coordinate goes further out.
    workers : int, map, executor or pool, optional
        Who evaluates ``f`` at the points of a stencil: that many processes (-1 for one on each
        processor), a function like ``map``, as in SciPy, or an object with a method ``map``, such
        as an executor of ``concurrent.futures``, ``client.get_executor()`` of dask, or
        ``ray.util.multiprocessing.Pool()``. ``f``, its arguments and its result are then pickled,
        by cloudpickle where it is installed. Second derivatives distribute the evaluations of one
        gradient at a time.

    Notes
    -----
    By default a coordinate moves by a fraction of its own size, ``abs(x_k)``, and by the same
    fraction of 1 where it is zero: the power of the precision's epsilon that balances truncation
    and rounding. Where ``f`` hardly changes on such a step and ``x_k`` is small, a step relative to
    1 is tried as well, and taken if both agree up to rounding. A direction that moves coordinates
    of very different sizes is taken apart. All that costs more evaluations only where it is needed.

    The precision is that of ``x``, or the lower one in which ``f`` computes: where all values are
    numbers of float32 (or float16), ``f`` is evaluated at one more point to make sure. Other noise,
    as of an iterative solver inside ``f``, cannot be seen: pass a ``step`` of about its cubic root.

    Second derivatives are differences of differences with the ``central4`` scheme: their
    truncation error has order 4, and the default step is ``epsilon ** (1/6)``.
    """

    scheme: Literal["central", "forward", "central4", "richardson"] = "central"
    step: float | Vector | None = None
    vectorized: bool = False
    bounds: Any = field(default=None, repr=False)
    workers: Any = field(default=None, repr=False)
    # How many differences are stacked: rounding errors grow with each, and so must the step.
    stacked: int = field(default=1, repr=False)
    # Whether it differentiates what a vectorized one computes.
    over_batches: bool = field(default=False, repr=False)
    # Whether the estimated errors are asked for in place of the derivatives.
    error: bool = field(default=False, repr=False)

    black_box = True

    def __post_init__(self) -> None:
        check_scheme(self.scheme, (*STENCILS, "richardson"))
        _workers.check(self.workers)
        object.__setattr__(self, "step", step_of(self.step))
        object.__setattr__(self, "bounds", bounds_of(self.bounds))

    def __repr__(self) -> str:
        rest = "".join(
            f", {name}={value!r}"
            for name, value in (("bounds", self.bounds), ("workers", self.workers))
            if value is not None
        )
        shown = f"scheme={self.scheme!r}, step={self.step!r}, vectorized={self.vectorized!r}"
        return f"FiniteDifferences({shown}{rest})" + (".errors()" if self.error else "")

    def build(self, program: Program, examples: Arrays) -> Compiled:
        if self.vectorized or self.over_batches:
            check_vectorized(program, examples)
        return super().build(program, examples)

    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        y, (dy,), aux = self._along(f, x, [dx], None, value)
        return y, dy, aux

    def pushforwards(
        self, f: Function, x: Arrays, seeds: Arrays, *, chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        y, found, aux = self._along(f, x, slices(seeds, np), chunk_size, value)
        return y, stack(found, seeds, np), aux

    def columns(
        self, f: Function, x: Arrays, *, chunk_size: int | None = None, value: bool = True,
        part: Part | None = None,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        if not any(a.size for a in x):
            return Adapter.columns(self, f, x, chunk_size=chunk_size, value=value)
        y, aux = self._value(f, x, value)
        if part is None and len(x) == 1 and self._in_one_loop:
            column = directly(f, x[0], y, self._scheme)
            if column is not None:
                return y, (column,), aux
        box, stencil = box_of(self.bounds, x), self._scheme.stencil

        def moves(steps: Steps) -> list[list[Move]]:
            units = coordinates(x, steps, stencil, box)
            if part is not None:
                units = islice(units, part[0], sum(part))
            return [[m] for m in units]

        found = self._derive(f, x, y, moves, chunk_size)
        return y, tuple(np.stack(column) for column in zip(*found, strict=True)), aux

    def at_points(self, call: Pull, points: Arrays, chunk_size: int | None = None) -> Arrays:
        results = in_step(call, points, chunk_size)
        return tuple(map(np.stack, zip(*results, strict=True)))

    @property
    def batching(self) -> str:
        # Extrapolations ask many times, and each time begins anew.
        plain = self.scheme != "richardson" and self.stacked == 1
        return "in step" if self.vectorized and plain else "loop"

    def compressed(
        self, f: Function, x: Arrays, seeds: Arrays, *, value: bool = True, derived: bool = False
    ) -> tuple[Arrays, Arrays, Arrays | None, Arrays]:
        y, aux = self._value(f, x, value)
        directions, box = slices(typed(seeds, x, self.xp), np), box_of(self.bounds, x)
        lengths: Arrays = ()

        def moves(steps: Steps) -> list[list[Move]]:
            # Each as far as in `columns`: one distance for all would drown the small ones.
            nonlocal lengths
            found, lengths = together(x, directions, steps, self._scheme.stencil, box)
            return found

        dy = self._derive(f, x, y, moves, None, by_leaf=False)
        return y, stack(dy, seeds, np), tuple(map(np.abs, lengths)) if self.error else lengths, aux

    def errors(self) -> "FiniteDifferences":
        """The backend whose derivatives are the absolute errors that Richardson estimates.

        With it, ``gradient``, ``derivative``, ``jacobian`` and ``pushforward`` give the error of
        each element of what they give with this one. A pullback would sum errors with the signs
        of its cotangents.

        Raises
        ------
        InvalidArgumentError
            If the scheme is not ``"richardson"``; the others do not know their errors.

        Examples
        --------
        >>> import diffface as dif
        >>> backend = dif.FiniteDifferences("richardson")
        >>> error = dif.derivative(lambda t: t**3, 2.0, backend=backend.errors())
        >>> abs(dif.derivative(lambda t: t**3, 2.0, backend=backend) - 12.0) <= error < 1e-10
        True
        """
        if self.scheme != "richardson":
            raise InvalidArgumentError(
                f"Errors are estimated by the scheme 'richardson', not by {self.scheme!r}."
            )
        return replace(self, error=True)

    def estimate(self, f: Function, x: Arrays, dx: Arrays) -> tuple[Arrays, Arrays]:
        """Pushforward of ``f`` at ``x`` along ``dx`` by Richardson, and its absolute error."""
        scheme = scheme_of("richardson", self.step, 1)
        moves = along(x, dx, scheme.steps(x, 0.0), scheme.stencil, box_of(self.bounds, x))
        y = f(x)[0] if any(m.takes_value for m in moves) else ()
        return extrapolated(evaluator(f, None, self.vectorized, self.workers), moves, y)

    def within(self, lower: Array, upper: Array) -> Adapter:
        return replace(self, bounds=(lower, upper))

    def inside(self, x: Arrays) -> Arrays:
        return x if self.bounds is None else reflected(self.bounds, x)

    def outside(self) -> Adapter:
        # Batches and workers are for the user's function; the derivative of it takes one point.
        plain = not self.vectorized and self.workers is None
        return self if plain else replace(self, vectorized=False, workers=None)

    def second_order(self) -> tuple[Adapter, Adapter]:
        if self.error:
            raise UnsupportedOperatorError("There is no estimate of errors of second derivatives.")
        fine = replace(self, scheme="central4", stacked=2)
        outer = replace(fine, vectorized=False, workers=None, over_batches=self.vectorized)
        return outer, fine

    @property
    def _in_one_loop(self) -> bool:
        """Whether the plain loop over the coordinates of one vector is right."""
        usual = not self.vectorized and self.bounds is None and self.workers is None
        return usual and self.scheme != "richardson"

    @property
    def _scheme(self) -> Scheme:
        return scheme_of(self.scheme, self.step, self.stacked)

    def _along(
        self, f: Function, x: Arrays, seeds: list[Arrays], chunk_size: int | None, value: bool
    ) -> tuple[Arrays, list[Arrays], Arrays]:
        """``y``, the derivatives along each of ``seeds``, and aux."""
        y, aux = self._value(f, x, value)
        box, stencil = box_of(self.bounds, x), self._scheme.stencil
        found = self._derive(
            f, x, y, lambda steps: [along(x, v, steps, stencil, box) for v in seeds], chunk_size
        )
        return y, found, aux

    def _derive(
        self, f: Function, x: Arrays, y: Arrays, moves: _Moves, chunk_size: int | None,
        by_leaf: bool = True,
    ) -> list[Arrays]:  # fmt: skip
        """The sums of the derivatives of each group of moves, in the precision of ``f``."""
        if self.vectorized:
            compare(f, x, nearby(x, box_of(self.bounds, x)))
        evaluate = evaluator(f, chunk_size, self.vectorized, self.workers)
        finest = max(epsilon(a.dtype) for a in x)
        fixed = self._scheme.fixed
        if not fixed and y:
            # The dtype may say it; elsewhere, digits do.
            finest = max(finest, min(epsilon(a.dtype) for a in y))
        found, sample = self._run(f, x, y, moves, evaluate, finest)
        worse = () if fixed else coarse(evaluate, x, sample, finest, box_of(self.bounds, x))
        if not any(worse):
            return found
        again, _ = self._run(f, x, y, moves, evaluate, max(worse))
        if not by_leaf:
            return again
        return [
            tuple(b if c else a for a, b, c in zip(*leaves, worse, strict=True))
            for leaves in zip(found, again, strict=True)
        ]

    def _run(
        self, f: Function, x: Arrays, y: Arrays, moves: _Moves, evaluate: Evaluate,
        precision: float,
    ) -> tuple[list[Arrays], Arrays]:  # fmt: skip
        """The derivatives, with steps for this precision, and one value of ``f``."""
        steps = self._scheme.steps(x, precision)
        grouped = moves(steps)
        if not y and any(m.takes_value for group in grouped for m in group):
            y, _ = self._value(f, x, True)
        if self._scheme.extrapolated:
            results = [extrapolated(evaluate, group, y) for group in grouped]
            return [errors if self.error else best for best, errors in results], y
        return derivatives(grouped, evaluate, y, steps)

    def _value(self, f: Function, x: Arrays, asked: bool) -> tuple[Arrays, Arrays]:
        """``f(x)``, where it is asked for or belongs to the stencil."""
        if not (asked or self._scheme.stencil.center):
            return (), ()
        if not self.vectorized:
            # A copy, since a function that writes to its argument would move the other points.
            return f(tuple(map(np.array, x)))
        return of_one(f, x)
