"""How finite differences evaluate ``f``: one point after the other, at once, or by workers."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from diffface.backends.adapter import Function
from diffface.backends.compiled import Arrays
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.numpy.differences import Evaluate
from diffface.backends.numpy.workers import Map, Task


def one_by_one(f: Function) -> Evaluate:
    """Each point in a call of its own."""

    def evaluate(points: Sequence[Arrays], *, lenient: bool = False) -> Iterator[Any]:
        for point in points:
            try:
                y = f(point)[0]
            except Exception:
                if not lenient:
                    raise
                yield None
            else:
                yield y

    return evaluate


def at_once(f: Function, chunk_size: int | None) -> Evaluate:
    """All points in one call of a vectorized function, or ``chunk_size`` at a time."""

    def evaluate(points: Sequence[Arrays], *, lenient: bool = False) -> Iterator[Any]:
        size = chunk_size or len(points)
        for start in range(0, len(points), size):
            chunk = points[start : start + size]
            try:
                values = f(tuple(map(np.stack, zip(*chunk, strict=True))))[0]
            except Exception:
                if not lenient:
                    raise
                yield from [None] * len(chunk)
            else:
                yield from zip(*values, strict=True)

    return evaluate


def by_workers(f: Any, mapping: Map) -> Evaluate:
    """Calls of the user's function by ``mapping``; all else happens in this process."""

    def evaluate(points: Sequence[Arrays], *, lenient: bool = False) -> Iterator[Any]:
        calls = [f.arguments(point) for point in points]
        # What wraps a user's function may hold the workers themselves, which cannot be sent.
        task = Task(getattr(f.f, "evaluation", f.f), lenient)
        for point, returned in zip(points, mapping(task, calls), strict=True):
            if isinstance(returned, Future) or hasattr(returned, "add_done_callback"):
                raise InvalidArgumentError(
                    "`workers` must have a map that returns results, got futures; of a dask "
                    "client, pass `client.get_executor()`."
                )
            yield None if lenient and returned is None else f.taken(returned, point)[0]

    return evaluate
