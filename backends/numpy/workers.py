"""Evaluations in other processes, by whatever has a map."""

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Any

from diffface.backends.errors import InvalidArgumentError

# Calls a function on each of the arguments, in order.
Map = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]

# By process, since a pool does not survive a fork, and size.
_pools: dict[tuple[int, int], ProcessPoolExecutor] = {}


def check(workers: object) -> None:
    """Refuse what cannot evaluate."""
    whole = isinstance(workers, int) and not isinstance(workers, bool)
    if workers is None or (whole and (workers == -1 or workers > 0)):  # type: ignore[operator]
        return
    if whole or not (callable(workers) or callable(getattr(workers, "map", None))):
        raise InvalidArgumentError(
            "`workers` must be a number of processes (-1 for one on each processor), a function "
            f"like `map`, or an executor or pool that has one, got {workers!r}."
        )


def map_of(workers: Any) -> Map | None:
    """How ``workers`` map; None where evaluations stay in this process."""
    if workers is None or workers == 1:
        return None
    if not isinstance(workers, int):
        mapping: Map = getattr(workers, "map", workers)
        return mapping
    count = (os.cpu_count() or 1) if workers == -1 else workers
    return None if count == 1 else _pooled(count)


def _pooled(count: int) -> Map:
    """The map of a pool that is made once and kept: to start a process takes long."""

    def mapping(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        key = (os.getpid(), count)
        if key not in _pools:
            methods = multiprocessing.get_all_start_methods()
            # A fork of a process with threads, as those of the libraries, may hang.
            method = "forkserver" if "forkserver" in methods else "spawn"
            context = multiprocessing.get_context(method)
            _pools[key] = ProcessPoolExecutor(count, mp_context=context)
        try:
            yield from _pools[key].map(function, items)
        except BrokenExecutor:
            _pools.pop(key).shutdown(wait=False)
            raise

    return mapping


class Task:
    """``f(*args, **kwargs)`` for a pair of them; None where it fails, if ``lenient``.

    It is pickled by cloudpickle where that is installed, which knows lambdas and closures.
    """

    __slots__ = ("_f", "_lenient")

    def __init__(self, f: Callable[..., Any], lenient: bool) -> None:
        self._f = f
        self._lenient = lenient

    def __call__(self, call: tuple[Sequence[Any], dict[str, Any]]) -> Any:
        args, kwargs = call
        try:
            return self._f(*args, **kwargs)
        except Exception:
            if self._lenient:
                return None
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            from cloudpickle import dumps
        except ImportError:
            dumps = pickle.dumps
        return _unpickled, (dumps((self._f, self._lenient)),)


def _unpickled(data: bytes) -> Task:
    return Task(*pickle.loads(data))  # noqa: S301 - what __reduce__ has written
