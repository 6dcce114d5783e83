"""Prepared at zeros, where wrong programs look right, and called elsewhere."""

from collections.abc import Callable
from typing import Any

import autograd.extend
import autograd.numpy as anp
import numpy as np
import pytest
from helpers import same

import diffface as dif

W = np.arange(1.0, 7.0)
R = np.array([0.5, -1.5, 2.0, 3.0, -0.25, 1.25])
pytestmark = pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")


def matrix(x: Any) -> Any:
    return anp.reshape(x, (2, 3))


@autograd.extend.primitive
def scaled(x: Any, options: dict[str, float]) -> Any:
    """A primitive of the user's that looks into a mutable object."""
    return x * options["k"]


autograd.extend.defvjp(scaled, lambda ans, x, o: lambda g, k=dict(o): g * k["k"])


def one_dict_twice(x: Any) -> Any:
    options = {"k": 2.0}
    first = scaled(x**2, options)
    options["k"] = 3.0
    return anp.sum(first * x) + anp.sum(scaled(x**2, options))


RECORDED: dict[str, Callable[[Any], Any]] = {
    "columns": lambda x: anp.sum(W.reshape(2, 3) * anp.reshape(x, (2, 3), order="F") ** 2),
    "columns by position": lambda x: anp.sum(W.reshape(2, 3) * anp.reshape(x, (2, 3), "F") ** 2),
    "columns by method": lambda x: anp.sum(W.reshape(3, 2) * x.reshape((3, 2), order="f") ** 2),
    "ravelled columns": lambda x: anp.sum(W * anp.ravel(matrix(x), "F") ** 2),
    "flattened columns": lambda x: anp.sum(W * matrix(x).flatten("F") ** 2),
    "kept axis": lambda x: anp.sum((matrix(x) - anp.max(matrix(x), axis=1, keepdims=1)) ** 2),
    "true": lambda x: anp.sum(x**3) + anp.sum(x[True] ** 2) * anp.sum(x**2),
    "unsigned": lambda x: anp.sum(x * (x + -(x > 1).astype(np.uint8))),
    "one dict twice": one_dict_twice,
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_programs(name: str) -> None:
    f = RECORDED[name]
    g = dif.prepare_gradient(f, np.zeros(6), backend="autograd")
    for x in (R, -R, 10 * R):
        same(g(x), autograd.grad(f)(x))


WRITTEN: dict[str, Callable[[Any, Any], Any]] = {
    "ufunc": lambda c, w: anp.multiply(c, 2.0, w),
    "function": lambda c, w: np.cumsum(c, 0, None, w),
    "by name": lambda c, w: np.add(c, 1.0, out=w),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_arrays_that_are_written_to(name: str) -> None:
    def f(x: Any, c: Any) -> Any:
        w = np.empty(6)
        WRITTEN[name](c, w)
        return anp.sum(w * x)

    g = dif.prepare_gradient(f, np.zeros(6), dif.Const(np.zeros(6)), backend="autograd")
    same(g(R, W), np.asarray(WRITTEN[name](W, np.empty(6))))


@pytest.mark.parametrize("start", [np.zeros(6), np.full(6, np.nan), np.ones(6)])
def test_random_numbers_of_a_generator(start: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    f = lambda x: anp.sum(generator.normal(size=6) * x**2)
    with pytest.raises(dif.UnsupportedOperatorError, match="random numbers were drawn"):
        dif.prepare_gradient(f, start, backend="autograd", fallback="error")


def test_one_large_entry_hides_no_other() -> None:
    calls: list[int] = []

    def counting(x: Any) -> Any:
        calls.append(1)
        return 1e9 * x[0] + anp.sum(x[1:] ** 2) * len(calls)

    g = dif.prepare_gradient(counting, np.ones(6), backend="autograd")
    assert g.strategy == "eager"


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_sums_that_do_not_overflow(dtype: str) -> None:
    large = np.full(4, np.finfo(dtype).max / 2, dtype)
    f = lambda x: anp.sum(x * 0.125)
    g = dif.prepare_value_and_gradient(f, np.ones(4, dtype), backend="autograd")
    assert np.isfinite(g(large)[0])


def test_constants_that_are_no_numbers() -> None:
    f = lambda x, c: anp.sum(x**2)
    c = np.array(["a", "b"])
    same(dif.prepare_gradient(f, W, dif.Const(c), backend="autograd")(R, c), 2 * R)


NOT_ANALYTIC: dict[str, Callable[[Any], Any]] = {
    "abs": lambda x: np.sum(np.abs(x) ** 2),
    "norm": lambda x: np.linalg.norm(x) ** 2,
    "conj": lambda x: np.sum((x * np.conj(x)).real),
    "real": lambda x: np.sum(np.real(x) ** 3),
}


@pytest.mark.parametrize("start", [np.zeros(2), np.full(2, np.nan)])
@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_functions_that_are_not_analytic(name: str, start: np.ndarray) -> None:
    with pytest.raises(dif.NotDifferentiableError, match="not analytic"):
        dif.prepare_gradient(NOT_ANALYTIC[name], start, backend="complex-step")


@pytest.mark.parametrize("power", [1, 3, 5])
@pytest.mark.parametrize("scale", [1.0, 1e-20])
def test_analytic_functions_at_zero(scale: float, power: int) -> None:
    f = lambda x: scale * np.sum(x**power)
    right = np.full(2, scale if power == 1 else 0.0)
    same(dif.gradient(f, np.zeros(2), backend="complex-step"), right, 1e-12, 1e-30 * scale)


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("f", [np.sqrt, np.log, lambda x: x**1.5, lambda x: np.arcsin(x - 2)])
def test_complex_steps_outside_the_domain(f: Any, prepared: bool) -> None:
    g = lambda x: np.sum(f(x))
    x = np.array([-1.0, -2.0])
    with np.errstate(all="ignore"):
        found = (
            dif.prepare_gradient(g, np.array([1.5, 2.5]), backend="complex-step")(x)
            if prepared
            else dif.gradient(g, x, backend="complex-step")
        )
    assert np.isnan(found).all()


@pytest.mark.parametrize("inner", ["same", "numpy", "complex-step"])
@pytest.mark.parametrize("operator", ["hessian", "hvp"])
def test_second_derivatives_of_functions_of_batches(operator: str, inner: str) -> None:
    batches = dif.FiniteDifferences(vectorized=True)
    backend = batches if inner == "same" else dif.SecondOrder(batches, inner)
    f = lambda x: np.sum(x**3, axis=-1)
    x = np.array([1.0, 2.0])
    seeds = {"tangents": np.ones(2)} if operator == "hvp" else {}
    right = np.diag(6 * x) if operator == "hessian" else 6 * x
    same(getattr(dif, operator)(f, x, backend=backend, **seeds), right, 1e-5)
    prepared = getattr(dif, f"prepare_{operator}")(f, 2 * x, backend=backend)
    same(prepared(x, **seeds), right, 1e-5)


MIXED: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: np.sum(x) * x[..., 0],
    "mean": lambda x: np.sum(x * np.mean(x, axis=0), axis=-1),
    "product": lambda x: np.prod(x) + x[..., 0],
    "norm": lambda x: x[..., 0] * np.linalg.norm(x),
    "other way around": lambda x: np.sum(x[::-1] ** 2, axis=-1),
}
ACROSS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "value_and_gradient": {"in_axes": 0},
    "pushforward": {},
    "hessian": {},
    "hvp": {},
    "jacobian": {"chunk_size": 3},
}


@pytest.mark.parametrize("operator", ACROSS)
@pytest.mark.parametrize("name", MIXED)
def test_batches_whose_points_influence_each_other(name: str, operator: str) -> None:
    backend, options = dif.FiniteDifferences(vectorized=True), ACROSS[operator]
    x = R[None] if "in_axes" in options else R
    with pytest.raises(dif.NotDifferentiableError, match="returns other numbers than at each"):
        getattr(dif, f"prepare_{operator}")(MIXED[name], x, backend=backend, **options)


def test_batches_of_noisy_points() -> None:
    """Results may depend on the length of a batch by as much as rounding and iterations do."""
    noisy = lambda x: np.sum(x**2, axis=-1) * (1 + 1e-7 * len(x))
    for f in (noisy, lambda x: np.float64(noisy(np.float32(x))), lambda x: np.sum(x[..., :0], -1)):
        backend = dif.FiniteDifferences(vectorized=True, step=1e-3)
        same(dif.prepare_gradient(f, R, backend=backend)(R), 2 * R * bool(f(R)), 1e-3)


def test_a_rule_of_autograd_that_returns_another_shape() -> None:
    mask = W > 2
    with pytest.raises(dif.UnsupportedOperatorError, match="one of its own rules is wrong"):
        dif.gradient(lambda t: anp.sum(anp.where(mask, t, W) ** 2), 2.0, backend="autograd")
    portable = lambda t: anp.sum(dif.namespace(t).where(mask, t, W) ** 2)
    assert dif.gradient(portable, 2.0, backend="autograd") == 16.0
