"""Steps into the complex plane: where to evaluate, and what the imaginary parts say."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from diffface.backends.adapter import Function
from diffface.backends.compiled import Array, Arrays
from diffface.backends.numpy.differences import numbers
from diffface.backends.numpy.steps import distance, distances, shifted

# About 1e-20: far below the last digit, far above underflow, even of float32.
STEP = 2.0**-66

# No derivative times such a step is as large, relative to the value: it would be above 1e15.
_LARGE = 1e-4


def imaginary_step(f: Function, x: Arrays, v: Arrays) -> tuple[Arrays, Arrays]:
    """``f(x)``, and its derivative along ``v``: ``Im f(x + i t v) / t``."""
    t = distance(x, v, STEP)
    y, _ = f(shifted(x, v, 1j * t))
    return tuple(map(np.real, y)), _rounded([_slope(a, t) for a in y], x)


def unit_steps(f: Function, x: Arrays) -> Iterator[tuple[Arrays, Arrays]]:
    """``imaginary_step`` along every unit vector; each point moves one coordinate only."""
    lifted = [np.array(a, np.result_type(a.dtype, np.complex64), order="C") for a in x]
    for j, leaf in enumerate(x):
        flat = leaf.reshape(-1)
        # float16 has no number as small as the step.
        lengths = distances(flat.astype(np.result_type(leaf.dtype, np.float32)), STEP)
        for k, t in enumerate(lengths.tolist()):
            # Every point is new to f, which may keep or overwrite what it is given.
            point = [a.copy() for a in lifted]
            point[j].reshape(-1).imag[k] = t
            y, _ = f(tuple(point))
            yield tuple(map(np.real, y)), _rounded([_slope(a, t) for a in y], x)


def unit_steps_directly(f: Function, vector: Array) -> tuple[Array, Array] | None:
    """``unit_steps`` of a function of one vector that returns a number: a plain loop.

    Returns None, having evaluated nothing, where ``f`` is no such function.
    """
    direct = getattr(f, "direct", None)
    if direct is None or vector.ndim != 1 or vector.dtype != np.float64 or not vector.size:
        return None
    lifted = vector.astype(np.complex128)
    lengths = distances(vector, STEP)
    moved = lifted.copy()
    moved.imag = lengths
    values = []
    # The first evaluation goes the checked way.
    evaluate: Any = lambda array: f((array,))[0][0]
    for k, coordinate in enumerate(moved.tolist()):
        point = lifted.copy()
        point[k] = coordinate
        # A sum, since f may return the same buffer again at its next evaluation.
        values.append(evaluate(point) + 0.0)
        evaluate = direct
    column = numbers(values, "fc")
    return column[0].real, _slope(column, lengths)


def _slope(y: Any, t: Any) -> Any:
    """``Im y / t``, and NaN where a real function would have returned NaN.

    There ``y`` itself is complex, as is ``sqrt(-1)``, whatever the step; so it may be beside an
    infinity, as in ``log(-0.0)``.
    """
    imaginary, size = np.imag(y), np.abs(np.real(y))
    finite = np.isfinite(imaginary) & np.isinf(size)
    outside = np.abs(imaginary) > _LARGE * np.where(finite, 1.0, np.maximum(1.0, size))
    return np.where(outside, np.nan, imaginary)[()] / t


def _rounded(dy: list[Array], x: Arrays) -> Arrays:
    # There is no complex number made of float16.
    half = all(a.dtype == np.float16 for a in x)
    return tuple([a.astype(np.float16) for a in dy] if half else dy)
