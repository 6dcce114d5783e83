"""Complex step differentiation of NumPy functions."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, final

import numpy as np

from diffface.backends.adapter import Adapter, Function
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import NotDifferentiableError, UnsupportedOperatorError
from diffface.backends.generic import Part, slices, stack
from diffface.backends.numpy.adapter import NumPyAdapter
from diffface.backends.numpy.analytic import check, directions, mixed, refuse_complex
from diffface.backends.numpy.complex_step_stencil import (
    imaginary_step,
    unit_steps,
    unit_steps_directly,
)
from diffface.backends.recording.agreement import perturb
from diffface.backends.registry import evaluating, resolve
from diffface.backends.rule import Active, Rule

_Pushed = tuple[Arrays, Arrays, Arrays]

# Set while a prepared program runs: it was checked along more directions when it was prepared.
_prepared: ContextVar[bool] = ContextVar("prepared", default=False)


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
    and casts to float give wrong numbers. Every differentiation therefore checks itself along one
    direction by one more evaluation of ``f``, or along two where it is not prepared, and refuses
    where steps and differences disagree.

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
        here, dy = imaginary_step(f, x, dx)
        check(f, x, here, dx, dy, tuple(map(np.abs, dy)))
        return y, dy, aux

    @_seeing_rules
    def pushforwards(
        self, f: Function, x: Arrays, seeds: Arrays, *, chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        y, aux = self._value(f, x, value)
        singles = slices(seeds, np)
        here, slopes = _first_and_all(imaginary_step(f, x, v) for v in singles)
        dy = stack(slopes, seeds, np)
        _check(f, x, here, seeds, dy, np.array([_size(x, v) for v in singles[: len(seeds[0])]]))
        return y, dy, aux

    @_seeing_rules
    def columns(
        self, f: Function, x: Arrays, *, chunk_size: int | None = None, value: bool = True,
        part: Part | None = None,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        if part is not None:
            return Adapter.columns(self, f, x, chunk_size=chunk_size, value=value, part=part)
        if not any(a.size for a in x):
            return Adapter.columns(self, f, x, chunk_size=chunk_size, value=value)
        y, aux = self._value(f, x, value)
        direct = unit_steps_directly(f, x[0]) if len(x) == 1 else None
        if direct is None:
            here, slopes = _first_and_all(unit_steps(f, x))
            dy = tuple(np.stack(column) for column in zip(*slopes, strict=True))
        else:
            here, dy = (direct[0],), (direct[1],)
        _check(f, x, here, None, dy, np.concatenate([np.abs(a.reshape(-1)) for a in x]))
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
            token = _prepared.set(True)
            try:
                return whole(*inputs)
            finally:
                _prepared.reset(token)

        return Compiled(run, "stencil", program)

    def second_order(self) -> tuple[Adapter, Adapter]:
        return resolve("numpy").first_order(), self

    def primitive(self, rule: Rule, x: Arrays) -> Arrays:
        return _step_by_rule(rule, x)

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
        y, aux = f(tuple(map(np.array, x))) if asked else ((), ())
        refuse_complex(y)
        return y, aux


def _first_and_all(steps: Iterable[tuple[Arrays, Arrays]]) -> tuple[Arrays, list[Arrays]]:
    """The value that came with the first step, and the slopes of all."""
    here: Arrays = ()
    slopes = []
    for y, slope in steps:
        here = here or y
        slopes.append(slope)
    return here, slopes


def _check(
    f: Function, x: Arrays, y: Arrays, seeds: Arrays | None, dy: Arrays, sizes: Array
) -> None:
    """Refuse ``f`` if ``dy`` are not its derivatives along ``seeds``, or along all unit vectors."""
    if not len(sizes):
        return
    for mix in directions(sizes, dy, 1 if _prepared.get() else 2):
        if seeds is None:
            parts = np.split(mix, np.cumsum([a.size for a in x])[:-1])
            v = tuple(c.reshape(a.shape).astype(a.dtype) for c, a in zip(parts, x, strict=True))
        else:
            v = mixed(mix, seeds)
        terms = mixed(np.abs(mix), tuple(map(np.abs, dy)))
        check(f, x, y, v, mixed(mix, dy), terms)


def _size(x: Arrays, v: Arrays) -> float:
    """Size of the coordinates that ``v`` moves, relative to ``v``."""
    return max(
        (float(np.max(np.abs(a) * (d != 0))) for a, d in zip(x, v, strict=True) if d.size),
        default=0.0,
    )


def _step_by_rule(rule: Rule, x: Arrays) -> Arrays:
    """``f(a + i h v) = f(a) + i h J v``, so that ``f`` itself only sees real numbers.

    Without a rule, ``f`` is evaluated at the complex point.
    """
    active = frozenset(i for i, a in enumerate(x) if a.dtype.kind == "c" and np.any(a.imag))
    complex_ = [a.dtype.kind == "c" for a in x]
    if not any(complex_):
        return rule.evaluate(x)
    push, pull = rule.pusher(active), rule.puller(active)
    if push is None and pull is None:
        return rule.evaluate(x)
    a = tuple(np.array(b.real) if c else b for b, c in zip(x, complex_, strict=True))
    y = rule.evaluate(a)
    if not active:
        return tuple(b + 0j if b.dtype.kind == "f" else b for b in map(np.asarray, y))
    dx = tuple(np.array(b.imag) if i in active else None for i, b in enumerate(x))
    dy = push(y, a, dx) if push is not None else _push_by_basis(rule, active, y, a, dx)
    return tuple(b + 1j * d if d is not None else b for b, d in zip(y, dy, strict=True))


def _push_by_basis(rule: Rule, active: Active, y: Arrays, x: Arrays, dx: Any) -> list[Any]:
    """``J dx`` by pulling unit vectors back."""
    pull = rule.puller(active)
    assert pull is not None
    saved = rule.save(active, y, x)
    derivatives: list[Any] = []
    for k, leaf in enumerate(y):
        if leaf.dtype.kind != "f":
            derivatives.append(None)
            continue
        column = np.zeros(leaf.shape, leaf.dtype)
        for j in range(leaf.size):
            seeds = tuple(map(np.zeros_like, y))
            seeds[k].reshape(-1)[j] = 1.0
            pulled = pull(saved, seeds)
            column.reshape(-1)[j] = sum(float(np.sum(pulled[i] * dx[i])) for i in sorted(active))
        derivatives.append(column)
    return derivatives
