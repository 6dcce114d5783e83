"""Complex step differentiation of NumPy functions."""

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, final

import numpy as np

from diffface.backends.adapter import Adapter, Function
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import NotDifferentiableError, UnsupportedOperatorError
from diffface.backends.generic import slices, split, stack
from diffface.backends.numpy.adapter import NumPyAdapter
from diffface.backends.numpy.complex_step_stencil import (
    imaginary_step,
    unit_steps,
    unit_steps_directly,
)
from diffface.backends.numpy.primitive import step_by_rule
from diffface.backends.numpy.richardson import extrapolate
from diffface.backends.numpy.stencil import STENCILS, differences, epsilon
from diffface.backends.owner import evaluating
from diffface.backends.recording.perturb import perturb
from diffface.backends.registry import resolve
from diffface.backends.rule import Rule

_Pushed = tuple[Arrays, Arrays, Arrays]

# Set while a prepared program runs: it was checked when it was prepared.
_checked: ContextVar[bool] = ContextVar("checked", default=False)


def _seeing_rules(method: Callable[..., _Pushed]) -> Callable[..., _Pushed]:
    """Let functions with rules ask the backend for their values at complex points."""

    @wraps(method)
    def call(self: Adapter, *args: Any, **options: Any) -> _Pushed:
        token = evaluating.set(self)
        try:
            return method(self, *args, **options)
        finally:
            evaluating.reset(token)

    return call


@final
@dataclass(frozen=True)
class ComplexStep(NumPyAdapter):
    """NumPy functions that accept complex input: ``f'(x) v = Im f(x + i h v) / h``.

    No difference is taken, so nothing cancels and ``h`` can be tiny: the result is as accurate as
    ``f`` itself [1]_. It is right only for functions that are analytic: ``abs``, ``conj``, ``norm``
    and casts to float give wrong numbers. Every differentiation therefore checks itself once, by a
    central difference along one direction (two more evaluations of ``f``), and refuses where the
    two disagree.

    Second derivatives are finite differences of complex-step derivatives.

    References
    ----------
    .. [1] W. Squire and G. Trapp, Using complex variables to estimate derivatives of real
       functions, SIAM Review 40 (1998), 110-112.
    """

    @_seeing_rules
    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        y, aux = self._value(f, x, value)
        dy = imaginary_step(f, x, dx)
        _check(f, x, dx, dy)
        return y, dy, aux

    @_seeing_rules
    def pushforwards(
        self, f: Function, x: Arrays, seeds: Arrays, *, chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        y, aux = self._value(f, x, value)
        singles = slices(seeds, np)
        dy = stack([imaginary_step(f, x, v) for v in singles], seeds, np)
        if not _checked.get():
            # One direction checks them all: it moves along every seed, each by as much as the
            # coordinates in it allow.
            mix = _mix([_size(x, v) for v in singles[: len(seeds[0])]])
            _check(f, x, _mixed(mix, seeds), _mixed(mix, dy))
        return y, dy, aux

    @_seeing_rules
    def columns(
        self, f: Function, x: Arrays, *, chunk_size: int | None = None, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        if not any(a.size for a in x):
            return Adapter.columns(self, f, x, chunk_size=chunk_size, value=value)
        y, aux = self._value(f, x, value)
        column = unit_steps_directly(f, x[0]) if len(x) == 1 else None
        if column is None:
            dy = tuple(np.stack(column) for column in zip(*unit_steps(f, x), strict=True))
        else:
            dy = (column,)
        if not _checked.get():
            mix = _mix([abs(t) for leaf in x for t in leaf.reshape(-1).tolist()])
            _check(f, x, split(self, [mix], x), _mixed(mix, dy))
        return y, dy, aux

    def build(self, program: Program, examples: Arrays) -> Compiled:
        # This checks itself, and elsewhere, since among zeros and ones much is right by chance.
        try:
            with np.errstate(all="ignore"):
                program(*map(perturb, examples))
        except NotDifferentiableError:
            raise
        except Exception:  # noqa: BLE001 - out of the function's domain
            program(*examples)
        whole = super().build(program, examples).run

        def run(*inputs: Array) -> Arrays:
            token = _checked.set(True)
            try:
                return whole(*inputs)
            finally:
                _checked.reset(token)

        return Compiled(run, "stencil", program)

    def second_order(self) -> tuple[Adapter, Adapter]:
        return resolve("numpy").first_order(), self

    def primitive(self, rule: Rule, x: Arrays) -> Arrays:
        return step_by_rule(rule, x)

    def explain(self, error: Exception) -> str | None:
        text = str(error)
        if isinstance(error, TypeError) and ("complex" in text or "not supported for the" in text):
            return "a function that does not take complex numbers was called"
        return None

    def _value(self, f: Function, x: Arrays, asked: bool) -> tuple[Arrays, Arrays]:
        """``f(x)``, where it is asked for."""
        if any(a.dtype.kind == "c" for a in x):
            raise UnsupportedOperatorError(
                "The complex-step backend cannot differentiate with respect to complex arguments, "
                "since it uses the imaginary part itself; "
                'use "jax", "torch", "autograd" or "numpy".'
            )
        # A copy, since a function that writes to its argument would move the other points.
        return f(tuple(map(np.array, x))) if asked else ((), ())


def _mix(sizes: list[float]) -> Array:
    """Coefficients of one direction among several; 1 takes the place of a size of zero."""
    return np.cos(np.arange(len(sizes))) * [size or 1.0 for size in sizes]


def _mixed(mix: Array, batch: Arrays) -> Arrays:
    """The sum of a batch with these coefficients."""
    return tuple([np.tensordot(mix, a, 1).astype(a.dtype) for a in batch])


def _size(x: Arrays, v: Arrays) -> float:
    """Size of the coordinates that ``v`` moves, relative to ``v``."""
    return max(
        (float(np.max(np.abs(a) * (d != 0))) for a, d in zip(x, v, strict=True) if d.size),
        default=0.0,
    )


def _check(f: Function, x: Arrays, v: Arrays, dy: Arrays) -> None:
    """Refuse ``f`` if ``dy`` is not its derivative along ``v``."""
    if _checked.get() or not any(d.size for d in v):
        return
    central = STENCILS["central"]
    coarsest = max(epsilon(a.dtype) for a in x)
    step = central.relative_step(coarsest, 1)
    # What central differences can tell, see Stencil.relative_step, and no less than 1e-3.
    tolerance = max(1e-3, 10 * coarsest ** (2 / 3))

    def evaluate(points: Iterable[Arrays]) -> Iterator[Arrays]:
        return (f(point)[0] for point in points)

    (reference,) = differences(central, evaluate, x, [v], step, ())
    if all(_agree(a, b, 0.0, tolerance) for a, b in zip(dy, reference, strict=True)):
        return
    # Differences may be the ones that are wrong: ask the scheme that knows its own error.
    reference, errors = extrapolate(evaluate, x, v, None)
    if not all(_agree(*each, tolerance) for each in zip(dy, reference, errors, strict=True)):
        raise NotDifferentiableError(
            "`f` is not analytic, so the complex step would give a wrong derivative (found by "
            "comparing with central differences). Look for abs, conj, norm, real, a cast to float "
            'or a comparison; or use another backend, such as "numpy".'
        )


def _agree(a: Array, b: Array, error: Array | float, tolerance: float) -> bool:
    size = max(np.max(np.abs(a), initial=0.0), np.max(np.abs(b), initial=0.0))
    close = np.abs(a - b) <= 10 * error + tolerance * size
    # Where differences tell nothing, the function is hardly defined.
    return bool(np.all(close | ~np.isfinite(b)))
