"""One case measured with all backends in turn, and the rows that this makes."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

import diffface as dif
from diffface.backends.arrays import NUMPY
from diffface.backends.registry import ROWS, Backend, resolve
from diffface.benchmark import flags as _flags
from diffface.benchmark.accuracy import (
    Reference,
    agreed,
    error,
    extrapolated,
    tolerance,
)
from diffface.benchmark.asynchrony import numbers
from diffface.benchmark.by_hand.table import library_tools
from diffface.benchmark.case import Case, own
from diffface.benchmark.flags import Flag
from diffface.benchmark.measured_call import Contestant, _line
from diffface.benchmark.row import Measurement, break_even
from diffface.benchmark.timing import Effort, interleave, ratio, spread

References = Mapping[str, Mapping[str, Callable[..., Any]]]


def measure(
    case: Case,
    backends: Mapping[str, Backend],
    by_hand: References,
    reference: Any,
    effort: Effort,
    say: Callable[[str], None],
) -> list[Measurement]:
    """One row for each backend, in their order."""
    rows: dict[str, Measurement] = {}
    contestants = []
    for label, backend in backends.items():
        say(f"{case.title}: preparing {label}")
        try:
            contestants.append(Contestant(case, label, backend, by_hand.get(label, {})))
        except Exception as error:  # noqa: BLE001 - whatever f or a framework raises is a finding
            rows[label] = _failed(case, label, error)
    say(f"{case.title}: timing {', '.join(c.label for c in contestants)}")
    with _compilations() as compiled:
        calls = [call for contestant in contestants for call in contestant.calls]
        interleave(calls, effort, compiled)
    say(f"{case.title}: checking the results")
    known = _reference(case, contestants, reference)
    rows |= {c.label: _row(c, known, effort) for c in contestants}
    return [rows[label] for label in backends]


@contextmanager
def _compilations() -> Iterator[Callable[[], int]]:
    """A count of what the libraries that are loaded have compiled since."""
    with ExitStack() as stack:
        loaded = [
            name for name, row in ROWS.items() if row.needs and set(row.needs) <= {*sys.modules}
        ]
        counts = [
            stack.enter_context(library_tools(resolve(name).first_order()).compilations())
            for name in loaded
        ]
        yield lambda: sum(count() for count in counts)


def _reference(case: Case, contestants: Sequence[Contestant], given: Any) -> Reference:
    if given is not None:
        return Reference(numbers(given), "given")
    exact = [c.result for c in contestants if not c.adapter.black_box]
    found = agreed(exact)
    if found.numbers is not None:
        return found
    if not contestants:
        return found
    seeds = case.seeds(own(contestants[0].y, NUMPY), NUMPY)
    operator = getattr(dif, case.function)
    return extrapolated(operator, case.f, case.args, case.inputs, seeds)


def _row(found: Contestant, reference: Reference, effort: Effort) -> Measurement:
    call, hand, function = found.prepared, found.hand, found.function
    time = spread(call.seconds)
    by_hand = ratio(call, hand) if hand else None
    wrong, flags = _checked(found, reference)
    flags += found.flags
    for whose, timed in (("The prepared call", call), ("The code by hand", hand)):
        if timed is not None:
            flags += _flags.recompiles(whose, timed.events, timed.count * len(timed.seconds))
    flags += _flags.noisy("the time", time)
    flags += _flags.noisy("the ratio", by_hand) if by_hand else []
    flags += _flags.few(len(call.seconds), effort.rounds)
    case, unprepared = found.case, spread(found.unprepared.seconds).median
    return Measurement(
        problem=case.name, size=case.size, operator=case.function, backend=found.label,
        inputs=case.inputs, strategy=found.strategy,
        preparation=found.preparation, first_call=found.first_call,
        time=time.median, time_low=time.low, time_high=time.high,
        by_hand=spread(hand.seconds).median if hand else None, by_hand_first=found.by_hand_first,
        ratio=by_hand.median if by_hand else None,
        ratio_low=by_hand.low if by_hand else None, ratio_high=by_hand.high if by_hand else None,
        function=spread(function.seconds).median, over_function=ratio(call, function).median,
        unprepared=unprepared, break_even=break_even(found.preparation, unprepared, time.median),
        evaluations=found.evaluations, error=wrong, checked=reference.source,
        rounds=len(call.seconds), flags=tuple(dict.fromkeys(flag.name for flag in flags)),
        notes=" ".join(flag.sentence for flag in flags),
    )  # fmt: skip


def _checked(found: Contestant, reference: Reference) -> tuple[float | None, list[Flag]]:
    """Error of the prepared call, and what is to be said of it and of the code by hand."""
    wanted = reference.numbers
    if wanted is None:
        return None, _flags.unchecked()
    dtype = np.result_type(*found.case.active_leaves())
    allowed = tolerance(dtype, found.adapter.black_box)
    wrong = error(found.result, wanted)
    flags = _flags.disagrees("The result", wrong, allowed, reference.source)
    if found.by_hand_result is not None:
        flags += _flags.disagrees(
            "The result by hand", error(found.by_hand_result, wanted), allowed, reference.source
        )
    return (wrong if np.isfinite(wrong) else None), flags


def _failed(case: Case, label: str, error: Exception) -> Measurement:
    return Measurement(
        problem=case.name, size=case.size, operator=case.function, backend=label,
        inputs=case.inputs, flags=("failed",), notes=_line(error),
    )  # fmt: skip
