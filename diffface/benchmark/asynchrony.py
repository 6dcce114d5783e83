"""Waiting for results: a call is over when its result is there, not when it returns."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.arrays import NUMPY_SCALAR, PYTHON, ArrayLibrary, library_of
from diffface.prep.arguments.tree import leaves_of

# A call that goes on for this part of its time after it has returned is not over.
PART = 0.2
# Below this, in seconds, nothing can be told.
LEAST = 5e-5
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
    where the first call had nothing left to do.
    """
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
    parts = [np.ravel(_to_numpy(leaf)) for leaf in leaves_of(result)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _to_numpy(leaf: Any) -> Any:
    kind = library_of(leaf)
    return np.asarray(leaf) if kind is None else kind.to_numpy(leaf)
