"""Contestants: a derivative by one backend beside the same by hand, both ready to be timed."""

import functools
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import CodeType, FrameType, MethodType
from typing import Any

import numpy as np

import diffface as dif
from diffface.backends.adapter import Adapter
from diffface.backends.errors import PreparationWarning
from diffface.backends.registry import Backend
from diffface.benchmark import flags as _flags
from diffface.benchmark.by_hand.library import Example, library_tools
from diffface.benchmark.flags import Flag
from diffface.benchmark.task import Task, as_array, own
from diffface.benchmark.timing import First, Timed, first, lag, numbers, wait, waiting
from diffface.operators.call import prepare_value
from diffface.prep.arguments.const import plain
from diffface.prep.prepared import Prepared
from diffface.testing.case import ORDER, operator_of


def evaluations(f: Callable[..., Any], call: Callable[[], Any]) -> int | None:
    """How often ``call()`` enters ``f``; None if ``f`` is not made of Python code."""
    code = _code(f)
    if code is None:
        return None
    count = 0

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_code is code

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count


def _code(f: Any) -> CodeType | None:
    while isinstance(f, functools.partial):
        f = f.func
    if isinstance(f, MethodType):
        f = f.__func__
    found = getattr(f, "__code__", None) or getattr(type(f).__call__, "__code__", None)
    return found if isinstance(found, CodeType) else None


# What is cheap is done again, for a median: so often, and within so many seconds.
AGAIN, PATIENCE = 5, 0.3
# Seconds that make a call so slow that none is made for nothing.
SLOW = 1.0


class Contestant:
    """A case prepared by one backend; raises whatever ``f`` or the backend raises.

    Parameters
    ----------
    case : Task
        What to prepare.
    label : str
        What reports call the backend.
    backend : Adapter or SecondOrder
        Who differentiates.
    by_hand : mapping of str to callable
        The user's own references, by the name of the function of diffface.
    """

    def __init__(
        self, case: Task, label: str, backend: Backend, by_hand: Mapping[str, Callable[..., Any]]
    ) -> None:
        self.case, self.label, self.backend = case, label, backend
        self.order = ORDER[operator_of(case.function)]
        self.adapter = adapter = (
            backend.second_order()[0] if self.order == 2 else backend.first_order()
        )
        self.flags: list[Flag] = []
        self._args = own(case.args, adapter.arrays)
        self._plain = plain(self._args)
        with self.scope():
            self._prepare()
            self._write_by_hand(by_hand.get(case.function))

    def scope(self) -> AbstractContextManager[object]:
        """What the backend's library needs, as one who works with it has set it up for good."""
        return self.adapter.scope([np.asarray(leaf).dtype for leaf in self.case.active_leaves()])

    @property
    def calls(self) -> list[Timed]:
        """What is timed: the derivative, by hand if there is code, the function, unprepared."""
        calls = (self.prepared, self.hand, self.function, self.unprepared)
        return [call for call in calls if call is not None]

    def _prepare(self) -> None:
        case, backend = self.case, self.backend
        prepare = getattr(dif, f"prepare_{case.function}")
        with _recorded() as reasons:
            # First, so that what a framework does once in a process is over.
            try:
                value = prepare_value(case.f, *self._args, backend=backend)
                self.y = value(*self._plain)
            except Exception:
                # The derivative says better what is wrong with f.
                prepare(case.f, *self._args, backend=backend)
                raise
            self.preparation, prepared = _seconds(
                lambda: prepare(case.f, *self._args, backend=backend)
            )
            self.strategy = prepared.strategy
            self._seeds = case.seeds(self.y, self.adapter.arrays)
            found = first(lambda: prepared(*self._plain, **self._seeds))
        self.flags += _flags.eager(self.strategy, reasons[-1] if reasons else "")
        self.result, self.first_call = found.numbers, found.duration
        self._set_up(prepared, value, found)

    def _set_up(self, prepared: Prepared, value: Prepared, found: First) -> None:
        """The calls that are timed."""
        f, args, seeds = self.case.f, self._plain, self._seeds
        call = (lambda: prepared(*args, **seeds)) if seeds else (lambda: prepared(*args))
        operator, options = getattr(dif, self.case.function), {"backend": self.backend, **seeds}
        self.prepared = self._timed(call, found, "The prepared call")
        self.function = self._timed(
            lambda: value(*args), first(lambda: value(*args)), "The function"
        )
        self.unprepared = Timed(lambda: wait(operator(f, *self._args, **options)), self.scope)
        if found.duration < SLOW:
            # Frameworks compile even single operations at their first use.
            self.unprepared.run()
        else:
            self.prepared.duration = self.unprepared.duration = found.duration
        self.evaluations = evaluations(f, call)
        self.flags += _flags.retraced(self.strategy, self.evaluations)

    def _write_by_hand(self, given: Callable[..., Any] | None) -> None:
        self.hand: Timed | None = None
        self.by_hand_first: float | None = None
        self.by_hand_result: Any = None
        try:
            call = self._by_hand(given)
            if call is None:
                self.flags.append(
                    Flag("no_reference", "There is no code by hand to compare it with.")
                )
                return
            found = first(call)
            self.by_hand_first, self.by_hand_result = found.duration, found.numbers
            self.hand = self._timed(call, found, "The code by hand")
        except Exception as error:  # noqa: BLE001 - it calls the user's f, on a framework's arrays
            self.flags.append(Flag("no_reference", f"The code by hand failed: {first_line(error)}"))

    def _by_hand(self, given: Callable[..., Any] | None) -> Callable[[], Any] | None:
        if given is not None:
            seeds = list(self._seeds.values())
            return lambda: given(*self._plain, *seeds)
        # A combination of two backends is nobody's own.
        if not isinstance(self.backend, Adapter):
            return None
        tools, name, kind = library_tools(self.backend), self.case.function, self.adapter.arrays
        # To a number's derivative, everybody comes by a pushforward along one.
        along_one = name == "derivative"
        make = tools.by_hand(self.backend).get("pushforward" if along_one else name)
        tall = numbers(self.y).size > self.case.inputs
        (seed,) = self._seeds.values() or (None,)
        if "tangents" in self._seeds and len(self.case.active) == 1:
            seed = (seed,)
        if along_one:
            seed = tuple(1.0 for _ in self.case.active)
        example = Example(self.case.f, self._plain, self.case.active, seed, tall, self.y)
        return None if make is None else make(example.by_leaf(lambda x: as_array(x, kind)))

    def _timed(self, call: Callable[[], Any], found: First, whose: str) -> Timed:
        waited = waiting(call, found.result)
        self.flags += _flags.unblocked(whose, *lag(waited, found))
        return Timed(waited, self.scope)


def _seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Median of a few calls, or of one slow one, and the last result."""
    times: list[float] = []
    while not times or (len(times) < AGAIN and sum(times) < PATIENCE):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


@contextmanager
def _recorded() -> Iterator[list[str]]:
    """What preparations warn about, in place of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PreparationWarning)
        reasons: list[str] = []
        yield reasons
    reasons += [str(w.message) for w in caught if w.category is PreparationWarning]
    for w in caught:
        if w.category is not PreparationWarning:
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)


def first_line(error: Exception) -> str:
    """The first line of an error."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
