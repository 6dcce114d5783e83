"""Sparse derivatives in SciPy's solvers."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares, minimize, newton_krylov, root
from scipy.sparse.linalg import LinearOperator, splu
from sparse_cases import rosenbrock, tridiagonal

import diffface as dif

BACKENDS = ["jax", "torch", "autograd", "numpy", "complex-step"]
n = 30


def heat(t, u, k):
    xp = dif.namespace(u)
    zero = xp.zeros_like(u[:1])
    return k * (xp.concat([zero, u[:-1]]) - 2 * u + xp.concat([u[1:], zero]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"tr_solver": "lsmr"}, {"bounds": (-2.0, 2.0)}],
    ids=["trf", "lsmr", "bounds"],
)
def test_least_squares_takes_a_sparse_jacobian(backend, options):
    x0 = np.full(n, -1.0)
    problem = dif.residuals(lambda x: tridiagonal(x) + 1, x0, backend=backend, sparsity="trace")
    assert sp.issparse(problem.jac(x0))
    dense = dif.residuals(lambda x: tridiagonal(x) + 1, x0, backend="autograd")
    found = least_squares(problem.fun, x0, jac=problem.jac, xtol=1e-12, **options)
    expected = least_squares(dense.fun, x0, jac=dense.jac, xtol=1e-12, **options)
    np.testing.assert_allclose(found.x, expected.x, atol=1e-6)
    assert abs(tridiagonal(found.x) + 1).max() < 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_solve_ivp_takes_a_sparse_jacobian(backend, method):
    u0 = np.sin(np.pi * np.arange(1, n + 1) / (n + 1))
    problem = dif.residuals(heat, 0.0, u0, 50.0, argnums=1, backend=backend, sparsity="trace")
    assert sp.issparse(problem.rhs_jac(0.0, u0))
    found = solve_ivp(
        problem.rhs, (0, 1), u0, method=method, jac=problem.rhs_jac, rtol=1e-8, atol=1e-10
    )
    # An eigenvector of the Laplacian decays at its eigenvalue.
    rate = 2 * 50 * (1 - np.cos(np.pi / (n + 1)))
    np.testing.assert_allclose(found.y[:, -1], u0 * np.exp(-rate), rtol=1e-5)


def test_newton_krylov_takes_a_factorised_jacobian_as_its_preconditioner():
    x0 = np.full(n, -1.0)
    problem = dif.residuals(
        lambda x: tridiagonal(x) + 1, x0, backend="autograd", sparsity="trace", format="csc"
    )
    inverse = LinearOperator((n, n), splu(problem.jac(x0)).solve)
    calls = []

    def fun(x):
        calls.append(x)
        return problem.fun(x)

    found = newton_krylov(fun, x0, inner_M=inverse, f_tol=1e-10)
    with_it, calls = len(calls), []
    newton_krylov(fun, x0, f_tol=1e-10)
    assert abs(tridiagonal(found) + 1).max() < 1e-9
    assert with_it < len(calls)


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
@pytest.mark.parametrize("method", ["trust-constr", "Newton-CG"])
def test_minimize_takes_a_sparse_hessian(backend, method):
    x0 = np.full(6, 0.8)
    problem = dif.objective(rosenbrock, x0, backend=backend, sparsity="trace")
    assert sp.issparse(problem.hess(x0))
    found = minimize(problem.fun, x0, jac=problem.jac, hess=problem.hess, method=method)
    np.testing.assert_allclose(found.x, 1, atol=1e-3)


def test_a_constraint_is_sparse_in_trust_constr():
    x0 = np.full(4, 0.5)
    problem = dif.objective(lambda x: ((x - 2) ** 2).sum(), x0, backend="autograd",
                            sparsity="trace")  # fmt: skip
    disc = dif.constraint(lambda x: x[:2] ** 2 + x[2:] ** 2, -np.inf, 1, x0, backend="autograd",
                          sparsity="trace")  # fmt: skip
    assert sp.issparse(disc.jac(x0))
    assert sp.issparse(disc.hess(x0, np.ones(2)))
    found = minimize(problem.fun, x0, jac=problem.jac, hess=problem.hess, method="trust-constr",
                     constraints=[disc])  # fmt: skip
    np.testing.assert_allclose(found.x, np.sqrt(0.5), atol=1e-4)


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_problems_have_matrices_of_the_format_that_is_asked_for(form):
    x0 = np.linspace(0.5, 1.5, 4)
    options = {"backend": "autograd", "sparsity": "trace", "format": form}
    fit, scalar = (
        dif.residuals(tridiagonal, x0, **options),
        dif.objective(rosenbrock, x0, **options),
    )
    bound = dif.constraint(tridiagonal, 0, 1, x0, **options)
    found = {
        "jac": fit.jac(x0), "fun_and_jac": fit.fun_and_jac(x0)[1], "hess": scalar.hess(x0),
        "constraint.jac": bound.jac(x0), "constraint.hess": bound.hess(x0, np.ones(4)),
    }  # fmt: skip
    assert dict.fromkeys(found, form) == {k: v.format for k, v in found.items()}
    np.testing.assert_array_equal(
        found["jac"].toarray(), dif.jacobian(tridiagonal, x0, backend="autograd")
    )


def test_formats_that_there_are_not_are_refused_at_once():
    for make in (dif.residuals, dif.objective):
        with pytest.raises(dif.InvalidArgumentError) as caught:
            make(tridiagonal, np.ones(4), backend="autograd", sparsity="trace", format="lil")
        assert str(caught.value) == "`format` must be one of 'csr', 'csc', 'coo', got 'lil'."
        with pytest.raises(dif.InvalidArgumentError, match="pass `sparsity`, too"):
            make(tridiagonal, np.ones(4), backend="autograd", format="csc")


def test_solvers_that_take_dense_matrices_alone_are_refused():
    x0 = np.full(4, -1.0)
    problem = dif.residuals(tridiagonal, x0, backend="autograd", sparsity="trace")
    with pytest.raises(dif.UnsupportedOperatorError) as caught:
        root(problem.fun, x0, jac=problem.jac)
    assert str(caught.value) == (
        "SciPy's root(method='hybr') takes no sparse matrices; use method='krylov' or "
        "`least_squares`, or leave `sparsity` out."
    )
    scalar = dif.objective(rosenbrock, x0, backend="autograd", sparsity="trace")
    for method in ("trust-exact", "dogleg", "trust-ncg", "trust-krylov"):
        with pytest.raises(dif.UnsupportedOperatorError, match=f"method='{method}'"):
            minimize(scalar.fun, x0, jac=scalar.jac, hess=scalar.hess, method=method)
