"""A differential equation on flat arrays: its right-hand side, derivatives, and SciPy's solver."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any, NoReturn

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import CannotRecord, InvalidArgumentError, SolverError
from diffface.backends.rule import among
from diffface.rules.bridge import Flat, Inner, pulled


class Program:
    """A function of NumPy arrays, built when it is first called.

    By the backend itself: a prepared callable would take the solver's evaluations for a part of
    what is differentiated outside.
    """

    def __init__(self, inner: Inner) -> None:
        self._adapter = inner.adapter
        self._f = inner.value
        self._run: Callable[..., Arrays] | None = None
        # Arrays that came last, and what they were made: parameters stay the same.
        self._last: tuple[Arrays, Arrays] = (), ()

    def __call__(self, arrays: Arrays) -> Arrays:
        library = self._adapter.arrays
        with self._adapter.scope([a.dtype for a in arrays]):
            x = tuple(
                known if a is before else library.from_numpy(a, None)
                for a, before, known in zip_longest(arrays, *self._last)
            )
            self._last = arrays, x
            if self._run is None:
                self._run = self._built(x)
            return tuple(map(library.to_numpy, self._run(*x)))

    def _built(self, x: Arrays) -> Callable[..., Arrays]:
        def f(*x: Array) -> Arrays:
            return self._f(x)

        try:
            return self._adapter.build(self._adapter.awaited(f), x).run
        except CannotRecord:
            return f


class Field:
    """``dy/dt`` as a function of ``(*y, t, *p)``, for a state of ``states`` arrays.

    The linear equations for derivatives of ``y`` are fields as well, so that there are derivatives
    of any order.
    """

    def __init__(self, inner: Inner, states: int) -> None:
        self.inner = inner
        self.states = states

    def sizes(self, x: Arrays) -> list[float]:
        """How large each array of the state is, in units in which tolerances hold."""
        return [1.0] * self.states

    def split(self, x: Sequence[Any]) -> tuple[Arrays, Any, Arrays]:
        """``y``, ``t`` and ``p`` of ``x = (*y, t, *p)``."""
        return tuple(x[: self.states]), x[self.states], tuple(x[self.states + 1 :])

    def slope(self, y: Arrays, t: float, p: Arrays) -> Arrays:
        """``dy/dt``, of NumPy arrays."""
        return self._program((*y, np.asarray(t), *p))

    @cached_property
    def _program(self) -> Program:
        return Program(self.inner)

    def transposed(self, places: Sequence[int], count: int) -> Callable[[Arrays], Arrays]:
        """``(*y, t, *p, *a) -> (df/dx)^H a`` for the arrays of ``x = (*y, t, *p)`` at ``places``.

        ``count`` is how many there are of x.
        """
        derivative = self.inner.derivative(lambda a, f: pulled(a, f, list(places), count))
        return Program(derivative)


class TangentField(Field):
    """The state ``(*y, *s)`` with ``ds/dt = df/dy s + df/dp dp``, and parameters ``(*p, *dp)``.

    Parameters
    ----------
    field : Field
        The equation for ``y``.
    places : sequence of int
        Which arrays of ``(*y, t, *p)`` after the state have tangents.
    """

    def __init__(self, field: Field, places: Sequence[int]) -> None:
        self._field = field
        self._places = list(places)
        states = field.states

        def with_tangents(adapter: Adapter, f: Flat) -> Flat:
            def g(arrays: Arrays) -> Arrays:
                x, s, dp = self.unpacked(arrays)
                moving = [*range(states), *self._places]
                of_moving = lambda values: (f(among(values, moving, x)), ())
                at = tuple(x[i] for i in moving)
                y, dy, _ = adapter.pushforward(of_moving, at, (*s, *dp))
                return *y, *dy

            return g

        super().__init__(field.inner.derivative(with_tangents), 2 * states)

    def unpacked(self, arrays: Sequence[Any]) -> tuple[Arrays, Arrays, Arrays]:
        """``(*y, t, *p)``, ``s`` and ``dp``."""
        n, end = self._field.states, len(arrays) - len(self._places)
        return (*arrays[:n], *arrays[2 * n : end]), tuple(arrays[n : 2 * n]), tuple(arrays[end:])

    def sizes(self, x: Arrays) -> list[float]:
        original, s, dp = self.unpacked(x)
        relative = [
            _largest(d) / size_of(original[i]) for i, d in zip(self._places, dp, strict=True)
        ]
        sizes = self._field.sizes(original)
        size = max([*relative, *(_largest(d) / n for d, n in zip(s, sizes, strict=True))]) or 1.0
        return [*sizes, *(size * n for n in sizes)]


def _largest(a: Any) -> float:
    return float(np.max(np.abs(a), initial=0.0))


def size_of(a: Any) -> float:
    """The largest element of ``a``, or 1 where all are zero."""
    return _largest(a) or 1.0


class Packing:
    """Arrays as one vector, of doubles or of complex doubles."""

    def __init__(self, arrays: Arrays) -> None:
        self._shapes = [np.shape(a) for a in arrays]
        self._complex = [np.iscomplexobj(a) for a in arrays]
        self._stops = np.cumsum([0, *(int(np.prod(shape)) for shape in self._shapes)])
        self.dtype = np.complex128 if any(self._complex) else np.float64

    @cached_property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self._stops[-1])

    def pack(self, arrays: Arrays) -> Any:
        """``arrays`` one after the other."""
        if self.dtype is np.float64 and any(map(np.iscomplexobj, arrays)):
            raise InvalidArgumentError(
                "`rhs` must return real numbers for a real `y0`, got complex ones; make `y0` "
                "complex. Values that are differentiated outside of `rhs` must be its parameters."
            )
        return np.concatenate([np.ravel(np.asarray(a, self.dtype)) for a in arrays])

    def unpack(self, vector: Any) -> Arrays:
        """The arrays in ``vector``, the last axis of which is that of a vector."""
        lead, stops = vector.shape[:-1], self._stops
        parts = [
            vector[..., i:j].reshape((*lead, *shape))
            for i, j, shape in zip(stops[:-1], stops[1:], self._shapes, strict=True)
        ]
        return tuple(a if c else a.real for a, c in zip(parts, self._complex, strict=True))

    def spread(self, numbers: Sequence[float]) -> Any:
        """A vector with one of ``numbers`` in the place of each array."""
        return np.repeat(np.asarray(numbers, np.float64), np.diff(self._stops))


@dataclass(frozen=True)
class Solver:
    """How `scipy.integrate.solve_ivp` solves.

    Attributes
    ----------
    rtol, atol : float
        Its tolerances.
    method : str
        Its method.
    """

    rtol: float
    atol: float
    method: str

    def run(
        self, f: Callable[[float, Any], Any], start: float, stop: float, y: Any, sizes: Any,
        **options: Any,
    ) -> Any:  # fmt: skip
        """What `solve_ivp` returns for ``dy/dt = f(t, y)``, with an ``atol`` in units of sizes."""
        from scipy.integrate import solve_ivp

        reached = start

        def noted(at: float, y: Any) -> Any:
            nonlocal reached
            reached = at
            return f(at, y)

        try:
            found = solve_ivp(
                noted, (start, stop), y, self.method,
                rtol=self.rtol, atol=self.atol * sizes, **options,
            )  # fmt: skip
        except ValueError as error:
            if "infs or NaNs" not in str(error):
                raise
            _give_up(start, stop, reached, "a slope is not finite")
        if not found.success:
            _give_up(start, stop, reached, found.message)
        if not np.all(np.isfinite(found.y)):
            _give_up(start, stop, reached, "the solution is not finite")
        return found


def _give_up(start: float, stop: float, reached: float, why: str) -> NoReturn:
    raise SolverError(
        f"The differential equation could not be solved from t = {start:g} to t = {stop:g}; the "
        f"solver gave up near t = {reached:g}: {why.rstrip('.')}."
    )


def check_times(t: Any) -> None:
    """Refuse times that are not in order."""
    steps = np.diff(t)
    if not np.all(np.isfinite(t)) or not (np.all(steps > 0) or np.all(steps < 0)):
        raise InvalidArgumentError(
            f"The times `t` must be finite and strictly increasing or decreasing, got {t}."
        )
