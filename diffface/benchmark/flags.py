"""Flags: reasons not to trust a measurement, the accuracy of its result among them."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.numpy.finite_differences import FiniteDifferences
from diffface.benchmark.timing import Spread, numbers
from diffface.prep.arguments.const import plain

# Seconds that extrapolated differences may take, and evaluations that they need for each number.
PATIENCE, EVALUATIONS = 2.0, 24


# Numbers that are not distinguished from zero where they are all of a result.
NEARLY_ZERO = 1e-8


class KnownResult(NamedTuple):
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


def agreed(exact: Sequence[Any]) -> KnownResult:
    """The median, number by number, of two or more results of equal size that should be exact."""
    sizes = {vector.size for vector in exact}
    if len(exact) < 2 or len(sizes) > 1:
        return KnownResult(None, "")
    return KnownResult(np.median(np.stack(exact), axis=0), "agreed")


def extrapolated(
    operator: Callable[..., Any], f: Callable[..., Any], args: Sequence[Any], size: int,
    seeds: dict[str, Any],
) -> KnownResult:  # fmt: skip
    """Richardson's extrapolation, if ``f`` is a NumPy function, too, and fast enough."""
    try:
        start = time.perf_counter()
        f(*plain(args))
        if (time.perf_counter() - start) * size * EVALUATIONS > PATIENCE:
            return KnownResult(None, "")
        found = operator(f, *args, backend=FiniteDifferences("richardson"), **seeds)
    except Exception:  # noqa: BLE001 - f is the user's, and may not be for NumPy at all
        return KnownResult(None, "")
    return KnownResult(numbers(found), "Richardson")


def error(found: Any, wanted: Any) -> float:
    """Largest deviation, relative to the largest number wanted; infinite for another size.

    Where all that is wanted is nearly zero, as at a minimum, the deviation itself.
    """
    if found.shape != wanted.shape:
        return math.inf
    scale = float(np.max(np.abs(wanted), initial=0.0))
    scale = scale if scale > NEARLY_ZERO else 1.0
    worst = float(np.max(np.abs(found - wanted), initial=0.0)) / scale
    return worst if math.isfinite(worst) else math.inf


def tolerance(dtype: Any, black_box: bool) -> float:
    """Half of the digits of ``dtype`` must be right, a third of them by differences."""
    part = 1 / 3 if black_box else 1 / 2
    epsilon: float = np.finfo(dtype).eps.item()
    allowed: float = epsilon**part
    return allowed


FLAGS = {
    "failed": "The operator could not be prepared or called.",
    "eager": "The function could not be recorded, so that every call derives it anew.",
    "recompiles": "Something was compiled or traced again while calls were timed.",
    "unblocked": "Work goes on after the call has returned: its time is that of the start only.",
    "disagrees": "The result is not the reference, up to half of the digits.",
    "no_reference": "There is no hand-written code to compare with.",
    "unchecked": "There was nothing to compare the result with.",
    "noisy": "The times vary too much to tell.",
    "few_rounds": "The call is so slow that it was timed in a few rounds only.",
}

# Distance of the quartiles over the median, above which a machine is too noisy to tell.
NOISY = 0.25
FEW = 5
COMPILED = ("xla", "replay", "inductor", "program")


class Flag(NamedTuple):
    """A word of ``FLAGS``, and what was measured."""

    name: str
    sentence: str


def eager(strategy: str, reason: str) -> list[Flag]:
    """A fallback, with what the preparation said about it."""
    return [Flag("eager", f"It runs eagerly: {reason}")] if strategy == "eager" else []


def recompiles(whose: str, events: int, calls: int) -> list[Flag]:
    """Compilations in the steady phase."""
    if not events:
        return []
    return [Flag("recompiles", f"{whose} compiled {events} programs in {calls} timed calls.")]


def retraced(strategy: str, evaluations: int | None) -> list[Flag]:
    """Python evaluations by a program that should need none."""
    if strategy not in COMPILED or not evaluations:
        return []
    return [Flag("recompiles", f"A prepared call evaluated the function {evaluations} times.")]


def unblocked(whose: str, duration: float, lag: float) -> list[Flag]:
    """Work that goes on after a call has returned."""
    if not lag:
        return []
    times = f"after {duration * 1e6:.0f} µs, its result was there {lag * 1e6:.0f} µs later"
    return [Flag("unblocked", f"{whose} returned {times}.")]


def disagrees(whose: str, error: float, tolerance: float, source: str) -> list[Flag]:
    """A result that is off by more than ``tolerance``, relative to its largest number."""
    if error <= tolerance:
        return []
    by = f"is off by {error:.1e} of its largest number" if math.isfinite(error) else "does not fit"
    return [Flag("disagrees", f"{whose} {by} (reference: {source}).")]


def unchecked() -> list[Flag]:
    """Nothing to compare with."""
    return [Flag("unchecked", "Nothing to check the result with; pass `reference`.")]


def noisy(*measured: Spread) -> list[Flag]:
    """Quartiles of times, or of a ratio, too far apart."""
    if all(spread.relative <= NOISY for spread in measured):
        return []
    return [
        Flag("noisy", f"Times vary by more than {NOISY:.0%}; run it again, on a quiet machine.")
    ]


def few_rounds(rounds: int, asked: int) -> list[Flag]:
    """Too few rounds for quartiles."""
    if rounds >= min(FEW, asked):
        return []
    return [Flag("few_rounds", f"Timed in {rounds} of {asked} rounds.")]
