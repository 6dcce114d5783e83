"""Complex steps of functions that are not analytic everywhere: refused wherever they are wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import Counted

import diffface as dif
from diffface import NotDifferentiableError

pytestmark = pytest.mark.numerical
X = np.array([1.0, 2.0, 3.0])
REFUSED = pytest.raises(NotDifferentiableError, match="`f` is not analytic")


def call(operator: str, f: Callable[..., Any], x: Any, prepared_at: Any = None) -> Any:
    """The operator by complex steps, prepared elsewhere or not."""
    seeds = {}
    if operator.endswith("pushforward"):
        seeds["tangents"] = np.ones(3)
    if operator.endswith("pullback"):
        seeds["cotangents"] = f(x) * 0 + 1.0
    if prepared_at is None:
        return getattr(dif, operator)(f, x, backend="complex-step", **seeds)
    prepared = getattr(dif, f"prepare_{operator}")(f, prepared_at, backend="complex-step")
    return prepared(x, **seeds)


def positive_only(x: Any) -> Any:
    """Analytic where all entries are positive."""
    return np.sum(np.where(x > 0, x**2, abs(x)))


def parts(x: Any) -> Any:
    """Each component of a size of its own; the second is analytic on one side only."""
    return np.array([1e6 * x[0] ** 2, x[1] if x[1] > 0 else np.abs(x[1]), 1e-6 * x[2]])


@pytest.mark.parametrize("operator", ["gradient", "value_and_gradient", "pushforward", "pullback"])
@pytest.mark.parametrize("signs", [(-1, -1, -1), (1, 1, -1), (-1, 1, 1)])
def test_prepared_where_it_is_analytic(operator: str, signs: tuple[int, ...]) -> None:
    call(operator, positive_only, X, X)
    with REFUSED:
        call(operator, positive_only, X * signs, X)


@pytest.mark.parametrize("operator", ["jacobian", "value_and_jacobian", "pushforward", "pullback"])
def test_one_component_of_many(operator: str) -> None:
    there = np.array([1.0, -2.0, 3.0])
    call(operator, parts, X, X)
    with REFUSED:
        call(operator, parts, there, X)
    with REFUSED:
        call(operator, parts, there)


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e8])
@pytest.mark.parametrize("small", [0, 1])
def test_a_small_part_beside_a_large_one(scale: float, small: int) -> None:
    def f(x: Any) -> Any:
        size = x[small] if x[small] > 0 else np.abs(x[small])
        return scale * x[1 - small] ** 2 + size

    x = np.array([1.0, 2.0])
    x[small] *= -1
    with REFUSED:
        dif.gradient(f, x, backend="complex-step")
    with REFUSED:
        dif.prepare_gradient(f, np.abs(x), backend="complex-step")(x)


@pytest.mark.parametrize("operator", ["hessian", "hvp"])
def test_second_derivatives(operator: str) -> None:
    def f(x: Any) -> Any:
        return np.sum(np.where(x > 0, x**3, np.abs(x) ** 3))

    seeds = {"tangents": np.ones(3)} if operator == "hvp" else {}
    prepared = getattr(dif, f"prepare_{operator}")(f, X, backend="complex-step")
    np.testing.assert_allclose(np.sum(prepared(X, **seeds)), 6 * np.sum(X), rtol=1e-6)
    with REFUSED:
        prepared(-X, **seeds)


def test_constants_and_trees() -> None:
    """What the check looks at is `f` with the constants of the call."""

    def f(tree: Any, c: Any) -> Any:
        return np.sum(c * tree["a"]) if c > 0 else np.sum(np.abs(tree["a"])) + tree["b"]

    tree = {"a": X, "b": 1.0}
    g = dif.prepare_gradient(f, tree, dif.Const(2.0), backend="complex-step")
    np.testing.assert_allclose(g(tree, 2.0)["a"], [2.0, 2.0, 2.0])
    with REFUSED:
        g(tree, -2.0)


@pytest.mark.parametrize("x", [[0.0, 1.0, -1.0], [0.0, 0.0, 0.0], [1e-9, -1e-9, 2.0]])
def test_kinks_of_real_functions(x: list[float]) -> None:
    """A slope between those at both sides is right, as with automatic differentiation."""
    found = call("gradient", lambda x: np.sum(np.where(x > 0, 3 * x, -2 * x)), np.array(x), X)
    assert np.all((found == 3) | (found == -2))
    np.testing.assert_array_equal(found[np.array(x) < 0], -2.0)


def test_the_edge_of_the_domain() -> None:
    """Where `f` ends ahead of the point, the check looks behind."""

    def f(x: Any) -> Any:
        if np.real(x[0]) > 1:
            raise ValueError("too far")
        return np.exp(x[0]) * x[1] * x[2]

    for prepared_at in (None, 0.5 * X):
        found = call("gradient", f, X, prepared_at)
        np.testing.assert_allclose(found, np.e * np.array([6.0, 3.0, 2.0]), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_analytic_functions_are_taken(dtype: Any) -> None:
    """Of one evaluation more than derivatives, whatever the sizes."""
    functions = [
        lambda x: np.sum(np.sin(100 * x)),
        lambda x: 1e8 + np.sum(x**2),
        lambda x: np.sum(np.log(x)) * 1e-8,
        lambda x: np.prod(x) ** 5,
        lambda x: np.sum(x**2) - np.sum(x) ** 2,
    ]
    for f in functions:
        for size in (1e-3, 1.0, 10.0):
            counted = Counted(f)
            x = (size * X).astype(dtype)
            prepared = dif.prepare_gradient(counted, x, backend="complex-step")
            counted.count = 0
            assert np.all(np.isfinite(prepared(x)))
            if dtype == np.float64 and size < 10:  # else the sine turns within a step
                assert counted.count == 4
