"""Timing of calls in turn, until their results are there."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import NUMPY_SCALAR, PYTHON
from diffface.prep.arguments.tree import SORTED, flatten, leaves_of

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


# Fraction of a call's time spent after it returned that marks it as asynchronous.
PART = 0.2
# Below this, in seconds, nothing can be told.
LEAST = 5e-5
# What is there as soon as a call has returned it.
DONE = (np.ndarray, np.generic, complex, float, int)
# Calls that take longer than this, in seconds, are tried once only.
SLOW = 0.05


def waiting(call: Callable[[], Any], result: Any) -> Callable[[], Any]:
    """``call``, returning once its result is there; ``result`` is an example of that."""
    kind = library_of(result)
    if kind in (PYTHON, NUMPY_SCALAR):
        return call
    if kind is not None:
        return _wait_for_one(call, kind.wait)
    kinds = {library_of(leaf) for leaf in leaves_of(result)}
    if not any(kind and type(kind).wait is not ArrayLibrary.wait for kind in kinds):
        return call
    return lambda: wait(call())


def _wait_for_one(call: Callable[[], Any], wait: Callable[[Any], None]) -> Callable[[], Any]:
    def waited() -> Any:
        result = call()
        wait(result)
        return result

    return waited


def wait(result: Any) -> Any:
    """``result``, once all of it is computed."""
    for leaf in leaves_of(result):
        if (kind := library_of(leaf)) is not None:
            kind.wait(leaf)
    return result


class First(NamedTuple):
    """A first call.

    Attributes
    ----------
    result : tree of arrays
        What it returned.
    numbers : array
        The same as one NumPy vector.
    duration, fetch : float
        Seconds until it was there, and to fetch it to NumPy after that.
    """

    result: Any
    numbers: Any
    duration: float
    fetch: float


def first(call: Callable[[], Any]) -> First:
    """Call for the first time."""
    start = time.perf_counter()
    result = wait(call())
    there = time.perf_counter()
    vector = numbers(result)
    return First(result, vector, there - start, time.perf_counter() - there)


def lag(call: Callable[[], Any], tried: First) -> tuple[float, float]:
    """Seconds that ``call`` takes, and seconds of work that go on after it has returned.

    The result is fetched to NumPy at once, and once more after a pause in which all of it must
    have been done: where the first takes longer, something was still going on. Nothing is called
    where the first call had nothing left to do, or returned NumPy's arrays: they are there at once.
    """
    if all(isinstance(leaf, DONE) for leaf in flatten(tried.result, SORTED)[0]):
        return tried.duration, 0.0
    if tried.fetch <= max(LEAST, PART * tried.duration):
        return tried.duration, 0.0
    repeats = 5 if tried.duration + tried.fetch < SLOW else 1
    at_once = [_fetched(call, 0.0) for _ in range(repeats)]
    duration, fetch = (statistics.median(column) for column in zip(*at_once, strict=True))
    late = [_fetched(call, 2 * (duration + fetch))[1] for _ in range(repeats)]
    behind = fetch - statistics.median(late)
    return duration, behind if behind > max(LEAST, PART * duration) else 0.0


def _fetched(call: Callable[[], Any], pause: float) -> tuple[float, float]:
    """Seconds of a call, and, after a pause, of fetching its result."""
    start = time.perf_counter()
    result = call()
    duration = time.perf_counter() - start
    time.sleep(pause)
    start = time.perf_counter()
    numbers(result)
    return duration, time.perf_counter() - start


def numbers(result: Any) -> Any:
    """All numbers of a result, as one NumPy vector."""
    parts = [np.ravel(_to_numpy(leaf)) for leaf in flatten(result, SORTED)[0]]
    return np.concatenate(parts) if parts else np.zeros(0)


def _to_numpy(leaf: Any) -> Any:
    kind = library_of(leaf)
    return np.asarray(leaf) if kind is None else kind.to_numpy(leaf)
