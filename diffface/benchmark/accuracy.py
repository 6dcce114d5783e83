"""How right the results are: against a given answer, each other, or extrapolated differences."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.numpy.finite_differences import FiniteDifferences
from diffface.benchmark.asynchrony import numbers
from diffface.prep.arguments.const import plain

# Seconds that extrapolated differences may take, and evaluations that they need for each number.
PATIENCE, EVALUATIONS = 2.0, 24


class Reference(NamedTuple):
    """What results are compared with.

    Attributes
    ----------
    numbers : array or None
        The answer as one vector, if there is one.
    source : {"given", "agreed", "Richardson", ""}
        Where it comes from.
    """

    numbers: Any
    source: str


def agreed(exact: Sequence[Any]) -> Reference:
    """The median, number by number, of two or more results of equal size that should be exact."""
    sizes = {vector.size for vector in exact}
    if len(exact) < 2 or len(sizes) > 1:
        return Reference(None, "")
    return Reference(np.median(np.stack(exact), axis=0), "agreed")


def extrapolated(
    operator: Callable[..., Any], f: Callable[..., Any], args: Sequence[Any], size: int,
    seeds: dict[str, Any],
) -> Reference:  # fmt: skip
    """Richardson's extrapolation, if ``f`` is a NumPy function, too, and fast enough."""
    try:
        start = time.perf_counter()
        f(*plain(args))
        if (time.perf_counter() - start) * size * EVALUATIONS > PATIENCE:
            return Reference(None, "")
        found = operator(f, *args, backend=FiniteDifferences("richardson"), **seeds)
    except Exception:  # noqa: BLE001 - f is the user's, and may not be for NumPy at all
        return Reference(None, "")
    return Reference(numbers(found), "Richardson")


def error(found: Any, wanted: Any) -> float:
    """Largest deviation, relative to the largest number wanted; infinite for another size."""
    if found.shape != wanted.shape:
        return math.inf
    scale = float(np.max(np.abs(wanted), initial=0.0)) or 1.0
    worst = float(np.max(np.abs(found - wanted), initial=0.0)) / scale
    return worst if math.isfinite(worst) else math.inf


def tolerance(dtype: Any, black_box: bool) -> float:
    """Half of the digits of ``dtype`` must be right, a third of them by differences."""
    part = 1 / 3 if black_box else 1 / 2
    epsilon: float = np.finfo(dtype).eps.item()
    allowed: float = epsilon**part
    return allowed
