"""What a careful reader would want to know before using a figure; each is found by measurement."""

import math
from typing import NamedTuple

from diffface.benchmark.timing import Spread

FLAGS = {
    "failed": "The operator could not be prepared or called.",
    "eager": "The function could not be recorded, so that every call derives it anew.",
    "recompiles": "Something was compiled or traced again while calls were timed.",
    "unblocked": "Work goes on after the call has returned: its time is that of the start only.",
    "disagrees": "The result is not the reference, up to half of the digits.",
    "alone": "There is no hand-written code to compare with.",
    "unchecked": "There was nothing to compare the result with.",
    "noisy": "The times vary too much to tell.",
    "few": "The call is so slow that it was timed in a few rounds only.",
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


def noisy(what: str, measured: Spread) -> list[Flag]:
    """Quartiles too far apart."""
    if measured.relative <= NOISY:
        return []
    return [
        Flag("noisy", f"The quartiles of {what} are {measured.relative:.0%} apart; run it again.")
    ]


def few(rounds: int, asked: int) -> list[Flag]:
    """Too few rounds for quartiles."""
    if rounds >= min(FEW, asked):
        return []
    return [Flag("few", f"Timed in {rounds} of {asked} rounds.")]
