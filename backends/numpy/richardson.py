"""Richardson extrapolation of differences, with an error estimate."""

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.numpy.differences import Evaluate
from diffface.backends.numpy.moves import Move
from diffface.backends.numpy.precision import precision
from diffface.backends.numpy.stencil import epsilon

LEVELS = 12
FIRST_STEP = 0.125
# A derivative with a larger relative error is worth another try with longer steps.
_DOUBTFUL = 1e-8


def extrapolate(
    evaluate: Evaluate, move: Move, y: Arrays, *, lenient: bool = False
) -> tuple[Arrays, Arrays, Arrays]:
    """``(derivative along a move, estimate of its absolute error, changes)``, elementwise.

    ``changes`` says whether ``f`` was not the same at all points.

    Central differences at steps ``t, t/2, t/4, ...`` have errors in even powers of the step, those
    to one side in all powers, which are eliminated one by one:
    ``D[k][j] = D[k][j-1] + (D[k][j-1] - D[k-1][j-1]) / (b**j - 1)`` with ``b = 4`` or 2.
    The error of an entry is estimated by its distance to the two that it was made from, and by
    the rounding of the values; the entry with the least estimate is kept for each component.

    Parameters
    ----------
    evaluate : Evaluate
        Evaluates ``f``.
    move : Move
        Where to go; ``length`` is the first step.
    y : tuple of arrays
        ``f(x)``; used only for differences to one side.
    lenient : bool
        Whether a failure of ``f`` gives an infinite error.

    References
    ----------
    .. [1] C. J. F. Ridders, Accurate computation of F'(x) and F'(x) F''(x), Advances in
       Engineering Software 4 (1982), 75-76.
    """
    sides = [o for o in move.stencil.offsets if abs(o) == 1]
    base = 4.0 if len(sides) == 2 else 2.0
    t = move.length
    best: list[Array] = []
    errors: list[Array] = []
    changes: list[Array] = []
    previous: list[Arrays] = []
    for k in range(LEVELS):
        values = list(evaluate([move.at(o * t) for o in sides], lenient=lenient))
        if any(v is None for v in values):
            return (), (), ()
        given = (*values, y) if len(values) == 1 else values
        # In float16, the factors below are infinite.
        low, high = (tuple(map(_at_least_single, leaves)) for leaves in given)
        width = t * (sides[-1] - sides[0] if len(sides) == 2 else -sides[0])
        row: list[Arrays] = [tuple((b - a) / width for a, b in zip(low, high, strict=True))]
        if k == 0:
            best = [np.array(a) for a in row[0]]
            changes = [np.zeros(a.shape, bool) for a in row[0]]
            errors = [np.full(a.shape, np.inf, np.abs(a).dtype) for a in row[0]]
        changes = [c | (a != b) for c, a, b in zip(changes, low, high, strict=True)]
        # Entries may meet by chance; the differences were rounded all the same.
        floors = [_rounding(a, b, t) for a, b in zip(low, high, strict=True)]
        for j in range(1, k + 1):
            row.append(
                tuple(
                    a + (a - b) / (base**j - 1)
                    for a, b in zip(row[-1], previous[j - 1], strict=True)
                )
            )
            for i, new in enumerate(row[j]):
                error = np.maximum(abs(new - row[j - 1][i]), abs(new - previous[j - 1][i]))
                error = np.maximum(error, floors[i])
                better = error < errors[i]
                best[i] = np.where(better, new, best[i])
                errors[i] = np.where(better, error, errors[i])
        # An entry far worse than the best says that rounding has taken over.
        if k > 1 and all(
            np.all(abs(a - b) > 2 * e)
            for a, b, e in zip(row[-1], best, errors, strict=True)
        ):  # fmt: skip
            break
        previous, t = row, t / 2
    dtypes = [a.dtype for a in given[0]]
    return (
        tuple(a.astype(d, copy=False) for a, d in zip(best, dtypes, strict=True)),
        tuple(a.astype(np.empty(0, d).real.dtype) for a, d in zip(errors, dtypes, strict=True)),
        tuple(changes),
    )


def _at_least_single(a: Array) -> Array:
    return a.astype(np.float32) if a.dtype == np.float16 else a


def _rounding(low: Array, high: Array, t: float) -> Array:
    """The rounding error of a difference quotient."""
    size = np.maximum(np.abs(low), np.abs(high))
    level = max(epsilon(size.dtype), precision([low, high]))
    return np.asarray(level * size / t, size.dtype)


def extrapolated(evaluate: Evaluate, move: Move, y: Arrays) -> tuple[Arrays, Arrays]:
    """`extrapolate`, with longer steps where the error is large or ``f`` does not change."""
    best, errors, changes = extrapolate(evaluate, move, y)
    for longer in move.longer:
        leaves = zip(best, errors, strict=True)
        if not any(np.any(e > _DOUBTFUL * np.abs(d)) for d, e in leaves):
            break
        with np.errstate(all="ignore"):  # f need not be defined so far away
            other, doubts, changing = extrapolate(evaluate, longer, y, lenient=True)
        if not other:
            continue
        better = [
            (changed & ~here) | ((doubt < error) & ((np.abs(d) > 32 * doubt) | (not move.mixed)))
            for d, doubt, error, changed, here in zip(
                other, doubts, errors, changing, changes, strict=True
            )
        ]
        best = tuple(map(np.where, better, other, best))
        errors = tuple(map(np.where, better, doubts, errors))
    return best, errors
