"""Two callables timed in turn, so that a drift of the machine hits both alike."""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

from diffface.benchmark.timing import Effort, Timed, interleave, ratio


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
    """Time ``first`` and ``second``, which block until they are done; see ``Effort``.

    Returns
    -------
    Timing
        Medians, and the quartiles of the ratio, first over second.
    """
    calls = Timed(first), Timed(second)
    for call in calls:
        call.run()
    interleave(calls, Effort(rounds, seconds))
    found = ratio(*calls)
    medians = [statistics.median(call.seconds) * 1e6 for call in calls]
    return Timing(*medians, *found)
