"""Finite differences of a function of one vector that returns a number: a plain loop."""

from functools import partial
from typing import Any

import numpy as np

from diffface.backends.adapter import Function
from diffface.backends.compiled import Array
from diffface.backends.numpy.differences import QUIET, Points, Rounding, agree, numbers, weighted
from diffface.backends.numpy.evaluator import Evaluate
from diffface.backends.numpy.moves import Move, moved
from diffface.backends.numpy.precision import has_many_digits
from diffface.backends.numpy.stencil import Stencil
from diffface.backends.numpy.steps import Steps


def unit_differences_directly(
    f: Function, vector: Array, steps: Steps, stencil: Stencil, y: Array | None,
    evaluate: Evaluate, rounding: Rounding,
) -> tuple[Array, Array | None] | None:  # fmt: skip
    """The derivatives of a function of one vector that returns a float: a plain loop.

    Returns them, and a value of ``f`` if all have few digits; or None, having evaluated nothing,
    where ``f`` is no such function.
    """
    direct = getattr(f, "direct", None)
    if direct is None or vector.ndim != 1 or vector.dtype != np.float64 or not vector.size:
        return None
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
    found = weighted(stencil, table, y) / lengths
    sample = None if any(map(has_many_digits, values)) else np.asarray(values[0])
    if further is None:
        return found, sample
    scales = np.max(np.abs(table), axis=0)
    quiet = np.abs(found) * lengths < QUIET * rounding.step * scales
    again = np.flatnonzero(quiet & (further > lengths))
    if again.size:
        with np.errstate(all="ignore"):  # f need not be defined so far away
            more = _unit_differences(vector, again, further[again], stencil, y, evaluate)
            noise = rounding.level * scales[again] / lengths[again]
            found[again] = np.where(agree(more, found[again], noise), more, found[again])
    return found, sample


def _unit_differences(
    vector: Array, which: Array, lengths: Array, stencil: Stencil, y: Array | None,
    evaluate: Evaluate,
) -> Array:  # fmt: skip
    """The derivatives by some of the coordinates; NaN where ``f`` fails."""
    moves = [
        Move(stencil, length, partial(moved, (vector,), 0, k, None))
        for k, length in zip(which.tolist(), lengths.tolist(), strict=True)
    ]
    values = [np.nan if v is None else v[0] for v in evaluate(Points(moves), lenient=True)]
    table: Any = np.reshape(values, (len(which), -1)).T
    return np.asarray(weighted(stencil, table, y) / lengths)
