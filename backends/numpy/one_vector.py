"""Finite differences of a function of one vector that returns a number: a plain loop."""

from functools import partial
from typing import Any

import numpy as np

from diffface.backends.adapter import Function
from diffface.backends.compiled import Array, Arrays
from diffface.backends.numpy.differences import QUIET, Points, agree, numbers, weighted
from diffface.backends.numpy.evaluator import one_by_one
from diffface.backends.numpy.moves import Move, moved
from diffface.backends.numpy.precision import coarse, has_many_digits
from diffface.backends.numpy.scheme import Scheme
from diffface.backends.numpy.stencil import Stencil, epsilon


def directly(f: Function, vector: Array, y: Arrays, scheme: Scheme) -> Array | None:
    """The derivatives by each coordinate; None, having evaluated nothing, for other functions."""
    direct = getattr(f, "direct", None)
    if direct is None or vector.ndim != 1 or vector.dtype != np.float64 or not vector.size:
        return None
    finest = epsilon(vector.dtype)
    found, sample = _differences(f, direct, vector, y, scheme, finest)
    if sample is None or scheme.fixed:
        return found
    precisions = coarse(one_by_one(f), (vector,), (sample,), finest, None)
    if not any(precisions):
        return found
    return _differences(f, direct, vector, y, scheme, max(precisions))[0]


def _differences(
    f: Function, direct: Any, vector: Array, y: Arrays, scheme: Scheme, precision: float
) -> tuple[Array, Array | None]:
    """The derivatives, by steps for this precision, and a value of ``f`` if all have few digits."""
    steps, stencil = scheme.steps((vector,), precision), scheme.stencil
    center = y[0] if stencil.center else None
    lengths, further = steps.lengths(vector, 0)
    points = (vector + stencil.outside_offsets * lengths).T.tolist()
    values: list[Any] = []
    array = np.ndarray
    # The first evaluation goes the checked way.
    call: Any = lambda array: f((array,))[0][0]
    for k, ends in enumerate(points):
        for end in ends:
            # Every point is new to f, which may keep or overwrite what it is given.
            point = vector.copy()
            point[k] = end
            value = call(point)
            # A copy, since f may return the same buffer again at its next evaluation.
            values.append(value.copy() if isinstance(value, array) else value)
            call = direct
    table = numbers(values).reshape(len(vector), -1).T
    found = weighted(stencil, table, center) / lengths
    sample = None if any(map(has_many_digits, values)) else np.asarray(values[0])
    if further is None:
        return found, sample
    scales = np.max(np.abs(table), axis=0)
    quiet = np.abs(found) * lengths < QUIET * steps.relative * scales
    again = np.flatnonzero(quiet & (further > lengths))
    if again.size:
        with np.errstate(all="ignore"):  # f need not be defined so far away
            more = _further(f, vector, again, further[again], stencil, center)
            noise = steps.level * scales[again] / lengths[again]
            found[again] = np.where(agree(more, found[again], noise), more, found[again])
    return found, sample


def _further(
    f: Function, vector: Array, which: Array, lengths: Array, stencil: Stencil, y: Array | None
) -> Array:
    """The derivatives by some of the coordinates; NaN where ``f`` fails."""
    moves = [
        Move(stencil, length, partial(moved, (vector,), 0, k, None))
        for k, length in zip(which.tolist(), lengths.tolist(), strict=True)
    ]
    values = [np.nan if v is None else v[0] for v in one_by_one(f)(Points(moves), lenient=True)]
    table: Any = np.reshape(values, (len(which), -1)).T
    return np.asarray(weighted(stencil, table, y) / lengths)
