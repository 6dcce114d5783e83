"""Measure derivatives by several backends in turn: one row for each."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

import diffface as dif
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.numpy_arrays import NUMPY
from diffface.backends.registry import ROWS, Backend, resolve
from diffface.benchmark import flags as _flags
from diffface.benchmark.by_hand.library import library_tools
from diffface.benchmark.contestants import Contestant, first_line
from diffface.benchmark.flags import Flag, KnownResult, agreed, error, extrapolated, tolerance
from diffface.benchmark.problems import Problem
from diffface.benchmark.report import Benchmark
from diffface.benchmark.row import Measurement, break_even, machine
from diffface.benchmark.task import Task, own
from diffface.benchmark.timing import Effort, interleave, numbers, ratio, spread
from diffface.prep.arguments.const import plain
from diffface.testing.case import FIXED_POINT, FUNCTIONS, named

References = Mapping[str, Mapping[str, Callable[..., Any]]]


def measure(
    case: Task,
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


def _reference(case: Task, contestants: Sequence[Contestant], given: Any) -> KnownResult:
    if given is not None:
        return KnownResult(numbers(given), "given")
    exact = [c.result for c in contestants if not c.adapter.black_box]
    found = agreed(exact)
    if found.numbers is not None:
        return found
    if not contestants:
        return found
    seeds = case.seeds(own(contestants[0].y, NUMPY), NUMPY)
    operator = getattr(dif, case.function)
    return extrapolated(operator, case.f, case.args, case.inputs, seeds)


def _row(found: Contestant, reference: KnownResult, effort: Effort) -> Measurement:
    call, hand, function = found.prepared, found.hand, found.function
    time = spread(call.seconds)
    by_hand = ratio(call, hand) if hand else None
    wrong, flags = _checked(found, reference)
    flags += found.flags
    for whose, timed in (("The prepared call", call), ("The code by hand", hand)):
        if timed is not None:
            flags += _flags.recompiles(whose, timed.events, timed.count * len(timed.seconds))
    flags += _flags.noisy(time, *([by_hand] if by_hand else []))
    flags += _flags.few_rounds(len(call.seconds), effort.rounds)
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


def _checked(found: Contestant, reference: KnownResult) -> tuple[float | None, list[Flag]]:
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


def _failed(case: Task, label: str, error: Exception) -> Measurement:
    return Measurement(
        problem=case.name, size=case.size, operator=case.function, backend=label,
        inputs=case.inputs, flags=("failed",), notes=first_line(error),
    )  # fmt: skip


def benchmark(
    f: Callable[..., Any] | Problem,
    /,
    *args: Any,
    backends: Sequence[str | Backend] | None = None,
    operators: Sequence[str] | None = None,
    sizes: Sequence[tuple[int, ...]] | None = None,
    by_hand: References | None = None,
    reference: Any = None,
    effort: Effort | None = None,
    progress: Callable[[str], None] | None = None,
) -> Benchmark:
    """Measure derivatives by several backends, each beside the same written by hand.

    Every backend gets arrays of its own library, made before anything is timed, and every call is
    timed until its result is there. All calls of a case take turns, so that a drift of the machine
    hits all of them alike; ratios are paired round by round.

    Parameters
    ----------
    f : callable or Problem
        The function; or one of :mod:`diffface.benchmark.problems`, which brings its arguments.
    *args : array, number, or tree of them; Const
        Arguments of ``f``, as for :func:`diffface.gradient`; none for a problem.
    backends : sequence of str or backend object, optional
        Who differentiates. By default all that are installed.
    operators : sequence of str, optional
        Such as ``"gradient"``, ``"hvp"`` or ``"value_and_gradient"``. By default that of the
        problem, or the gradient of a function with one result and the Jacobian of others. Tangents
        and cotangents are made up.
    sizes : sequence of tuple of int, optional
        For a problem: at which sizes. By default its smallest.
    by_hand : mapping of str to mapping of str to callable, optional
        What to compare with in place of the code that comes with a backend:
        ``by_hand[backend][operator](*args)``, after the arguments the tangents or cotangents.
        For a function of one's own best code, or a backend that comes without.
    reference : tree of arrays, optional
        The right answer, if it is known, for one operator at one size. By default the median of
        the backends that are exact, or extrapolated differences if there is only one.
    effort : Effort, optional
        How thoroughly to measure.
    progress : callable, optional
        Is told, in words, what is done next.

    Returns
    -------
    Benchmark
        One row for each operator, size and backend. ``str`` of it is a table.

    Raises
    ------
    InvalidArgumentError
        If an operator does not exist, or options contradict each other.
    UnknownBackendError, BackendNotAvailableError
        If a backend does not exist, or is not installed.

    Notes
    -----
    The code written by hand is that of one who knows the framework: ``jax.jit(jax.grad(f))`` built
    once, ``torch.autograd.grad``, ``autograd.grad``, SciPy's ``approx_derivative``; it stands in
    ``diffface/benchmark/by_hand``. Frameworks are set up as by one who works with them, with
    64 bits on JAX for instance.

    Examples
    --------
    >>> import numpy as np
    >>> from diffface.testing import Effort, benchmark
    >>> report = benchmark(
    ...     lambda x: (x**3).sum(), np.ones(4), backends=["autograd", "numpy"],
    ...     effort=Effort(rounds=3, seconds=0.001),
    ... )
    >>> [(row.backend, row.strategy, row.evaluations) for row in report.rows]
    [('autograd', 'program', 0), ('numpy', 'stencil', 8)]
    """
    chosen = _backends(backends)
    cases = _cases(f, args, operators, sizes)
    if reference is not None and len(cases) != 1:
        raise InvalidArgumentError(
            "`reference` is the answer of one operator at one size, got "
            f"{len(cases)} cases; call benchmark once for each."
        )
    rows = []
    say = progress or (lambda _: None)
    for case in cases:
        rows += measure(case, chosen, by_hand or {}, reference, effort or Effort(), say)
    return Benchmark(tuple(rows), machine())


def _backends(asked: Sequence[str | Backend] | None) -> dict[str, Backend]:
    found = named([asked] if isinstance(asked, str) else asked)
    if not found:
        raise InvalidArgumentError("`backends` must name at least one backend, got none.")
    return found


def _cases(
    f: Callable[..., Any] | Problem,
    args: tuple[Any, ...],
    operators: Sequence[str] | None,
    sizes: Sequence[tuple[int, ...]] | None,
) -> list[Task]:
    if isinstance(f, Problem):
        if args:
            raise InvalidArgumentError(
                "A problem brings its arguments: pass `sizes` in their place."
            )
        names = _operators(operators, f.operator)
        points = {"x".join(map(str, s)): f.make_args(s, 0) for s in sizes or f.sizes[:1]}
        return [Task(f.name, s, f.f, a, name) for name in names for s, a in points.items()]
    if sizes is not None:
        raise InvalidArgumentError("`sizes` are for problems: a function comes with its arguments.")
    if not callable(f):
        raise InvalidArgumentError(
            f"`f` must be a function or a problem, got {type(f).__name__}; the function comes "
            "first, then its arguments."
        )
    usual = "gradient" if operators else first_operator(f, args)
    name = getattr(f, "__name__", type(f).__name__)
    cases = [Task(name, "", f, args, operator) for operator in _operators(operators, usual)]
    return [case._replace(size=str(case.inputs)) for case in cases]


def first_operator(f: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """The first derivative that fits what ``f`` returns."""
    y = f(*plain(args))
    return "gradient" if np.shape(y) == () and numbers(y).size == 1 else "jacobian"


def _operators(asked: Sequence[str] | None, usual: str) -> list[str]:
    known = [name for name in FUNCTIONS if name not in FIXED_POINT]
    names = [asked] if isinstance(asked, str) else list([usual] if asked is None else asked)
    for name in names:
        if name not in known:
            raise InvalidArgumentError(
                f"`operators` must be among {', '.join(map(repr, known))}, got {name!r}."
            )
    if not names:
        raise InvalidArgumentError("`operators` must name at least one operator, got none.")
    return names
