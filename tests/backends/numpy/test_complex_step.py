"""Gradients and Jacobians by complex steps that move one coordinate at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import diffface as dif
from diffface import NotDifferentiableError

pytestmark = pytest.mark.numerical
X = np.array([0.5, -1.25, 3.0, 700.0])
CALLERS = pytest.mark.parametrize("prepared", [True, False])


def gradient(f: Callable[..., Any], x: Any, prepared: bool) -> Any:
    if not prepared:
        return dif.gradient(f, x, backend="complex-step")
    return dif.prepare_gradient(f, x, backend="complex-step", fallback="error")(x)


def cubes(x: Any) -> Any:
    return np.sum(x**3) + np.prod(x)


def of_cubes(x: Any) -> Any:
    return 3 * x**2 + np.prod(x) / x


@CALLERS
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_dtypes(dtype: Any, prepared: bool) -> None:
    x = X[:3].astype(dtype)
    found = gradient(cubes, x, prepared)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, of_cubes(x.astype(np.float64)), rtol=4 * np.finfo(dtype).eps)


@CALLERS
@pytest.mark.parametrize("order", ["C", "F"])
def test_matrices_and_trees(order: Any, prepared: bool) -> None:
    def f(tree: Any) -> Any:
        return cubes(tree["a"].reshape(-1)) * tree["b"] ** 2

    x = {"a": np.asarray(X.reshape(2, 2), order=order), "b": 3.0}
    found = gradient(f, x, prepared)
    np.testing.assert_allclose(found["a"], 9 * of_cubes(X).reshape(2, 2), rtol=1e-14)
    np.testing.assert_allclose(found["b"], 6 * cubes(X), rtol=1e-14)


@CALLERS
def test_far_from_one(prepared: bool) -> None:
    """The step follows each coordinate by itself, so that no imaginary part underflows."""
    x = np.array([1e150, 1.0, -1e-150, 2.0])
    found = gradient(lambda x: np.sum(1 / x[:2]) + np.sum(np.exp(x[1:])), x, prepared)
    right = [-1e-300, np.e - 1, 1.0, np.exp(2.0)]
    np.testing.assert_allclose(found, right, rtol=1e-14)


@CALLERS
def test_argument_written_to_and_result_written_to_again(prepared: bool) -> None:
    buffers = {dtype: np.empty((), dtype) for dtype in (float, complex)}
    kept = []

    def f(x: Any) -> Any:
        kept.append(x)
        buffer = buffers[complex if np.iscomplexobj(x) else float]
        buffer[...] = cubes(x)
        x[:] = np.nan
        return buffer

    x = X.copy()
    np.testing.assert_allclose(gradient(f, x, prepared), of_cubes(X), rtol=1e-14)
    np.testing.assert_array_equal(x, X)
    assert len(set(map(id, kept))) == len(kept)


@CALLERS
def test_real_and_python_numbers(prepared: bool) -> None:
    np.testing.assert_array_equal(gradient(lambda _: 2.0, X, prepared), np.zeros(4))
    found = gradient(lambda x: cubes(x).item(), X, prepared)
    np.testing.assert_allclose(found, of_cubes(X), rtol=1e-14)


def test_signed_zeros_stay() -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.append(np.copysign(1.0, x.real))
        return np.sum(x)

    dif.prepare_gradient(f, np.array([-0.0, 0.0]), backend="complex-step")(np.array([-0.0, 0.0]))
    *_, one, other, _check = seen
    assert np.array_equal(one, [-1.0, 1.0])
    assert np.array_equal(other, [-1.0, 1.0])


@pytest.mark.parametrize("backend", ["complex-step", "numpy"])
@pytest.mark.parametrize("later", [lambda x: x, lambda x: x[:1], lambda x: np.float64(1) + x[:2]])
def test_another_result_at_a_later_evaluation(backend: str, later: Any) -> None:
    good = [100]

    def f(x: Any) -> Any:
        good[0] -= 1
        return np.sum(x) if good[0] >= 0 else later(x)

    g = dif.prepare_gradient(f, X, backend=backend)
    for count in (1, 2):
        good[0] = count
        with pytest.raises(NotDifferentiableError) as caught:
            g(X)
        assert str(caught.value) == (
            "`f` must return one real number (shape ()) at every evaluation, got something else "
            "at a later one."
        )


@pytest.mark.parametrize(
    "f",
    [
        lambda x: 1j * x,
        lambda x: np.exp(1j * x) * x,
        lambda x: x + 1e-9j * x,
        lambda x: 5 + 1j * x**3,
    ],
)
@pytest.mark.parametrize("x", [np.zeros(3), np.array([1.0, 0.0, -0.3])], ids=["zeros", "others"])
def test_complex_results_of_real_arguments_are_refused(f, x):
    """Also where the value happens to be real: the step cannot be told from a part of it."""
    backend = {"backend": "complex-step"}
    for call in (
        lambda: dif.jacobian(f, x, **backend),
        lambda: dif.value_and_jacobian(f, x, **backend),
        lambda: dif.pushforward(f, x, tangents=np.ones(3), **backend),
        lambda: dif.prepare_jacobian(f, np.ones(3), **backend)(x),
        lambda: dif.jacobian(lambda x, c: f(x) * c, x, dif.Const(np.ones(3)), **backend),
    ):
        with pytest.raises(dif.NotDifferentiableError) as caught:
            call()
        assert str(caught.value) == (
            "`f` returns complex numbers for real arguments, which the complex-step backend cannot "
            'differentiate; use "jax", "torch", "autograd" or "numpy".'
        )


def test_results_of_complex_type_that_are_real():
    x = np.array([0.3, -1.0])
    found = dif.jacobian(lambda x: np.sin(x) + 0j, x, backend="complex-step")
    np.testing.assert_allclose(found, np.diag(np.cos(x)), rtol=1e-14)


@CALLERS
def test_beside_an_infinity(prepared: bool) -> None:
    with np.errstate(all="ignore"):
        # The logarithm of a negative zero is complex.
        found = gradient(lambda x: np.sum(np.log(x)), np.array([-0.0, 1.0]), prepared)
        assert np.isnan(found).all()
        found = gradient(lambda x: np.sum(x) + np.inf, np.array([-0.0, 1.0]), prepared)
        np.testing.assert_array_equal(found, 1.0)
