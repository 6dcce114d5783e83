"""Paired timing: two callables in turn, so that a drift of the machine hits both alike."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Timing(NamedTuple):
    """Medians over rounds; times in microseconds per call."""

    first: float
    second: float
    ratio: float
    low: float
    high: float


def pair(
    first: Callable[[], Any], second: Callable[[], Any], rounds: int = 15, seconds: float = 0.02
) -> Timing:
    """Time ``first`` and ``second``, alternating; the ratio is first over second.

    Parameters
    ----------
    first, second : callable
        Take nothing and block until they are done.
    rounds : int
        How often each is measured.
    seconds : float
        How long one measurement of each shall take.

    Returns
    -------
    Timing
        Medians, and the quartiles of the ratio.
    """
    counts = [_count(call, seconds) for call in (first, second)]
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for n, call in enumerate((first, second)):
            start = time.perf_counter()
            for _ in range(counts[n]):
                call()
            times[n].append((time.perf_counter() - start) / counts[n] * 1e6)
    ratios = [a / b for a, b in zip(*times, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Timing(statistics.median(times[0]), statistics.median(times[1]), middle, low, high)


def _count(call: Callable[[], Any], seconds: float) -> int:
    call()
    start = time.perf_counter()
    call()
    return max(1, int(seconds / max(time.perf_counter() - start, 1e-7)))
