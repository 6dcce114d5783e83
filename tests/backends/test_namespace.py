"""One function, written once, on every backend."""

from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, FIRST, KINDS, SECOND, make, same

import diffface as dif

pytestmark = pytest.mark.numerical

CONSTANT = np.array([[2.0, 0.5, 0.0], [0.5, 3.0, 0.25], [0.0, 0.25, 4.0]])
X = np.array([0.5, -1.25, 2.0])


def portable(x: Any, matrix: Any) -> Any:
    """exp, where, stack, indexing, matmul, linalg.solve and a constant array."""
    xp = dif.namespace(x, matrix)
    weights = xp.asarray([1.0, 2.0, 3.0], dtype=x.dtype)
    bent = xp.where(x > 0, xp.exp(x), x * x)
    stacked = xp.stack([bent, weights * x], axis=0)
    solved = xp.linalg.solve(matrix, stacked[0, :])
    return xp.sum(solved * stacked[1, :]) + xp.sum((stacked @ matrix) ** 2) + x[0] * x[-1]


def closed_form(x: Any) -> Any:
    """The gradient of ``portable`` by hand."""
    w, a = np.array([1.0, 2.0, 3.0]), CONSTANT
    bent = np.where(x > 0, np.exp(x), x * x)
    slope = np.where(x > 0, np.exp(x), 2 * x)
    inverse = np.linalg.inv(a)
    g = slope * (inverse.T @ (w * x)) + w * (inverse @ bent)
    g = g + 2 * slope * (a @ a.T @ bent) + 2 * w * (a @ a.T @ (w * x))
    return g + np.array([x[2], 0.0, x[0]])


def central(g: Any, x: Any, h: float = 1e-6) -> Any:
    """Central differences of ``g``, column by column."""
    return np.stack([(g(x + h * e) - g(x - h * e)) / (2 * h) for e in np.eye(len(x))], axis=-1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("of", KINDS)
def test_one_function_everywhere(of: str, backend: str) -> None:
    x, matrix = make(of, X), dif.Const(make(of, CONSTANT))
    other = make(of, X[::-1] + 0.1)
    y, g = dif.value_and_gradient(portable, x, matrix, backend=backend)
    same(y, portable(X, CONSTANT), 1e-12)
    same(g, closed_form(X), 30 * FIRST[backend])
    prepared = dif.prepare_gradient(portable, other, matrix, backend=backend)
    same(prepared(x, make(of, CONSTANT)), closed_form(X), 30 * FIRST[backend])
    h = dif.hessian(portable, x, matrix, backend=backend)
    same(h, central(closed_form, X), 1e-5, atol=20 * SECOND[backend] + 1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_matrix_is_differentiated_as_well(backend: str) -> None:
    g = dif.gradient(portable, X, CONSTANT, argnums=1, backend=backend)
    flat = central(lambda a: portable(X, a.reshape(3, 3)), CONSTANT.ravel())
    same(g, flat.reshape(3, 3), 1e-6, atol=1e-6)


def test_which_namespace() -> None:
    import array_api_compat
    import jax

    assert dif.namespace() is np
    assert dif.namespace(X) is np
    assert dif.namespace(1.0, "s", None, X) is np
    assert dif.namespace(make("jax", X)) is jax.numpy
    assert dif.namespace(X, make("jax", X)) is jax.numpy
    assert array_api_compat.is_torch_namespace(dif.namespace(make("torch", X)))
    seen = []
    for backend in ("jax", "torch", "autograd", "numpy"):
        dif.gradient(lambda x: seen.append(dif.namespace(x)) or x[0], X, backend=backend)
    assert seen[0] is jax.numpy
    assert seen[1] is dif.namespace(make("torch", X))
    assert seen[2] not in (np, jax.numpy)
    assert all(xp is np for xp in seen[3:])


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_constants_come_as_the_namespace_wants_them(backend: str) -> None:
    """A NumPy constant can be combined with any argument, at either side."""

    def f(x: Any, c: Any) -> Any:
        xp = dif.namespace(x, c)
        assert dif.namespace(x) is xp
        assert dif.namespace(c, x) is xp
        return xp.sum(c @ x) + xp.sum(c * x) + xp.sum(x / (c + 1.0))

    same(
        dif.gradient(f, X, dif.Const(CONSTANT), backend=backend),
        CONSTANT.sum(0) * 2 + (1 / (CONSTANT + 1)).sum(0),
    )


@pytest.mark.parametrize(
    "name",
    ["vecdot", "take", "take by NumPy", "cumulative_sum", "vector_norm", "asarray", "flip",
     "clip", "permute_dims", "concat", "matrix_transpose"],
)  # fmt: skip
# torch.asarray announces that it now keeps requires_grad, which is what is wanted here.
@pytest.mark.filterwarnings("ignore:torch.asarray")
@pytest.mark.parametrize("backend", BACKENDS)
def test_functions_of_the_standard(name: str, backend: str) -> None:
    """Functions whose autograd version has no gradient, and new names of the standard."""

    def f(x: Any) -> Any:
        xp = dif.namespace(x)
        y = {
            "vecdot": lambda: xp.vecdot(x, x * x),
            "take": lambda: xp.take(x, xp.asarray([2, 0, 2]), axis=0) ** 2,
            "take by NumPy": lambda: xp.take(x, np.array([2, 0, 2]), axis=0) ** 2,
            "cumulative_sum": lambda: xp.cumulative_sum(x * x, axis=0),
            "vector_norm": lambda: xp.linalg.vector_norm(x),
            "asarray": lambda: xp.asarray(x) ** 3,
            "flip": lambda: xp.flip(x, axis=0) * x,
            "clip": lambda: xp.clip(x, -1.0, 1.0) * x,
            "permute_dims": lambda: xp.permute_dims(x[None, :], (1, 0)) @ x[None, :],
            "concat": lambda: xp.concat([x, x * x]),
            "matrix_transpose": lambda: xp.matrix_transpose(x[None, :] * x[:, None] ** 2),
        }[name]()
        weights = xp.reshape(xp.cumulative_sum(xp.ones_like(xp.reshape(y, (-1,)))), y.shape)
        return xp.sum(y * weights)

    if name in ("vecdot", "vector_norm") and backend == "complex-step":
        with pytest.raises(dif.NotDifferentiableError, match="is not analytic"):  # they conjugate
            dif.gradient(f, X, backend=backend)
        return
    reference = central(f, X)
    same(dif.gradient(f, X, backend=backend), reference, 1e-7, atol=1e-7)


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_signs_are_recorded(backend: str) -> None:
    def size(x: Any) -> Any:
        return dif.namespace(x).sign(x) * x

    x = np.array([-2.0, 0.0, 3.0, np.nan])
    found = dif.prepare_jacobian(size, x, backend=backend, fallback="error", mode="forward")(x)
    same(np.diag(found), np.array([-1.0, 0.0, 1.0, np.nan]))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "complex64", "int32"])
def test_signs_of_tensors(dtype: str) -> None:
    import torch

    x = torch.tensor([-2.0, 0.0, 3.0]).to(getattr(torch, dtype))
    if dtype != "int32":
        x = torch.cat([x, torch.tensor([np.nan, np.inf]).to(x.dtype)])
    found = dif.namespace(x).sign(x)
    assert found.dtype == x.dtype
    finite = np.isfinite(x.to(torch.complex128).numpy())
    expected = np.where(finite, [-1, 0, 1, 0, 0][: len(x)], np.nan)
    if dtype not in ("complex64", "int32"):
        expected[4] = 1
    np.testing.assert_array_equal(found.to(torch.complex128).numpy().real, expected)
