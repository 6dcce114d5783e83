"""Traced patterns: large enough at every point, no larger than need be; values are right."""

import numpy as np
import pytest
from sparse_cases import HESSIANS, JACOBIANS, N, compiled, points

import diffface as dif

EXACT = ["jax", "torch", "autograd"]
ALL = [*EXACT, "numpy", "complex-step"]
# What complex step cannot differentiate, sparse or dense: its functions decide by comparing.
NOT_ANALYTIC = {"maximum", "by_order", "sort", "where", "floor", "of_a_where"}

# How many entries there are, where that is known.
SIZES = {
    "tridiagonal": 10, "where": 8, "maximum": 8, "gathered": 7, "duplicates": 4, "cumsum": 10,
    "product_with_zeros": 6, "times_zero": 2, "floor": 4, "norm": 16, "mean": 16, "outer": 28,
    "square_product": 12, "constant": 0, "one_row": 4, "rows_that_are_empty": 2, "exponential": 4,
}  # fmt: skip


def those(functions, backend):
    return [f for f in functions if backend != "complex-step" or f.__name__ not in NOT_ANALYTIC]


# All functions in one preparation: of Jacobians as a tree of results, of Hessians as a sum over
# one argument for each. Both start at zeros, where numerical patterns lose entries.


@pytest.mark.slow
@pytest.mark.parametrize("backend", ALL)
def test_traced_jacobians_are_the_dense_ones_at_every_point(backend):
    functions = those(JACOBIANS, backend)

    def f(x):
        return {g.__name__: g(x) for g in functions}

    f = compiled(f, backend)
    sparse = dif.prepare_jacobian(f, np.zeros(N), backend=backend, sparsity="trace")
    before = None
    for x in points(N):
        found, expected = sparse(x), dif.jacobian(f, x, backend=backend)
        for name, matrix in found.items():
            np.testing.assert_allclose(
                matrix.toarray(), expected[name].reshape(-1, N), rtol=1e-12, atol=1e-13,
                err_msg=name,
            )  # fmt: skip
            assert before is None or np.array_equal(matrix.indices, before[name].indices), name
            assert name not in SIZES or matrix.nnz == SIZES[name], name
        before = found
    assert "solve" in sparse.sparsity.dense or "lu" in sparse.sparsity.dense


@pytest.mark.slow
@pytest.mark.parametrize("backend", ALL)
def test_traced_hessians_are_the_dense_ones_at_every_point(backend):
    functions = those(HESSIANS, backend)

    def f(*xs):
        return sum(h(x) for h, x in zip(functions, xs, strict=True))

    f = compiled(f, backend)
    start = [np.zeros(N)] * len(functions)
    exact = backend in EXACT
    rtol = 1e-12 if exact else 1e-4
    sparse = dif.prepare_hessian(f, *start, backend=backend, sparsity="trace")
    dense = (
        dif.prepare_hessian(f, *start, backend="autograd")
        if not exact
        else (lambda *xs: dif.hessian(f, *xs, backend=backend))
    )
    for x in points(N):
        xs = [x] * len(start)
        found, expected = sparse(*xs), dense(*xs)
        for i, h in enumerate(functions):
            scale = abs(expected[i][i]).max(initial=1e-3)
            np.testing.assert_allclose(
                found[i][i].toarray(), expected[i][i], rtol=rtol, atol=rtol * scale,
                err_msg=h.__name__,
            )  # fmt: skip
            assert not any(found[i][j].nnz for j in range(len(start)) if j != i), h.__name__


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

    f = compiled(f, backend)
    at = np.array([2, 0, 1])
    found = dif.prepare_jacobian(f, np.ones(3), dif.Const(at), backend=backend, sparsity="trace")
    assert found.sparsity.nnz == 9
    assert found.sparsity.dense
    other = np.array([0, 0, 2])
    dense = dif.jacobian(f, np.arange(3.0), dif.Const(other), backend=backend)
    np.testing.assert_allclose(found(np.arange(3.0), other).toarray(), dense)
