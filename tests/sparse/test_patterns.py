"""Traced patterns: large enough at every point, no larger than need be; values are right."""

import numpy as np
import pytest
from sparse_cases import HESSIANS, JACOBIANS, N

import diffface as dif

pytestmark = pytest.mark.slow  # has not run as a whole in the gate yet

EXACT = ["jax", "torch", "autograd"]
ALL = [*EXACT, "numpy", "complex-step"]
# What complex step cannot differentiate, sparse or dense: its functions decide by comparing.
NOT_ANALYTIC = {"maximum", "by_order", "sort", "where", "floor", "of_a_where"}


def cases(functions, backends):
    return [
        pytest.param(f, backend, id=f"{f.__name__}-{backend}")
        for backend in backends
        for f in functions
        if not (backend == "complex-step" and f.__name__ in NOT_ANALYTIC)
    ]


def points(n, count=6):
    rng = np.random.default_rng(5)
    return [rng.uniform(-2, 2, n) for _ in range(count)]


def start(f):
    # Prepared at zeros, where numerical patterns lose entries.
    return np.full(N, 0.5) if f.__name__ == "norm" else np.zeros(N)


@pytest.mark.parametrize(("f", "backend"), cases(JACOBIANS, ALL))
def test_a_traced_jacobian_is_the_dense_one_at_every_point(f, backend):
    sparse = dif.prepare_jacobian(f, start(f), backend=backend, sparsity="trace")
    dense = dif.prepare_jacobian(f, start(f), backend=backend)
    for x in points(N):
        expected = dense(x).reshape(-1, N)
        found = sparse(x)
        assert not expected[~sparse.sparsity.toarray()].any()
        np.testing.assert_allclose(found.toarray(), expected, rtol=1e-12, atol=1e-13)
        assert np.array_equal(found.indices, sparse.sparsity.cols)


@pytest.mark.parametrize(("f", "backend"), cases(HESSIANS, ALL))
def test_a_traced_hessian_is_the_dense_one_at_every_point(f, backend):
    sparse = dif.prepare_hessian(f, np.zeros(N), backend=backend, sparsity="trace")
    exact = backend in EXACT
    dense = dif.prepare_hessian(f, np.zeros(N), backend=backend if exact else "autograd")
    for x in points(N):
        expected = dense(x)
        found = sparse(x)
        assert not expected[~sparse.sparsity.toarray()].any()
        rtol = 1e-12 if exact else 1e-4
        scale = abs(expected).max(initial=1e-3)
        np.testing.assert_allclose(found.toarray(), expected, rtol=rtol, atol=rtol * scale)


# How many entries there are, where that is known.
SIZES = {
    "tridiagonal": 10, "where": 8, "maximum": 8, "gathered": 7, "duplicates": 4, "cumsum": 10,
    "product_with_zeros": 6, "times_zero": 2, "floor": 4, "norm": 16, "mean": 16, "outer": 28,
    "square_product": 12, "constant": 0, "one_row": 4, "rows_that_are_empty": 2, "exponential": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("f", "backend"), cases([f for f in JACOBIANS if f.__name__ in SIZES], ALL)
)
def test_a_traced_pattern_has_no_entry_too_many(f, backend):
    found = dif.jacobian_sparsity(f, start(f), backend=backend)
    assert found.nnz == SIZES[f.__name__]
    assert not found.dense


@pytest.mark.parametrize("backend", ALL)
def test_what_is_not_known_is_named(backend):
    from sparse_cases import solve

    found = dif.jacobian_sparsity(solve, np.zeros(N), backend=backend)
    assert found.nnz == N * N
    assert "solve" in found.dense or "lu" in found.dense


@pytest.mark.parametrize("backend", ALL)
def test_zeros_of_a_constant_are_in_the_pattern_only_if_it_cannot_change(backend):
    def f(x, W):
        return dif.namespace(x).matmul(W, x)

    W = np.array([[1.0, 0, 0], [0, 2, 0], [0, 3, 4]])
    x = np.ones(3)
    prepared = dif.prepare_jacobian(f, x, dif.Const(W), backend=backend, sparsity="trace")
    assert prepared.sparsity.nnz == 9
    other = np.arange(9.0).reshape(3, 3)
    np.testing.assert_allclose(prepared(x, other).toarray(), other, rtol=1e-6)


@pytest.mark.parametrize("backend", ALL)
def test_a_constant_number_may_be_zero_at_preparation(backend):
    prepared = dif.prepare_jacobian(
        lambda x, a: a * x, np.ones(3), dif.Const(0.0), backend=backend, sparsity="trace"
    )
    np.testing.assert_allclose(prepared(np.ones(3), 2.0).toarray(), 2 * np.eye(3), rtol=1e-8)


@pytest.mark.parametrize("backend", EXACT)
def test_indices_that_come_with_the_call_make_it_dense(backend):
    def f(x, at):
        return dif.namespace(x).take(x, at) * x

    at = np.array([2, 0, 1])
    found = dif.prepare_jacobian(f, np.ones(3), dif.Const(at), backend=backend, sparsity="trace")
    assert found.sparsity.nnz == 9
    assert found.sparsity.dense
    other = np.array([0, 0, 2])
    dense = dif.jacobian(f, np.arange(3.0), dif.Const(other), backend=backend)
    np.testing.assert_allclose(found(np.arange(3.0), other).toarray(), dense)
