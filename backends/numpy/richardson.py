"""Richardson extrapolation of differences, with an error estimate."""

from collections.abc import Sequence

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.numpy.differences import total
from diffface.backends.numpy.evaluator import Evaluate
from diffface.backends.numpy.moves import Move
from diffface.backends.numpy.precision import precision
from diffface.backends.numpy.stencil import epsilon

LEVELS = 12
FIRST_STEP = 0.125
# As many times half the first step is compared with the result.
SHORT = 14
# Steps may become so short where the longer ones are too long to see the function at all.
MOST_LEVELS = 2 * LEVELS
# A derivative with a larger relative error is worth another try with longer steps.
_DOUBTFUL = 1e-8
# One with a larger relative error, which rounding does not explain, is worth shorter steps.
_UNRESOLVED = 1e-3


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
    base = 4.0 if len(_sides(move)) == 2 else 2.0
    t = move.length
    best: list[Array] = []
    errors: list[Array] = []
    changes: list[Array] = []
    previous: list[Arrays] = []
    for k in range(MOST_LEVELS):
        given = _ends(evaluate, move, y, t, lenient=lenient)
        if given is None:
            return (), (), ()
        # In float16, the factors below are infinite.
        low, high = (tuple(map(_at_least_single, leaves)) for leaves in given)
        row: list[Arrays] = [_quotient(low, high, move, t)]
        if k == 0:
            dtypes = [a.dtype for a in given[0]]
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
        if k > 1 and (
            k >= LEVELS - 1
            or all(
                np.all(abs(a - b) > 2 * e)
                for a, b, e in zip(row[-1], best, errors, strict=True)
            )
        ) and not _unresolved(best, errors, low, high, t, changes):  # fmt: skip
            break
        previous, t = row, t / 2
    return (
        tuple(a.astype(d, copy=False) for a, d in zip(best, dtypes, strict=True)),
        tuple(a.astype(np.empty(0, d).real.dtype) for a, d in zip(errors, dtypes, strict=True)),
        tuple(changes),
    )


def _sides(move: Move) -> list[float]:
    return [o for o in move.stencil.offsets if abs(o) == 1]


def _ends(
    evaluate: Evaluate, move: Move, y: Arrays, t: float, *, lenient: bool = False
) -> Sequence[Arrays] | None:
    """``f`` at both ends of a step."""
    values = list(evaluate([move.at(o * t) for o in _sides(move)], lenient=lenient))
    if any(v is None for v in values):
        return None
    return (*values, y) if len(values) == 1 else values


def _quotient(low: Arrays, high: Arrays, move: Move, t: float) -> Arrays:
    sides = _sides(move)
    width = t * (sides[-1] - sides[0] if len(sides) == 2 else -sides[0])
    return tuple((b - a) / width for a, b in zip(low, high, strict=True))


def _unresolved(
    best: list[Array], errors: list[Array], low: Arrays, high: Arrays, t: float,
    changes: list[Array],
) -> bool:  # fmt: skip
    """Whether an error is larger than rounding explains: the steps are too long for ``f``."""
    for d, error, a, b, changing in zip(best, errors, low, high, changes, strict=True):
        explained = np.maximum(_UNRESOLVED * np.abs(d), 64 * _least_rounding(a, b, t))
        if np.any(changing & (error > explained)):
            return True
    return False


def _overlooked(evaluate: Evaluate, move: Move, y: Arrays, best: Arrays, errors: Arrays) -> bool:
    """Whether short steps agree with each other, but not with ``best``.

    Then ``f`` repeats itself, or is level, over the longer ones, which agree by chance.
    """
    doubtful: list[Array] = []
    near: Arrays = ()
    for k in range(3):
        t = move.length / 2 ** (SHORT + k)
        given = _ends(evaluate, move, y, t, lenient=True)
        if given is None:
            return False
        low, high = (tuple(map(_at_least_single, leaves)) for leaves in given)
        row = _quotient(low, high, move, t)
        if k == 0:
            near = row
            doubtful = [
                abs(n - d) > 0.1 * abs(n) + e + 16 * _least_rounding(a, b, t)
                for n, d, e, a, b in zip(near, best, errors, low, high, strict=True)
            ]
        else:
            doubtful = [
                w & (abs(n - d) < 0.01 * abs(n))
                for w, n, d in zip(doubtful, near, row, strict=True)
            ]
        if not any(map(np.any, doubtful)):
            return False
    return True


def _at_least_single(a: Array) -> Array:
    return a.astype(np.float32) if a.dtype == np.float16 else a


def _least_rounding(low: Array, high: Array, t: float) -> Array:
    """The rounding error of a difference quotient, if ``f`` computes in the precision of it."""
    size = _size(low, high)
    return np.asarray(epsilon(size.dtype) * size / t, size.dtype)


def _rounding(low: Array, high: Array, t: float) -> Array:
    """The rounding error of a difference quotient."""
    size = _size(low, high)
    level = max(epsilon(size.dtype), precision([low, high]))
    return np.asarray(level * size / t, size.dtype)


def _size(low: Array, high: Array) -> Array:
    size = np.maximum(np.abs(low), np.abs(high))
    # Smaller numbers have fewer digits, and products of them even fewer.
    return np.maximum(size, 16 * np.finfo(size.dtype).tiny)


def extrapolated(evaluate: Evaluate, moves: Sequence[Move], y: Arrays) -> tuple[Arrays, Arrays]:
    """The sums of the derivatives along ``moves``, and of the estimates of their errors."""
    best, errors = zip(*[_along(evaluate, move, y) for move in moves], strict=True)
    return total(best), total(errors)


def _along(evaluate: Evaluate, move: Move, y: Arrays) -> tuple[Arrays, Arrays]:
    """`extrapolate`, with longer steps where the error is large or ``f`` does not change."""
    best, errors, changes = extrapolate(evaluate, move, y)
    for _ in range(3):
        if not _overlooked(evaluate, move, y, best, errors):
            break
        move = move._replace(length=move.length / 64)
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
