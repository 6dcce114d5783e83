"""Sparse derivatives inside of what is differentiated or traced: their entries carry it."""

import numpy as np
import pytest
from sparse_cases import tridiagonal

import diffface as dif

X = np.linspace(0.5, 1.5, 5)
# Of the sum of the squared entries: on the diagonal they are 3 - 4 x, and constant elsewhere.
SLOPE = -8 * (3 - 4 * X)
EXACT = ["jax", "torch", "autograd"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", EXACT)
def test_the_entries_carry_a_derivative(backend):
    sparse = dif.prepare_jacobian(tridiagonal, X, backend=backend, sparsity="trace")
    loss = lambda x: dif.namespace(x).sum(sparse.data(x) ** 2)
    np.testing.assert_allclose(dif.gradient(loss, X, backend=backend), SLOPE, rtol=1e-12)
    np.testing.assert_allclose(
        dif.prepare_gradient(loss, X, backend=backend)(X + 1), SLOPE + 32, rtol=1e-12
    )


def test_a_matrix_of_scipy_refuses_to():
    sparse = dif.prepare_jacobian(tridiagonal, X, backend="autograd", sparsity="trace")
    with pytest.raises(dif.NotDifferentiableError) as caught:
        dif.gradient(lambda x: sparse(x).sum(), X, backend="autograd")
    assert str(caught.value) == (
        "A sparse matrix of SciPy carries no derivative. Prepare the sparse derivative before, "
        "and take its entries by `data(...)`, which do; or leave `sparsity` out."
    )


@pytest.mark.slow
def test_matrices_of_jax_and_torch_do():
    import jax
    import jax.numpy as jnp
    import torch

    with jax.enable_x64(True):
        x = jnp.asarray(X)
        sparse = dif.prepare_jacobian(tridiagonal, x, sparsity="trace")
        slope = jax.jit(jax.grad(lambda x: ((sparse(x) @ jnp.ones(5)) ** 2).sum()))(x)
        dense = jax.grad(lambda x: (dif.jacobian(tridiagonal, x).sum(1) ** 2).sum())(x)
    np.testing.assert_allclose(slope, dense, rtol=1e-12)
    x = torch.tensor(X)
    sparse = dif.prepare_jacobian(tridiagonal, x, sparsity="trace")
    loss = lambda x: ((sparse(x) @ torch.ones(5, dtype=x.dtype)) ** 2).sum()
    np.testing.assert_allclose(dif.gradient(loss, x), dense, rtol=1e-12)


@pytest.mark.parametrize("backend", ["jax", "autograd"])
def test_a_pattern_is_to_be_found_before(backend):
    lazy = dif.prepare_jacobian(tridiagonal, backend=backend, sparsity="trace")
    for f in (
        lambda x: lazy.data(x).sum(),
        lambda x: dif.jacobian(tridiagonal, x, backend=backend, sparsity="trace").sum(),
    ):
        with pytest.raises(dif.NotDifferentiableError, match="Prepare the derivative before"):
            dif.gradient(f, X, backend=backend)
    assert lazy(X).nnz == 13
