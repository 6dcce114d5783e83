"""Prepared callables: their signature, what differs from it, laziness, and how they show."""

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from helpers import (
    BACKENDS,
    EVERY_OPERATOR,
    FIRST,
    STRATEGY,
    cube_sum,
    expected,
    make,
    run,
    same,
    weighted,
)

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)
# Prepared at one point, called at others


def test_what_help_shows() -> None:
    prepared = dif.prepare_gradient(cube_sum, X, backend="numpy")
    assert inspect.signature(prepared) == inspect.signature(cube_sum)
    shown = inspect.signature(type(prepared))
    assert list(shown.parameters) == ["args", "tangents", "cotangents", "out", "kwargs"]
    shown.bind(X, out=X)


@EVERYWHERE
@EVERY_OPERATOR
def test_every_operator_at_other_values(operator: str, backend: str) -> None:
    number = "derivative" in operator
    first, others = (0.5, (2.0, -1.5)) if number else (X, (X[::-1] + 1, -X))
    prepare = getattr(dif, f"prepare_{operator}")
    f = (lambda x: x * x * x) if expected_of_array(operator) else cube_sum
    prepared = prepare(f, np.asarray(first), backend=backend)
    assert prepared.strategy == STRATEGY[backend]
    for values in others:
        x = np.asarray(values)
        seeds: dict[str, Any] = {}
        if operator.endswith(("hvp", "pushforward")):
            seeds["tangents"] = x
        elif operator.endswith("pullback"):
            seeds["cotangents"] = x
        parts = prepared(x, **seeds)
        parts = parts if "and" in operator else (parts,)
        for part, right in zip(parts, expected(operator, values), strict=True):
            same(part, right, 1e-5)


def expected_of_array(operator: str) -> bool:
    return not any(word in operator for word in ("gradient", "hessian", "hvp"))


@EVERYWHERE
def test_const_may_be_given_bare_or_wrapped(backend: str) -> None:
    g = dif.prepare_gradient(weighted, X, dif.Const(2.0), backend=backend)
    same(g(X, 5.0), 15 * X**2, FIRST[backend])
    same(g(X, dif.Const(5.0)), 15 * X**2, FIRST[backend])
    same(g(X, 2.0), 6 * X**2, FIRST[backend])


# What it looks like


@dataclass
class Callable:
    scale: float

    def __call__(self, x: Any) -> Any:
        return cube_sum(x["a"]) * self.scale * x["b"]


@EVERYWHERE
def test_repr(backend: str) -> None:
    name = {
        "jax": "JAX()", "torch": "Torch(compile=False)", "autograd": "Autograd()",
        "complex-step": "ComplexStep()",
        "numpy": "FiniteDifferences(scheme='central', step=None, vectorized=False)",
    }[backend]  # fmt: skip
    g = dif.prepare_gradient(weighted, X, dif.Const(2.0), backend=backend)
    assert repr(g) == (
        f"<prepared gradient of weighted by {name}, strategy {STRATEGY[backend]!r}, for "
        "(numpy float64[3], Const Python float)>"
    )
    h = dif.prepare_value_and_jacobian(Callable(2.0), {"a": X, "b": 1.0}, backend=backend)
    assert repr(h) == (
        f"<prepared value_and_jacobian of Callable(scale=2.0) by {name}, strategy "
        f"{STRATEGY[backend]!r}, for (numpy float64[3] Python float)>"
    )


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_native(backend: str) -> None:
    """The framework's own callable, on flat arrays of the framework."""
    g = dif.prepare_gradient(cube_sum, X, backend=backend)
    assert callable(g.native)
    if backend == "autograd":
        assert "def " in g.native.source
        same(g.native(X)[0], 3 * X**2)
    elif backend == "torch":
        same(g.native(make("torch", X))[0], 3 * X**2)
    else:
        import jax

        with jax.enable_x64(True):
            same(g.native(make("jax", X))[0], 3 * X**2)


@EVERYWHERE
@pytest.mark.parametrize("has_aux", [False, True])
def test_options_are_kept(has_aux: bool, backend: str) -> None:
    def f(x: Any, a: Any) -> Any:
        y = dif.namespace(x).sum(a * x**3)
        return (y, {"twice": 2 * x, "name": "n"}) if has_aux else y

    g = dif.prepare_value_and_gradient(f, X, X, backend=backend, has_aux=has_aux, argnums=(1, 0))
    y, derivatives, *aux = g(X, 2 * X)
    same((y, derivatives), (np.sum(2 * X**4), (X**3, 6 * X**3)), 1e-7)
    if has_aux:
        same(aux[0], {"twice": 2 * X, "name": "n"})


@EVERYWHERE
@pytest.mark.parametrize("operator", ["gradient", "hessian", "jacobian", "hvp", "pullback"])
@pytest.mark.parametrize("of", ["numpy", "torch"])
def test_out(of: str, operator: str, backend: str) -> None:
    """Overwritten, not accumulated; returned; may be an argument."""
    x = make(of, X)
    (right,) = expected(operator, X)
    out = make(of, np.full(right.shape, 7.0))
    for prepared in (False, True, True):
        (result,) = run(operator, x, backend, prepared, out=out)
        assert result is out
        same(out, right, 1e-5)
    if operator == "gradient":
        for prepared in (False, True):
            x = make(of, X)
            (result,) = run(operator, x, backend, prepared, out=x)
            assert result is x
            same(x, 3 * X**2, 1e-7)
