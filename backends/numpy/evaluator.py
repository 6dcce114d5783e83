"""How finite differences evaluate ``f``: one point after the other, at once, or by workers."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np

from diffface.backends.adapter import Function, Pull
from diffface.backends.compiled import Array, Arrays, Program
from diffface.backends.errors import InvalidArgumentError, NotDifferentiableError
from diffface.backends.numpy.workers import Map, Task, map_of


class Evaluate(Protocol):
    """Evaluates ``f`` at many points, in order; None where it fails, if ``lenient``."""

    def __call__(self, points: Sequence[Arrays], *, lenient: bool = False) -> Iterator[Any]: ...


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
                values = of_batch(f, tuple(map(np.stack, zip(*chunk, strict=True))))[0]
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


def evaluator(f: Function, chunk_size: int | None, vectorized: bool, workers: Any) -> Evaluate:
    """Whichever of these the options of finite differences ask for."""
    if vectorized:
        return at_once(f, chunk_size)
    mapping = map_of(workers)
    if mapping is not None and hasattr(f, "arguments"):
        return by_workers(f, mapping)
    return one_by_one(f)


# Whether the points of a batch influence each other


class _Compared(BaseException):
    """Nothing else of a derivation is wanted."""


_COMPARES: ContextVar[bool] = ContextVar("compares", default=False)


def check_vectorized(program: Program, examples: Arrays) -> None:
    """Raise NotDifferentiableError if what ``program`` evaluates in batches does not take them.

    It runs as far as `compare`, at its first batch.
    """
    token = _COMPARES.set(True)
    try:
        program(*examples)
    except _Compared:
        pass
    finally:
        _COMPARES.reset(token)


def compare(f: Function, x: Arrays, elsewhere: Arrays) -> None:
    """Where `check_vectorized` asks for it, compare ``f`` of two points with ``f`` of each."""
    if not _COMPARES.get():
        return
    try:
        with np.errstate(all="ignore"):  # f need not be defined there
            pair = tuple(map(np.stack, zip(x, elsewhere, strict=True)))
            parts = [f(tuple(a[i : i + 1] for a in pair))[0] for i in range(2)]
            agree = all(map(_agree, f(pair)[0], *parts))
    except Exception:  # noqa: BLE001 - the derivation itself will say it, where it is one
        agree = True
    if agree:
        raise _Compared
    raise NotDifferentiableError(
        "`f` is not vectorized over points, as vectorized=True says: at two points together it "
        "returns other numbers than at each of them. Sum over the axes of a point alone, such as "
        "axis=-1, or leave vectorized=True out."
    )


def _agree(together: Array, first: Array, second: Array) -> bool:
    """Whether both results are those of their points alone, but for rounding and iterations."""
    alone = np.concatenate([first, second])
    if not np.all(np.isfinite(alone)):
        return True
    allowed = 1e-2 * np.abs(alone[1:] - alone[:1]).max(initial=0.0)
    return bool(
        np.allclose(together, alone, 1e-5, max(allowed, 1e-5 * np.abs(alone).max(initial=0.0)))
    )


# Many points in step


class _Asked(BaseException):
    """A derivation asks for ``f`` at a batch, and begins anew once that is known."""

    def __init__(self, f: Function, batch: Arrays) -> None:
        super().__init__()
        self.f = f
        self.batch = batch


class _Known:
    """What ``f`` is at the batches that one derivation asks for, in order."""

    def __init__(self) -> None:
        self._answers: list[Any] = []
        self._count = 0

    def begin(self) -> None:
        self._count = 0

    def add(self, answer: Any) -> None:
        self._answers.append(answer)

    def ask(self, f: Function, batch: Arrays) -> tuple[Arrays, Arrays]:
        if self._count == len(self._answers):
            raise _Asked(f, batch)
        answer = self._answers[self._count]
        self._count += 1
        if isinstance(answer, Exception):
            raise answer
        y, aux = answer
        return y, aux


_KNOWN: ContextVar[_Known | None] = ContextVar("known", default=None)


def of_batch(f: Function, batch: Arrays) -> tuple[Arrays, Arrays]:
    """``f`` of a batch: at once, or together with other derivations of `in_step`."""
    known = _KNOWN.get()
    if known is not None:
        return known.ask(f, batch)
    y, aux = f(batch)
    count = len(batch[0])
    for a in y:
        if np.shape(a)[:1] != (count,):
            raise NotDifferentiableError(
                "`f` must take a batch because of vectorized=True: for arguments with a leading "
                f"axis of {count} points it must return results with such an axis, got shape "
                f"{np.shape(a)}."
            )
    return y, aux


def in_step(call: Pull, points: Arrays, chunk_size: int | None) -> list[Arrays]:
    """What ``call`` returns at each point, where it asks for a vectorized function at batches.

    What it asks for first at all points (or at ``chunk_size`` of them) is evaluated in one call,
    then what it asks for next.
    """
    size = len(points[0])
    step = chunk_size or size
    return [
        result
        for start in range(0, size, step)
        for result in _in_step(call, [a[start : start + step] for a in points])
    ]


def _in_step(call: Pull, points: Sequence[Array]) -> list[Arrays]:
    size = len(points[0])
    known = [_Known() for _ in range(size)]
    results: list[Arrays] = [()] * size
    waiting: Sequence[int] = range(size)
    while waiting:
        asked: dict[int, _Asked] = {}
        for i in waiting:
            known[i].begin()
            token = _KNOWN.set(known[i])
            try:
                results[i] = call(tuple([a[i, ...] for a in points]))
            except _Asked as ask:
                asked[i] = ask
            finally:
                _KNOWN.reset(token)
        for i, answer in zip(asked, _answers([*asked.values()]), strict=True):
            known[i].add(answer)
        waiting = [*asked]
    return results


def _answers(asked: Sequence[_Asked]) -> list[Any]:
    """For each of them what ``f`` returns, or the exception that it raises."""
    if not asked:
        return []
    columns = zip(*(ask.batch for ask in asked), strict=True)
    try:
        y, aux = of_batch(asked[0].f, tuple(map(np.concatenate, columns)))
    except Exception as error:  # noqa: BLE001 - it is raised where it belongs
        return [error] if len(asked) == 1 else [_answers([ask])[0] for ask in asked]
    answers, start = [], 0
    for ask in asked:
        part = slice(start, start := start + len(ask.batch[0]))
        answers.append((part_of(y, part), part_of(aux, part)))
    return answers


def of_one(f: Function, x: Arrays) -> tuple[Arrays, Arrays]:
    """A vectorized function at one point."""
    y, aux = of_batch(f, tuple([a[None] for a in x]))
    return part_of(y, 0), part_of(aux, 0)


def part_of(batch: Arrays, part: Any) -> Arrays:
    """One or some of the results at a batch of points; a number is the same for all of them."""
    return tuple([a[part] if np.ndim(a) else a for a in batch])
