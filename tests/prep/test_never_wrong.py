"""Functions that depend on values: prepared at one point, called where other branches are taken."""

import warnings
from typing import Any

import numpy as np
import pytest
from helpers import AD, EVERYWHERE, FIRST, make, same
from value_dependent import (
    CASES,
    POINTS,
    WEIGHTS,
    argsort,
    branch,
    loop,
    mask,
    prepare,
    value_escapes,
    where,
)

import diffface as dif

# NumPy orders complex numbers by their real parts first, so decisions are as for real ones; but a
# cast to float, which NumPy warns about, drops the derivative: there the complex step refuses.
COMPLEX_STEP_REFUSES = {"branch on float", "loop on float", "integer power", "value as a factor"}


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
    example = dif.Const(np.array([True, False, True]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dif.PreparationWarning)
        h = dif.prepare_gradient(by_index, x, example, backend=backend)
    for flags in ([True, False, True], [False, False, True], [True] * 3, [False] * 3):
        same(h(x, np.array(flags)), 2 * x * np.array(flags), 10 * FIRST[backend])
