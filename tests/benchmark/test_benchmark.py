"""The benchmark: what it measures, what it flags, and the forms of its report. Never how fast."""

import csv
import dataclasses
import functools
import io
import itertools
import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from helpers import ROOT
from lawful import NAMES

import diffface as dif
from diffface.backends.compiled import Compiled
from diffface.backends.numpy_arrays import NumPyArrays
from diffface.benchmark import problems
from diffface.benchmark.contestants import evaluations
from diffface.benchmark.flags import FLAGS, agreed, error, tolerance
from diffface.benchmark.row import COLUMNS, break_even, digits, duration
from diffface.benchmark.timing import Timed, interleave, ratio, spread
from diffface.testing import Benchmark, Effort, Measurement, benchmark

QUICK = Effort(rounds=1, seconds=0.0)
X = np.array([0.5, -1.0, 2.0])
AD = ["jax", "torch", "autograd"]


def cube(x: Any) -> Any:
    return dif.namespace(x).sum(x**3)


def only(report: Benchmark) -> Measurement:
    (row,) = report.rows
    return row


# What is measured


@pytest.fixture(scope="module")
def report() -> Benchmark:
    return benchmark(cube, X, operators=["gradient", "hvp"], effort=Effort(rounds=5, seconds=1e-4))


def test_one_row_for_each_operator_and_backend(report: Benchmark) -> None:
    found = [(row.operator, row.backend) for row in report.rows]
    assert found == [(operator, name) for operator in ("gradient", "hvp") for name in NAMES]
    assert {(row.problem, row.size, row.inputs) for row in report.rows} == {("cube", "3", 3)}


def test_rows_are_complete(report: Benchmark) -> None:
    """Only a preparation that never pays, and notes that nothing calls for, may be missing."""
    for row in report.rows:
        values = dataclasses.asdict(row)
        assert [name for name, value in values.items() if value is None] in ([], ["break_even"])
        assert row.time_low <= row.time <= row.time_high
        assert row.ratio_low <= row.ratio <= row.ratio_high
        assert row.rounds == 5


def test_results_agree(report: Benchmark) -> None:
    assert {row.checked for row in report.rows} == {"agreed"}
    assert not any({"disagrees", "failed", "no_reference"} & {*row.flags} for row in report.rows)


def test_strategies_and_evaluations(report: Benchmark) -> None:
    found = {(row.operator, row.backend): (row.strategy, row.evaluations) for row in report.rows}
    assert found["gradient", "jax"] == ("xla", 0)
    assert found["gradient", "torch"] == ("replay", 0)
    assert found["gradient", "autograd"] == ("program", 0)
    assert found["gradient", "numpy"] == ("stencil", 6)
    assert found["gradient", "complex-step"] == ("stencil", 4)


def test_the_machine_is_named(report: Benchmark) -> None:
    assert {"processor", "cores", "system", "Python", "numpy", "jax", "torch"} <= {*report.machine}
    assert all(report.machine.values())


def test_problems_at_sizes() -> None:
    found = benchmark(problems.ROSENBROCK, sizes=[(3,), (5,)], backends=["autograd"], effort=QUICK)
    assert [(row.size, row.inputs, row.operator) for row in found.rows] == [
        ("3", 3, "gradient"), ("5", 5, "gradient"),
    ]  # fmt: skip


def test_the_operator_fits_what_f_returns() -> None:
    assert only(benchmark(cube, X, backends=["autograd"], effort=QUICK)).operator == "gradient"
    square = benchmark(lambda x: x**2, X, backends=["autograd"], effort=QUICK)
    assert only(square).operator == "jacobian"


def test_backends_may_be_objects() -> None:
    found = benchmark(cube, X, backends=[dif.FiniteDifferences("forward")], effort=QUICK)
    assert only(found).backend.startswith("FiniteDifferences(scheme='forward'")
    assert only(found).evaluations == 4


def test_progress_is_told() -> None:
    told: list[str] = []
    benchmark(cube, X, backends=["autograd"], effort=QUICK, progress=told.append)
    assert told == [
        "cube 3, gradient: preparing autograd",
        "cube 3, gradient: timing autograd",
        "cube 3, gradient: checking the results",
    ]


# The code by hand, against diffface's own answers


def mixing(x: Any, tree: Any, c: Any) -> Any:
    """A vector: more numbers than it is differentiated by."""
    xp = dif.namespace(x, tree["a"])
    return xp.concat([xp.sin(x) * tree["a"][0], c * x**2 + tree["b"], xp.cos(x), x**3])


def energy(x: Any, tree: Any, c: Any) -> Any:
    xp = dif.namespace(x, tree["a"])
    return xp.sum(c * x**3 * tree["a"][0]) + xp.sum(tree["b"] ** 2 * x)


TREE = {"b": X + 3, "a": np.array([1.5, 0.0])}
SCALAR = ("gradient", "hessian", "hvp")
OPERATORS = (*SCALAR, "jacobian", "pushforward", "pullback")
# What nobody writes by hand with these tools.
ALONE = {
    *itertools.product(["numpy", "complex-step"], ["hessian", "pullback"]),
}


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("operator", OPERATORS)
def test_by_hand_is_the_same_derivative(backend: str, operator: str) -> None:
    if operator in SCALAR:
        f: Callable[..., Any] = cube
    else:
        f = lambda x: x**2
    row = only(benchmark(f, X, operators=[operator], backends=[backend], effort=QUICK))
    assert ("no_reference" in row.flags) == ((backend, operator) in ALONE), row.notes
    assert row.checked == "Richardson"
    assert "disagrees" not in row.flags, row.notes


def decay(p: Any, t: Any) -> Any:
    """A dict of a dict of numbers, one of which has no part in it."""
    return {"y": p["a"] * dif.namespace(t).exp(-p["b"] * t), "n": p["a"] ** 2}


def distance(p: Any, t: Any) -> Any:
    return dif.namespace(t).sum((p["a"] * t - p["b"]) ** 2)


TREES = [pair for pair in itertools.product(NAMES, OPERATORS) if pair not in ALONE]
NUMBERS = {"a": 2.0, "b": 0.5, "c": [1.0]}
WITH_NUMBERS = [pair for pair in TREES if pair[1] in ("gradient", "hvp", "jacobian")]


@pytest.mark.parametrize(
    ("backend", "operator", "numbers"),
    [*((*pair, False) for pair in TREES), *((*pair, True) for pair in WITH_NUMBERS)],
)
@pytest.mark.filterwarnings("ignore:Output seems independent of input")  # autograd's
def test_by_hand_takes_trees(backend: str, operator: str, numbers: bool) -> None:
    f, args = energy if operator in SCALAR else mixing, (X, TREE, dif.Const(X + 0.5))
    if numbers:
        f, args = distance if operator in SCALAR else decay, (NUMBERS, dif.Const(X))
    row = only(benchmark(f, *args, operators=[operator], backends=[backend], effort=QUICK))
    assert "no_reference" not in row.flags, row.notes
    assert "disagrees" not in row.flags, row.notes


@pytest.mark.parametrize("backend", NAMES)
def test_by_hand_is_the_derivative_by_one_number(backend: str) -> None:
    f = lambda t, c: c * t**2
    row = only(
        benchmark(f, 3.0, dif.Const(X), operators=["derivative"], backends=[backend], effort=QUICK)
    )
    assert not {"no_reference", "disagrees"} & {*row.flags}, row.notes


def test_a_minimum_is_no_disagreement() -> None:
    row = only(benchmark(cube, np.zeros(3), backends=["autograd"], effort=QUICK))
    assert "disagrees" not in row.flags, row.notes


def test_by_hand_of_ones_own() -> None:
    seen = []

    def mine(x: Any) -> Any:
        seen.append(x)
        return 3 * x**2

    row = only(
        benchmark(cube, X, backends=["torch"], by_hand={"torch": {"gradient": mine}}, effort=QUICK)
    )
    assert row.by_hand is not None
    assert {type(x).__module__ for x in seen} == {"torch"}
    assert "disagrees" not in row.flags


# Flags, each provoked


def test_eager() -> None:
    def branching(x: Any) -> Any:
        return cube(x) if x[0] > 0 else -cube(x)

    row = only(benchmark(branching, X, backends=["autograd"], effort=QUICK))
    assert "eager" in row.flags
    assert row.strategy == "eager"
    assert "It runs eagerly: `f` cannot be recorded" in row.notes
    assert "test_benchmark.py" in row.notes


def test_code_by_hand_that_recompiles() -> None:
    def careless(x: Any) -> Any:
        return jax.jit(jax.grad(lambda x: (x**3).sum()))(x)

    row = only(
        benchmark(
            cube, X, backends=["jax"], by_hand={"jax": {"gradient": careless}},
            effort=Effort(rounds=2, seconds=0.0),
        )
    )  # fmt: skip
    assert "recompiles" in row.flags
    assert "The code by hand compiled 2 programs in 2 timed calls." in row.notes


@pytest.mark.slow
def test_a_black_box_that_recompiles() -> None:
    def careless(x: Any) -> float:
        return float(jax.jit(lambda x: (x**3).sum())(x))

    row = only(benchmark(careless, X, backends=["numpy"], effort=QUICK))
    # JAX computes in float32 here: after 6 evaluations and one more to make sure, 6 longer steps.
    assert "The prepared call compiled 13 programs in 1 timed calls." in row.notes
    clean = only(benchmark(cube, X, backends=["jax"], effort=QUICK))
    assert "recompiles" not in clean.flags


class Sham(dif.FiniteDifferences):  # type: ignore[misc]  # final, but for a test
    """Says that it has compiled what it runs anew."""

    def build(self, program: Any, examples: Any) -> Compiled:
        return Compiled(super().build(program, examples).run, "program", program)


def test_a_program_that_evaluates() -> None:
    row = only(benchmark(cube, X, backends=[Sham()], effort=QUICK))
    assert "recompiles" in row.flags
    assert "A prepared call evaluated the function 6 times." in row.notes


class Late:
    """An array that is computed behind the caller's back."""

    def __init__(self, value: Any, seconds: float) -> None:
        self.value = value
        self.thread = threading.Thread(target=time.sleep, args=(seconds,))
        self.thread.start()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self.thread.join()
        return self.value


def test_unblocked() -> None:
    late = {"autograd": {"gradient": lambda x: Late(3 * x**2, 0.05)}}
    row = only(benchmark(cube, X, backends=["autograd"], by_hand=late, effort=QUICK))
    assert "unblocked" in row.flags
    assert row.notes.startswith("The code by hand returned after ")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_results_of_jax_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """XLA works on after a call has returned: found where it is not waited for."""

    def heavy(x: Any) -> Any:
        y = x
        for _ in range(20):
            y = y @ x / 100.0
        return dif.namespace(x).sum(y)

    x = np.random.default_rng(0).normal(size=(400, 400))
    waited = only(benchmark(heavy, x, backends=["jax"], reference=x, effort=QUICK))
    assert "unblocked" not in waited.flags
    kind = dif.JAX.arrays
    monkeypatch.setattr(type(kind), "wait", NumPyArrays.wait)
    row = only(benchmark(heavy, x, backends=["jax"], reference=x, effort=QUICK))
    assert "unblocked" in row.flags


def test_the_one_that_disagrees() -> None:
    def wrong_on_torch(x: Any) -> Any:
        return cube(x) * (2 if "torch" in type(x).__module__ else 1)

    found = {r.backend: r for r in benchmark(wrong_on_torch, X, backends=AD, effort=QUICK).rows}
    assert {name for name, row in found.items() if "disagrees" in row.flags} == {"torch"}
    assert found["torch"].error == pytest.approx(1.0)
    assert "The result is off by 1.0e+00 of its largest number" in found["torch"].notes


def test_a_given_reference() -> None:
    def checked(reference: Any) -> Measurement:
        return only(benchmark(cube, X, backends=["autograd"], reference=reference, effort=QUICK))

    right, wrong, short = checked(3 * X**2), checked(3 * X), checked(X[:2])
    assert (right.checked, right.error) == ("given", 0.0)
    assert "disagrees" not in right.flags
    assert "disagrees" in wrong.flags
    assert "disagrees" in short.flags
    assert short.error is None
    assert "does not fit (reference: given)" in short.notes


def test_code_by_hand_that_disagrees() -> None:
    wrong = {"autograd": {"gradient": lambda x: 3 * x}}
    row = only(benchmark(cube, X, backends=["autograd"], by_hand=wrong, effort=QUICK))
    assert "disagrees" in row.flags
    assert row.notes.startswith("The result by hand is off by ")


def test_unchecked() -> None:
    """Nothing to compare with: one backend, and a function that is not for NumPy."""
    torch = pytest.importorskip("torch")
    row = only(benchmark(torch.sum, torch.ones(3), backends=["torch"], effort=QUICK))
    assert row.checked == ""
    assert row.error is None
    assert "unchecked" in row.flags


def test_noisy() -> None:
    random = np.random.default_rng(0)

    def unsteady(x: Any) -> float:
        time.sleep(10 ** random.uniform(-4.0, -1.7))
        return float(x[0] ** 2)

    row = only(
        benchmark(
            unsteady, np.array([1.0]), backends=["numpy"],
            by_hand={"numpy": {"gradient": lambda x: 2 * x}}, effort=Effort(rounds=15, seconds=0.0),
        )
    )  # fmt: skip
    assert "noisy" in row.flags
    assert "run it again" in row.notes


def test_few_rounds() -> None:
    row = only(benchmark(cube, X, backends=["autograd"], effort=Effort(limit=0.0)))
    assert row.rounds == 1
    assert "few_rounds" in row.flags
    assert "Timed in 1 of 11 rounds." in row.notes


def test_failed() -> None:
    """A backend that cannot do it has a row that says why; the others are measured."""
    found = {r.backend: r for r in benchmark(lambda x: np.sum(np.sin(x)), X, effort=QUICK).rows}
    assert found["jax"].flags == ("failed",)
    assert found["jax"].notes.startswith("NotDifferentiableError: ")
    assert found["jax"].time is None
    assert found["numpy"].time is not None


def test_alone() -> None:
    found = benchmark(
        cube, X, operators=["hvp"], backends=[dif.SecondOrder("numpy", "autograd")], effort=QUICK
    )
    assert "no_reference" in only(found).flags
    assert only(found).ratio is None
    broken = {"autograd": {"gradient": lambda x: x.missing}}
    row = only(benchmark(cube, X, backends=["autograd"], by_hand=broken, effort=QUICK))
    assert "The code by hand failed: AttributeError: " in row.notes


def test_every_flag_is_explained() -> None:
    page = (ROOT / "docs" / "how-to" / "benchmarks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == {*FLAGS}
    assert all(text.endswith(".") for text in FLAGS.values())


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: benchmark(cube, X, operators=["gradiant"]),
            "`operators` must be among 'derivative', 'value_and_derivative', 'second_derivative', "
            "'value_derivative_and_second_derivative', 'gradient', 'value_and_gradient', "
            "'jacobian', 'value_and_jacobian', 'hessian', 'value_gradient_and_hessian', 'hvp', "
            "'gradient_and_hvp', 'pushforward', 'value_and_pushforward', 'pullback', "
            "'value_and_pullback', got 'gradiant'.",
        ),
        (lambda: benchmark(cube, X, operators=[]),
         "`operators` must name at least one operator, got none."),
        (lambda: benchmark(cube, X, backends=[]),
         "`backends` must name at least one backend, got none."),
        (lambda: benchmark(cube, X, sizes=[(3,)]),
         "`sizes` are for problems: a function comes with its arguments."),
        (lambda: benchmark(problems.LSE, X),
         "A problem brings its arguments: pass `sizes` in their place."),
        (lambda: benchmark(X, cube),
         "`f` must be a function or a problem, got ndarray; the function comes first, then its "
         "arguments."),
        (lambda: benchmark(problems.LSE, sizes=[(2,), (3,)], reference=X),
         "`reference` is the answer of one operator at one size, got 2 cases; call benchmark once "
         "for each."),
    ],
)  # fmt: skip
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(dif.InvalidArgumentError) as caught:
        call()
    assert str(caught.value) == message


def test_unknown_backend() -> None:
    with pytest.raises(dif.UnknownBackendError, match="There is no backend 'jaxx'"):
        benchmark(cube, X, backends=["jaxx"])


# Timing, by a clock of our own


def test_calls_take_turns() -> None:
    order: list[str] = []
    calls = [Timed(functools.partial(order.append, name)) for name in "ab"]
    ticks = itertools.count()
    interleave(calls, Effort(rounds=3, seconds=2.0, limit=100.0), clock=lambda: next(ticks))
    # Once each to see how long they take: 1 second by this clock, so 2 to a round of 2 seconds.
    # Then 3 at a time, the first of which is not timed.
    assert "".join(order) == "ab" + "aaabbb" + "bbbaaa" + "aaabbb"
    assert [call.seconds for call in calls] == [[0.5] * 3] * 2
    assert [call.count for call in calls] == [2, 2]


def test_ratios_are_paired() -> None:
    """A drift that hits both alike leaves the ratio alone."""
    drift = (1.0, 10.0, 100.0, 1000.0)
    first = Timed(lambda: None, seconds=[2 * t for t in drift])
    second = Timed(lambda: None, seconds=list(drift))
    assert ratio(first, second) == (2.0, 2.0, 2.0)
    assert spread(first.seconds).relative > 1


def test_quartiles() -> None:
    assert spread([3.0]) == (3.0, 3.0, 3.0)
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == (3.0, 2.0, 4.0)


def test_slow_calls_get_fewer_rounds() -> None:
    effort = Effort(rounds=11, seconds=0.02, limit=10.0)
    assert [effort.rounds_of(t) for t in (1e-6, 2.0, 60.0)] == [11, 5, 1]
    assert [effort.count_of(t) for t in (1e-5, 2.0)] == [2000, 1]


def test_what_is_watched_belongs_to_the_call() -> None:
    counted: list[int] = []
    calls = [Timed(lambda: counted.append(1)), Timed(lambda: None)]
    interleave(calls, Effort(rounds=4, seconds=0.0), watched=lambda: len(counted))
    assert [call.events for call in calls] == [4, 0]


# Evaluations


class Model:
    def method(self, x: Any) -> Any:
        return x

    def __call__(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize(
    "f",
    [lambda x: x, Model().method, Model(), functools.partial(lambda a, x: x, 1)],
    ids=["function", "method", "object", "partial"],
)
def test_evaluations_are_counted(f: Callable[..., Any]) -> None:
    assert evaluations(f, lambda: [f(0) for _ in range(3)]) == 3
    assert evaluations(f, lambda: None) == 0


def test_evaluations_of_compiled_functions_are_unknown() -> None:
    assert evaluations(np.sum, lambda: np.sum(X)) is None


# Accuracy


def test_the_median_outvotes_one() -> None:
    right, wrong = X, 2 * X
    np.testing.assert_array_equal(agreed([right, wrong, right]).numbers, right)
    assert agreed([right]).numbers is None
    assert agreed([right, right[:2]]).numbers is None


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([0.5], [0.0], 0.5),
        ([np.nan], [1.0], np.inf),
        ([], [], 0.0),
        ([1.0], [1.0, 1.0], np.inf),
    ],
)
def test_errors_are_relative_to_the_largest(found: Any, wanted: Any, expected: float) -> None:
    assert error(np.array(found), np.array(wanted)) == expected


def test_half_of_the_digits() -> None:
    assert tolerance(np.float64, black_box=False) == pytest.approx(1.5e-8, rel=0.01)
    assert tolerance(np.float32, black_box=False) == pytest.approx(3.5e-4, rel=0.02)
    assert tolerance(np.float64, black_box=True) == pytest.approx(6.1e-6, rel=0.01)


def test_single_precision() -> None:
    rows = benchmark(cube, X.astype(np.float32), effort=QUICK).rows
    assert not any({"failed", "disagrees"} & {*row.flags} for row in rows)


def test_break_even() -> None:
    assert break_even(10.0, 3.0, 1.0) == 5.0
    assert break_even(10.0, 1.0, 1.0) is None


# Forms of the report


def test_json_round_trip(report: Benchmark) -> None:
    assert Benchmark.from_json(report.json()) == report
    assert [*json.loads(report.json())] == ["machine", "rows"]


def test_csv_round_trip(report: Benchmark) -> None:
    def read(field: Any, text: str) -> Any:
        if field.name == "flags":
            return tuple(text.split())
        if "float" in str(field.type) or "int" in str(field.type):
            return None if text == "" else (float if "float" in str(field.type) else int)(text)
        return text

    columns = dataclasses.fields(Measurement)
    rows = [
        Measurement(**{field.name: read(field, line[field.name]) for field in columns})
        for line in csv.DictReader(io.StringIO(report.csv()))
    ]
    assert tuple(rows) == report.rows


def test_markdown_is_one_table(report: Benchmark) -> None:
    lines = [line for line in report.markdown().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(report.rows)
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}
    assert "Measured on: processor " in report.markdown()


def test_text_is_a_table_with_notes() -> None:
    found = benchmark(cube, X, backends=["autograd"], effort=Effort(limit=0.0))
    head, rule, row, note = str(found).splitlines()
    assert head.split()[:4] == ["problem", "size", "operator", "backend"]
    assert {*rule} == {"-", " "}
    assert row.split()[:5] == ["cube", "3", "gradient", "autograd", "program"]
    assert note == "cube 3, gradient by autograd: Timed in 1 of 11 rounds."
    assert repr(found) == str(found)


def test_notes_that_are_the_same_are_one(report: Benchmark) -> None:
    row = dataclasses.replace(report.rows[0], problem="cube", size="3", notes="It is slow.")
    rows = [
        dataclasses.replace(row, operator=operator, backend=backend, size=size)
        for operator, backend, size in (
            ("gradient", "jax", "3"), ("gradient", "torch", "3"), ("hvp", "jax", "3"),
            ("hvp", "jax", "4"), ("hessian", "jax", "4"),
        )
    ]  # fmt: skip
    assert Benchmark(tuple(rows), {}).notes() == [
        "cube 3, gradient by jax, torch; hvp by jax; cube 4, hvp, hessian by jax: It is slow."
    ]


def test_reports_add_up(report: Benchmark) -> None:
    assert (report + report).rows == report.rows * 2


@pytest.mark.slow
def test_plot(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    found = benchmark(
        problems.ROSENBROCK, sizes=[(3,), (5,)], backends=["autograd", "numpy"], effort=QUICK
    )
    found.plot(tmp_path / "two.png")
    Benchmark(found.rows[:1], {}).plot(tmp_path / "one.svg")
    Benchmark((), {}).plot(tmp_path / "none.png")
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")
    assert "autograd" in (tmp_path / "one.svg").read_text() or (tmp_path / "one.svg").stat().st_size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.234, "1.23 s"), (0.01234, "12.3 ms"), (1.2e-6, "1.20 µs"), (123.4e-9, "123 ns"),
        (None, "-"), (0.0, "0 ns"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.0, "1.00"), (0.02345, "0.0234"), (12345.6, "12346"), (1e-5, "1.0e-05"), (None, "-")],
)
def test_digits(number: float | None, text: str) -> None:
    assert digits(number) == text
