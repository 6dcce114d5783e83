"""Whether ``f`` is analytic where it is differentiated: complex steps against differences."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from diffface.backends.adapter import Function
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.numpy.complex_step_stencil import imaginary_step
from diffface.backends.numpy.evaluator import Evaluate, one_by_one
from diffface.backends.numpy.moves import Move
from diffface.backends.numpy.richardson import FIRST_STEP, LEVELS, extrapolate
from diffface.backends.numpy.stencil import STENCILS, epsilon
from diffface.backends.numpy.steps import distance, shifted

# A slope that is so much steeper than the one that has been found is looked into.
_STEEPER = 1e4


def check(f: Function, x: Arrays, y: Arrays, v: Arrays, dy: Arrays, parts: Arrays) -> None:
    """Refuse ``f`` if ``dy`` is not its derivative at ``x`` along ``v``, by one more evaluation.

    That evaluation, ``f(x + t v + i h v)``, gives the value and the slope a small step ahead. By
    the mean value theorem, the difference of the values lies between the slopes at both ends, but
    for terms of the order of ``t**2``. Slopes that are wrong at both ends, as those of ``abs``
    are, do not fit the values. At a kink of the function, any slope between those at both sides
    does.

    Parameters
    ----------
    f : callable
        The function.
    x, y : tuple of arrays
        The point, and ``f(x)``.
    v : tuple of arrays
        The direction, like ``x``.
    dy : tuple of arrays
        The derivative to check, like ``y``.
    parts : tuple of arrays
        The sum of the sizes of the terms that ``dy`` is the sum of, like ``y``.

    Raises
    ------
    NotDifferentiableError
        If the derivative is wrong, which Richardson extrapolation has confirmed.
    """
    if not any(d.size for d in v) or not any(a.size for a in dy):
        return
    coarsest = max(epsilon(a.dtype) for a in (*x, *dy))
    # What differences can tell, see Stencil.relative_step, and no less than 1e-6.
    tolerance = max(1e-6, 10 * coarsest ** (2 / 3))
    t = distance(x, v, STENCILS["central"].relative_step(coarsest, 1))
    with np.errstate(all="ignore"):
        t, ahead, slopes = _one_step(f, x, v, t)
        leaves = zip(y, ahead, dy, slopes, parts, strict=True)
        if all(_fits(*leaf, t, coarsest, tolerance) for leaf in leaves):
            return
        # The differences may be what is wrong: ask the scheme that knows its own error, and once
        # more from where it ended, since functions may vary faster than its first steps.
        for step in (FIRST_STEP, FIRST_STEP / 2**LEVELS):
            move = Move(STENCILS["central"], distance(x, v, step), partial(shifted, x, v))
            reference, errors, _ = extrapolate(_real_values(f), move, ())
            if all(
                _agree(a, b, 10 * error + tolerance * np.maximum(part, np.abs(b)))
                for a, b, error, part in zip(dy, reference, errors, parts, strict=True)
            ):
                return
    raise NotDifferentiableError(
        "`f` is not analytic, so the complex step would give a wrong derivative (found by "
        "comparing with central differences). Look for abs, conj, norm, real, a cast to float "
        'or a comparison; or use another backend, such as "numpy".'
    )


def directions(sizes: Array, dy: Arrays, count: int) -> Iterator[Array]:
    """Coefficients of ``count`` directions that move every coordinate, in units of its size.

    ``dy`` holds the derivative along each coordinate. Where it is large, the coordinate moves
    less, so that what is wrong in a small part does not drown in the rounding of a large one.
    Coefficients have five binary digits, so that a step along them is exact.
    """
    least = epsilon(sizes.dtype) ** 0.25
    sizes = np.where((sizes > 0) & np.isfinite(sizes), sizes, 1.0).astype(float)
    shares = np.zeros(len(sizes))
    for leaf in dy:
        parts = np.abs(leaf.reshape(len(sizes), -1)) * sizes[:, None]
        largest = np.max(parts, axis=0, initial=0.0)
        relative = np.divide(parts, largest, out=np.zeros(parts.shape), where=largest > 0)
        np.maximum(shares, np.max(relative, axis=1, initial=0.0), out=shares)
    sizes *= least / np.maximum(shares, least)
    k = np.arange(1, len(sizes) + 1)
    for size, sign in _IRRATIONAL[:count]:
        waves = (0.5 + k * size % 1) * np.where(k * sign % 1 < 0.5, 1.0, -1.0)
        digits, exponents = np.frexp(sizes * waves)
        yield np.ldexp(np.round(digits * 32) / 32, exponents)


# Multiples of irrational numbers are spread evenly, and no two directions are alike.
_IRRATIONAL = ((math.sqrt(5) / 2, math.sqrt(2)), (math.sqrt(3), math.sqrt(7)))


def mixed(coefficients: Array, batch: Sequence[Array]) -> Arrays:
    """The sum of a batch with these coefficients."""
    return tuple([np.tensordot(coefficients, a, 1).astype(a.dtype) for a in batch])


def _one_step(f: Function, x: Arrays, v: Arrays, t: float) -> tuple[float, Arrays, Arrays]:
    """``t``, and values and slopes at ``x + t v``; behind ``x`` where ``f`` ends ahead of it."""
    try:
        return t, *imaginary_step(f, shifted(x, v, t), v)
    except Exception:  # noqa: BLE001 - x may be at the edge of what the function is defined for
        return -t, *imaginary_step(f, shifted(x, v, -t), v)


def _real_values(f: Function) -> Evaluate:
    """Evaluates ``f`` at real points, where its values must be real."""
    plain = one_by_one(f)

    def evaluate(points: Sequence[Arrays], *, lenient: bool = False) -> Iterator[Any]:
        for y in plain(points, lenient=lenient):
            refuse_complex(y)
            yield y

    return evaluate


def refuse_complex(y: Arrays) -> None:
    """Refuse complex values at real points: the step would be taken for a part of them."""
    if any(a.dtype.kind == "c" and np.any(a.imag) for a in y):
        raise NotDifferentiableError(
            "`f` returns complex numbers for real arguments, which the complex-step backend cannot "
            'differentiate; use "jax", "torch", "autograd" or "numpy".'
        )


def _fits(
    y: Array, ahead: Array, dy: Array, slope: Array, part: Array, t: float, epsilon: float,
    tolerance: float,
) -> bool:  # fmt: skip
    """Whether the difference of the values lies between the slopes, but for rounding."""
    quotient = (ahead - y) / t
    error = tolerance * np.maximum(part, np.abs(slope))
    rounding = 8 * epsilon * np.maximum(np.abs(y), np.abs(ahead)) / abs(t)
    error = error + rounding
    # A slope that nothing bears out is no slope: the value itself may be complex there.
    known = np.maximum(np.abs(dy), np.abs(quotient)) + rounding / tolerance
    if np.any(np.abs(slope) > _STEEPER * known):
        return False
    return _agree(np.clip(quotient, np.minimum(dy, slope), np.maximum(dy, slope)), quotient, error)


def _agree(found: Array, reference: Array, error: Array) -> bool:
    # Where differences tell nothing, the function is hardly defined; of numbers so small that they
    # lose digits, nothing is known either.
    error = error + np.finfo(reference.dtype).tiny
    return bool(np.all((np.abs(found - reference) <= error) | ~np.isfinite(reference)))
