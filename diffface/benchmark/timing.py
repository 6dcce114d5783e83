"""Calls timed in turn, so that a drift of the machine hits all of them alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Clock = Callable[[], float]


@dataclass(eq=False)
class Timed:
    """A call, and what was measured of it.

    Parameters
    ----------
    run : callable
        Takes nothing, and returns once its result is there.
    scope : callable
        Makes the context that it runs in, which is entered outside the clock.
    duration : float, optional
        About how many seconds it takes, if that is known.

    Attributes
    ----------
    seconds : list of float
        Seconds per call, one entry for each round.
    count : int
        Calls in a round.
    events : int
        By how much the watched count grew while it ran.
    """

    run: Callable[[], Any]
    scope: Callable[[], AbstractContextManager[object]] = nullcontext
    duration: float | None = None
    seconds: list[float] = field(default_factory=list)
    count: int = 1
    events: int = 0


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @property
    def relative(self) -> float:
        """Distance of the quartiles, relative to the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


@dataclass(frozen=True)
class Effort:
    """How thoroughly to measure.

    Parameters
    ----------
    rounds : int
        How often each call is timed.
    seconds : float
        How long one timing shall take: fast calls are repeated in it.
    limit : float
        How many seconds all timings of one call may take together; slow calls get fewer rounds.
    """

    rounds: int = 11
    seconds: float = 0.02
    limit: float = 10.0

    def rounds_of(self, duration: float) -> int:
        """How often a call that takes ``duration`` seconds is timed."""
        return max(1, min(self.rounds, int(self.limit / max(duration, 1e-9))))

    def count_of(self, duration: float) -> int:
        """How often it is repeated in one timing."""
        return max(1, round(self.seconds / max(duration, 1e-7)))


def interleave(
    calls: Sequence[Timed],
    effort: Effort,
    watched: Callable[[], int] = lambda: 0,
    clock: Clock = time.perf_counter,
) -> None:
    """Time all ``calls`` in turn, round by round, every other round in reverse order.

    They have been called before, so that nothing is built, compiled or loaded any more.

    Parameters
    ----------
    calls : sequence of Timed
        What to time; their ``seconds``, ``count`` and ``events`` are filled in.
    effort : Effort
        How often, and how long.
    watched : callable, optional
        A count, read before and after each timing: of compilations, for one.
    clock : callable, optional
        Seconds.
    """
    planned = {}
    for call in calls:
        duration = _once(call, clock) if call.duration is None else call.duration
        call.count, planned[call] = effort.count_of(duration), effort.rounds_of(duration)
    for i in range(effort.rounds):
        for call in calls if i % 2 == 0 else reversed(calls):
            if i < planned[call]:
                _time(call, watched, clock)


def _once(call: Timed, clock: Clock) -> float:
    with call.scope():
        start = clock()
        call.run()
        return clock() - start


def _time(call: Timed, watched: Callable[[], int], clock: Clock) -> None:
    run, repeats = call.run, range(call.count)
    before = watched()
    with call.scope():
        if call.count > 1:
            # What ran before has left its own in the caches.
            run()
        start = clock()
        for _ in repeats:
            run()
        elapsed = clock() - start
    call.seconds.append(elapsed / call.count)
    call.events += watched() - before


def spread(numbers: Sequence[float]) -> Spread:
    """Median and quartiles of one number or more."""
    if len(numbers) == 1:
        return Spread(numbers[0], numbers[0], numbers[0])
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return Spread(middle, low, high)


def ratio(first: Timed, second: Timed) -> Spread:
    """Time of ``first`` over that of ``second``, round by round."""
    pairs = zip(first.seconds, second.seconds, strict=False)
    return spread([a / b for a, b in pairs])
