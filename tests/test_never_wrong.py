"""Functions that depend on values: prepared at one point, called where other branches are taken."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import AD, BACKENDS, FIRST, make, same

import diffface as dif

EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)
POINTS = [
    np.array(p) for p in ([1.0, 2.0, 3.0], [-1.0, -2.5, 0.5], [3.0, -1.0, -7.0], [0.3, 9.0, 1.5])
]
WEIGHTS = np.array([1.0, 2.0, 5.0])


class Case(NamedTuple):
    """A function, its gradient by hand, and the backends whose own answer is an error."""

    f: Callable[[Any], Any]
    gradient: Callable[[Any], Any]
    refusing: tuple[str, ...] = ()


def unit(i: int) -> Any:
    return np.eye(3)[i]


def branch(x: Any) -> Any:
    xp = dif.namespace(x)
    if xp.sum(x) > 0:
        return xp.sum(x**2)
    return xp.sum(x**3)


def float_branch(x: Any) -> Any:
    if float(x[0]) > 0.5:
        return x[0] * x[1]
    return x[1] * x[2]


def loop(x: Any) -> Any:
    y = x[0] * x[0] + 0.1
    while y < 8:
        y = y * 2.0
    return y


def loop_gradient(x: Any) -> Any:
    y, factor = x[0] * x[0] + 0.1, 1.0
    while y < 8:
        y, factor = y * 2, factor * 2
    return factor * 2 * x[0] * unit(0)


def float_loop(x: Any) -> Any:
    y = x[0] * x[0] + 0.1
    while float(y) < 8:
        y = y * 2.0
    return y


def largest(x: Any) -> Any:
    return x[int(dif.namespace(x).argmax(x))] ** 2


def python_sorted(x: Any) -> Any:
    a, b, c = sorted([x[0], x[1], x[2]])
    return a * 1.0 + b * 2.0 + c * 5.0


def python_max(x: Any) -> Any:
    return max(x[0], x[1], x[2]) * 3.0


def mask(x: Any) -> Any:
    return dif.namespace(x).sum(x[x > 0] ** 2)


def where(x: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(xp.where(x > 0, x**2, -x))


def maximum(x: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(xp.maximum(x, 0.7 * x + 0.1))


def argsort(x: Any) -> Any:
    xp = dif.namespace(x)
    y = x[xp.argsort(x)]
    return y[0] * 1.0 + y[1] * 2.0 + y[2] * 5.0


def power(x: Any) -> Any:
    return x[0] ** int(x[1] + 0.25)


def power_gradient(x: Any) -> Any:
    n = int(x[1] + 0.25)
    return (n * x[0] ** (n - 1) if n else 0.0) * unit(0)


def sign_test(x: Any) -> Any:
    return x[0] * (2.0 if bool(x[1] > 0) else -3.0)


def value_escapes(x: Any) -> Any:
    return float(x[0]) * dif.namespace(x).sum(x)


def any_all(x: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(x**2) if xp.any(x < -2) and not xp.all(x > 0) else xp.sum(x)


def caught(x: Any) -> Any:
    try:
        positive = bool(x[1] > 0)
    except Exception:  # noqa: BLE001 - so broad on purpose
        positive = True
    return x[0] ** 2 if positive else x[1] ** 3


CASES = {
    "branch": Case(branch, lambda x: 2 * x if np.sum(x) > 0 else 3 * x**2),
    "branch on float": Case(
        float_branch,
        lambda x: np.array([x[1], x[0], 0.0]) if x[0] > 0.5 else np.array([0.0, x[2], x[1]]),
        ("jax", "autograd")),
    "loop": Case(loop, loop_gradient),
    "loop on float": Case(float_loop, loop_gradient, ("jax", "autograd")),
    "index of the largest": Case(largest, lambda x: 2 * np.max(x) * unit(np.argmax(x))),
    "sorted": Case(python_sorted, lambda x: WEIGHTS[np.argsort(np.argsort(x))]),
    "max": Case(python_max, lambda x: 3 * unit(np.argmax(x))),
    "mask": Case(mask, lambda x: np.where(x > 0, 2 * x, 0)),
    "where": Case(where, lambda x: np.where(x > 0, 2 * x, -1)),
    "maximum": Case(maximum, lambda x: np.where(0.3 * x > 0.1, 1.0, 0.7)),
    "argsort": Case(argsort, lambda x: WEIGHTS[np.argsort(np.argsort(x))]),
    "integer power": Case(power, power_gradient, ("autograd",)),
    "bool": Case(sign_test, lambda x: (2.0 if x[1] > 0 else -3.0) * unit(0)),
    "value as a factor": Case(
        value_escapes, lambda x: x[0] + np.sum(x) * unit(0),
        ("jax", "autograd")),
    "caught": Case(
        caught, lambda x: 2 * x[0] * unit(0) if x[1] > 0 else 3 * x[1] ** 2 * unit(1)),
    "any and all": Case(
        any_all, lambda x: 2 * x if np.any(x < -2) and not np.all(x > 0) else np.ones(3)),
}  # fmt: skip
# NumPy orders complex numbers by their real parts first, so decisions are as for real ones; but a
# cast to float, which NumPy warns about, drops the derivative: there the complex step refuses.
COMPLEX_STEP_REFUSES = {"branch on float", "loop on float", "integer power", "value as a factor"}


def prepare(f: Any, x: Any, backend: str, operator: str = "gradient", **options: Any) -> Any:
    """The preparation, which may warn once that calls will run eagerly, and only that."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepared = getattr(dif, f"prepare_{operator}")(f, x, backend=backend, **options)
    ours = [w for w in caught if w.category is dif.PreparationWarning]
    assert len(ours) == (prepared.strategy == "eager"), [str(w.message) for w in ours]
    return prepared


# torch and NumPy warn about a number taken out of what is being differentiated.
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad:UserWarning")
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@EVERYWHERE
@pytest.mark.parametrize("of", ["numpy", "own"])
@pytest.mark.parametrize("name", CASES)
def test_right_at_every_point_or_refused(name: str, of: str, backend: str) -> None:
    case = CASES[name]
    if (name, backend) == ("value as a factor", "torch"):
        return  # torch drops that derivative, with a warning of its own: see the next test
    kind = {"jax": "jax", "torch": "torch"}.get(backend, "numpy") if of == "own" else "numpy"
    refused = 0
    for first in POINTS:
        try:
            prepared = prepare(case.f, make(kind, first), backend)
        except dif.NotDifferentiableError:
            assert backend in case.refusing or (
                backend == "complex-step" and name in COMPLEX_STEP_REFUSES
            )
            refused += 1
            continue
        for point in POINTS:
            same(prepared(make(kind, point)), case.gradient(point), 20 * FIRST[backend])
    assert refused in (0, len(POINTS))
    if backend in AD:
        assert bool(refused) == (backend in case.refusing)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad:UserWarning")
def test_what_torch_drops_it_drops_prepared_as_well() -> None:
    g = prepare(value_escapes, POINTS[0], "torch")
    for point in POINTS:
        same(g(point), np.full(3, point[0]))
        same(dif.gradient(value_escapes, point, backend="torch"), np.full(3, point[0]))


@EVERYWHERE
@pytest.mark.parametrize("operator", ["hessian", "hvp", "jacobian", "pushforward", "pullback"])
@pytest.mark.parametrize("f", [branch, mask, where, loop, argsort])
def test_every_operator_follows_the_branch(f: Any, operator: str, backend: str) -> None:
    first, *others = POINTS
    prepared = prepare(f, first, backend, operator)
    for point in [first, *others]:
        seeds: dict[str, Any] = {}
        if operator in ("hvp", "pushforward"):
            seeds["tangents"] = WEIGHTS
        elif operator == "pullback":
            seeds["cotangents"] = 3.0
        eager = getattr(dif, operator)(f, point, backend=backend, **seeds)
        same(prepared(point, **seeds), eager, 1e-12, atol=1e-9)


def by_constant(x: Any, a: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(x**2) * a if a > 0 else xp.sum(x**3)


def by_array(x: Any, c: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(x[c > 0] ** 2) if xp.sum(c) > 0 else xp.sum(c * x)


def by_index(x: Any, i: Any) -> Any:
    return dif.namespace(x).sum(x[i] ** 2)


@EVERYWHERE
def test_decisions_on_constants_are_taken_anew(backend: str) -> None:
    """Floats and arrays in Const are run-time values, whatever is decided by them."""
    x = POINTS[0]
    g = prepare(lambda x: 0, x, backend)  # warm up; a constant function records as well
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dif.PreparationWarning)
        g = dif.prepare_gradient(by_constant, x, dif.Const(2.0), backend=backend)
        h = dif.prepare_gradient(by_array, x, dif.Const(WEIGHTS), backend=backend)
    for a in (2.0, -1.0, 0.0, 3.5):
        same(g(x, a), 2 * x * a if a > 0 else 3 * x**2, 10 * FIRST[backend])
    for c in (WEIGHTS, -WEIGHTS, POINTS[1], POINTS[3], np.array([5.0, -1.0, 0.0])):
        right = np.where(c > 0, 2 * x, 0) if np.sum(c) > 0 else c
        same(h(x, c), right, 10 * FIRST[backend])


@EVERYWHERE
def test_index_arrays_are_run_time_values(backend: str) -> None:
    x = POINTS[0]
    g = prepare(by_index, x, backend, kwargs={"i": np.array([0, 0])})
    for i in ([0, 0], [2, 1], [1, 1]):
        right = 2 * x * np.bincount(i, minlength=3)
        same(g(x, kwargs={"i": np.array(i)}), right, 10 * FIRST[backend])
    flags = dif.Const(np.array([True, False, True]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dif.PreparationWarning)
        h = dif.prepare_gradient(by_index, x, flags, backend=backend)
    for mask in ([True, False, True], [False, False, True], [True] * 3, [False] * 3):
        same(h(x, np.array(mask)), 2 * x * np.array(mask), 10 * FIRST[backend])
