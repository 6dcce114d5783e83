"""Differences: derivatives from values of ``f`` at the points of a stencil."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.numpy.evaluator import Evaluate
from diffface.backends.numpy.moves import Move
from diffface.backends.numpy.precision import finer, is_coarse
from diffface.backends.numpy.stencil import Stencil
from diffface.backends.numpy.steps import Steps

# A result hardly changes where its relative change is so much less than the variable's.
QUIET = 1 / 100
# Rounding errors of an evaluation, in units of the last place.
_ROUNDING = 32.0


def derivatives(
    grouped: Sequence[Sequence[Move]], evaluate: Evaluate, y: Arrays, steps: Steps
) -> tuple[list[Arrays], Arrays]:
    """The sums of the derivatives along the moves of each group, and one value of ``f``.

    It is one with many digits, if there is any.

    A step in units of a variable's own size is right where that size means something. Where the
    variable is nearly zero only by chance, ``f`` hardly changes on such a step, and rounding
    drowns what there is: then a longer step is tried as well, and taken for those elements of the
    result for which both agree up to the rounding error of the shorter.

    Parameters
    ----------
    grouped : sequence of sequence of Move
        Where to evaluate.
    evaluate : Evaluate
        How.
    y : tuple of arrays
        ``f(x)``; used only by stencils that have 0 among their offsets.
    steps : Steps
        Those of the moves.
    """
    moves = [move for group in grouped for move in group]
    values = evaluate(Points(moves))
    found: list[Arrays] = []
    again: list[tuple[int, Arrays, Arrays]] = []
    sample: Arrays = ()
    fewer = True
    for i, move in enumerate(moves):
        here = [next(values) for _ in move.stencil.outside]
        derivative = _combined(move, here, y)
        if fewer:
            sample = tuple(map(finer, sample, here[0])) if sample else here[0]
            fewer = any(map(is_coarse, sample))
        if move.longer:
            scales = _scales(here)
            quiet = tuple(
                abs(d) * abs(move.length) < QUIET * steps.relative * scale
                for d, scale in zip(derivative, scales, strict=True)
            )
            if any(map(np.any, quiet)):
                again.append((i, scales, quiet))
        found.append(derivative)
    further = [longer for i, *_ in again for longer in moves[i].longer]
    with np.errstate(all="ignore"):  # f need not be defined so far away
        more = evaluate(Points(further), lenient=True) if further else iter(())
        for i, scales, quiet in again:
            noise = tuple(steps.level * s / moves[i].length for s in scales)
            found[i] = _refined(moves[i], found[i], more, y, quiet, noise, steps.level)
    rest = iter(found)
    return [total([next(rest) for _ in group]) for group in grouped], sample


class Points(Sequence[Arrays]):
    """The points of all moves, made when they are asked for."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self._where = [(m, o * m.length) for m in moves for o, _ in m.stencil.outside]

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [move.at(distance) for move, distance in self._where[index]]
        move, distance = self._where[index]
        return move.at(distance)


def _combined(move: Move, values: Sequence[Any], y: Arrays) -> Arrays:
    columns = zip(*values, strict=True)
    center = y if move.stencil.center else [None] * len(values[0])
    return tuple(
        weighted(move.stencil, column, at_x) / move.length
        for column, at_x in zip(columns, center, strict=True)
    )


def _scales(values: Sequence[Any]) -> Arrays:
    """The largest of the values, elementwise."""
    return tuple(np.max(np.abs(column), axis=0) for column in zip(*values, strict=True))


def _refined(
    move: Move, derivative: Arrays, values: Iterator[Any], y: Arrays, quiet: Arrays, noise: Arrays,
    level: float,
) -> Arrays:  # fmt: skip
    """``derivative`` of ``move``, with what longer steps say where they agree with it."""
    best = list(derivative)
    if move.mixed:
        # What shows nothing here may still show something further away, or not depend at all.
        for i, (d, q, n) in enumerate(zip(derivative, quiet, noise, strict=True)):
            best[i] = np.where(q & (abs(d) <= _ROUNDING * n), 0 * d, d)
    for longer in move.longer:
        here = [next(values) for _ in longer.stencil.outside]
        if any(v is None for v in here):
            continue
        other = _combined(longer, here, y)
        scales = _scales(here)
        for i, (d, more, q, n) in enumerate(zip(derivative, other, quiet, noise, strict=True)):
            better = q & agree(more, d, n)
            if move.mixed:
                better &= abs(more) * longer.length > _ROUNDING * level * scales[i]
            best[i] = np.where(better, more, best[i])
    return tuple(best)


def agree(one: Any, other: Any, noise: Any) -> Any:
    """Whether two derivatives differ by no more than the rounding error of one of them."""
    return abs(one - other) <= _ROUNDING * noise


def weighted(stencil: Stencil, values: Sequence[Any], y: Any) -> Any:
    """The sum of values by the weights of a stencil; ``y`` is the one at the center.

    The weights sum to 0: differences to one of the values are exactly 0 where all are the same.
    """
    start = 0 if stencil.center else 1
    reference = y if stencil.center else values[0]
    weights = stencil.outside_weights
    total = weights[start] * (values[start] - reference)
    for i in range(start + 1, len(weights)):
        total = total + weights[i] * (values[i] - reference)
    return total


def total(parts: Sequence[Arrays]) -> Arrays:
    """The sums of derivatives, leaf by leaf."""
    return parts[0] if len(parts) == 1 else tuple(map(sum, zip(*parts, strict=True)))


def numbers(values: list[Any], kinds: str = "f") -> Array:
    """What a function of one real result returned in turn, unchecked, as one array."""
    try:
        column = np.array(values)
    except ValueError:  # of several shapes
        column = np.empty((0, 0))
    if column.dtype.kind not in kinds or column.ndim != 1:
        raise NotDifferentiableError(
            "`f` must return one real number (shape ()) at every evaluation, got something else "
            "at a later one."
        )
    return column
