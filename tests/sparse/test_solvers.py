"""Sparse derivatives in SciPy's solvers, and in the object that Ipopt takes."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares, minimize, root
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


# W. Hock and K. Schittkowski, Test Examples for Nonlinear Programming Codes, 1981, problem 71.
HS71 = (1.0, 4.74299963, 3.82114998, 1.37940829)


def hs71(backend):
    x0 = np.array([1.0, 5.0, 5.0, 1.0])
    f = lambda x: x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2]
    g = lambda x: x[0] * x[1] * x[2] * x[3]
    h = lambda x: (x**2).sum()
    problem = dif.objective(f, x0, backend=backend)
    product = dif.constraint(g, 25, np.inf, x0, backend=backend)
    sphere = dif.constraint(h, 40, 40, x0, backend=backend)
    return problem, [product, sphere], problem.ipopt(constraints=[product, sphere])


class Ipopt:
    """Asks for callbacks in the order that Ipopt does, and checks what it gets."""

    def __init__(self, nlp):
        self.nlp = nlp
        self.n, self.m = nlp.n, nlp.m
        self.jacobian_places = nlp.jacobianstructure()
        self.hessian_places = nlp.hessianstructure()
        rows, cols = self.hessian_places
        assert (rows >= cols).all()

    def jacobian(self, x):
        rows, cols = self.jacobian_places
        values = self.nlp.jacobian(x)
        assert values.dtype == float
        assert values.shape == rows.shape
        return sp.coo_array((values, (rows, cols)), shape=(self.m, self.n)).toarray()

    def hessian(self, x, multipliers, factor):
        rows, cols = self.hessian_places
        values = self.nlp.hessian(x, multipliers, factor)
        assert values.shape == rows.shape
        lower = sp.coo_array((values, (rows, cols)), shape=(self.n, self.n)).toarray()
        return lower + np.tril(lower, -1).T

    def solve(self, x, multipliers, steps=30):
        """Newton's method on the conditions of optimality, with both constraints active and
        the first variable at its bound."""
        free = np.array([1, 2, 3])
        for _ in range(steps):
            c = self.nlp.constraints(x) - np.array([25.0, 40.0])
            J = self.jacobian(x)[:, free]
            H = self.hessian(x, multipliers, 1.0)[np.ix_(free, free)]
            gradient = self.nlp.gradient(x)[free] + J.T @ multipliers
            K = np.block([[H, J.T], [J, np.zeros((2, 2))]])
            step = np.linalg.solve(K, -np.concatenate([gradient, c]))
            x = x.copy()
            x[free] += step[:3]
            multipliers = multipliers + step[3:]
        return x


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd", "numpy"])
def test_ipopts_callbacks_solve_problem_71(backend):
    _, _, nlp = hs71(backend)
    assert (nlp.n, nlp.m) == (4, 2)
    np.testing.assert_array_equal(nlp.cl, [25, 40])
    np.testing.assert_array_equal(nlp.cu, [np.inf, 40])
    x = Ipopt(nlp).solve(np.array([1.0, 4.7, 3.8, 1.4]), np.array([-0.5, 0.2]))
    np.testing.assert_allclose(x, HS71, rtol=1e-6)
    assert nlp.objective(x) == pytest.approx(17.0140173, rel=1e-7)


def test_the_hessian_of_the_lagrangian_is_the_weighted_sum():
    problem, constraints, nlp = hs71("autograd")
    x, multipliers, factor = np.array([1.0, 2, 3, 4]), np.array([0.3, -2.0]), 0.7
    expected = factor * problem.hess(x)
    for i, c in enumerate(constraints):
        expected = expected + c.hess(x, multipliers[i : i + 1])
    np.testing.assert_allclose(Ipopt(nlp).hessian(x, multipliers, factor), expected, rtol=1e-12)
    J = np.vstack([c.jac(x) for c in constraints])
    np.testing.assert_allclose(Ipopt(nlp).jacobian(x), J, rtol=1e-12)


def test_ipopts_constraints_come_from_diffface():
    problem = dif.objective(rosenbrock, np.ones(3), backend="autograd")
    with pytest.raises(dif.InvalidArgumentError) as caught:
        problem.ipopt(constraints=[{"type": "eq"}])
    assert str(caught.value) == ("`constraints` must come from `diffface.constraint`, got dict.")
