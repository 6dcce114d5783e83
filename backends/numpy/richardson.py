"""Richardson extrapolation of central differences, with an error estimate."""

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.numpy.stencil import Evaluate, distance, shifted

LEVELS = 12
FIRST_STEP = 0.125


def extrapolate(
    evaluate: Evaluate, x: Arrays, v: Arrays, step: float | None, length: float | None = None
) -> tuple[Arrays, Arrays]:
    """``(derivative along v, estimate of its absolute error)``, elementwise.

    Central differences at steps ``t, t/2, t/4, ...`` have errors in even powers of the step, which
    are eliminated one by one: ``D[k][j] = D[k][j-1] + (D[k][j-1] - D[k-1][j-1]) / (4**j - 1)``.
    The error of an entry is estimated by its distance to the two that it was made from, and the
    entry with the least estimate is kept for each component.

    ``length`` is the first step; by default it follows from the relative one.

    References
    ----------
    .. [1] C. J. F. Ridders, Accurate computation of F'(x) and F'(x) F''(x), Advances in
       Engineering Software 4 (1982), 75-76.
    """
    t = length or distance(x, v, FIRST_STEP if step is None else step)
    best: list[Array] = []
    errors: list[Array] = []
    previous: list[Arrays] = []
    for k in range(LEVELS):
        ahead, behind = evaluate([shifted(x, v, t), shifted(x, v, -t)])
        row: list[Arrays] = [tuple((a - b) / (2 * t) for a, b in zip(ahead, behind, strict=True))]
        if k == 0:
            best = [np.array(a) for a in row[0]]
            errors = [np.full(a.shape, np.inf, np.abs(a).dtype) for a in row[0]]
        for j in range(1, k + 1):
            row.append(
                tuple(
                    a + (a - b) / (4.0**j - 1)
                    for a, b in zip(row[-1], previous[j - 1], strict=True)
                )
            )
            for i, new in enumerate(row[j]):
                error = np.maximum(abs(new - row[j - 1][i]), abs(new - previous[j - 1][i]))
                # Entries may meet by chance; the differences were rounded all the same.
                error = np.maximum(error, np.finfo(error.dtype).eps * abs(row[0][i]))
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
    return tuple(best), tuple(errors)
