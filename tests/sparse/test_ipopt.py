"""The object that Ipopt takes: its callbacks, and Ipopt itself where it is installed."""

import numpy as np
import pytest
import scipy.sparse as sp
from sparse_cases import rosenbrock

import diffface as dif

# W. Hock and K. Schittkowski, Test Examples for Nonlinear Programming Codes, 1981, problem 71.
HS71 = (1.0, 4.74299963, 3.82114998, 1.37940829)
BACKENDS = ["jax", "torch", "autograd", "numpy", "complex-step"]


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_ipopt_solves_problem_71(backend):
    # It is built against Ipopt's own library, which pip does not bring.
    cyipopt = pytest.importorskip("cyipopt")
    _, _, problem = hs71(backend)
    nlp = cyipopt.Problem(
        n=problem.n, m=problem.m, problem_obj=problem, lb=np.ones(4), ub=np.full(4, 5.0),
        cl=problem.cl, cu=problem.cu,
    )  # fmt: skip
    for option, value in {"print_level": 0, "sb": "yes", "max_iter": 20}.items():
        nlp.add_option(option, value)
    x, info = nlp.solve(problem.x0)
    assert info["status"] == 0
    np.testing.assert_allclose(x, HS71, rtol=1e-7)
    assert info["obj_val"] == pytest.approx(17.0140173, rel=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
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


def test_black_boxes_are_probed_where_that_is_asked_for():
    def product(x):
        y = np.zeros(1)
        y[0] = x[0] * x[1]
        return y

    x0 = np.array([1.0, 2.0, 3.0])
    problem = dif.objective(lambda x: (x**2).sum(), x0, backend="numpy")
    with pytest.raises(dif.SparsityError, match="sparsity='probe'"):
        problem.ipopt(dif.constraint(product, 0, 1, x0, backend="numpy"))
    nlp = problem.ipopt(dif.constraint(product, 0, 1, x0, backend="numpy", sparsity="probe"))
    np.testing.assert_allclose(Ipopt(nlp).jacobian(x0), [[2, 1, 0]], rtol=1e-7)
    np.testing.assert_allclose(
        Ipopt(nlp).hessian(x0, np.array([3.0]), 1.0), [[2, 3, 0], [3, 2, 0], [0, 0, 2]], atol=1e-4
    )


def test_patterns_are_probed_at_multipliers_that_hide_nothing():
    options = {"backend": "autograd", "sparsity": "probe"}
    up = dif.constraint(lambda x: x[0] * x[1] + x[0], 0, 1, np.ones(2), **options)
    down = dif.constraint(lambda x: x[1] - x[0] * x[1], 0, 1, np.ones(2), **options)
    nlp = dif.objective(lambda x: (x**3).sum(), np.ones(2), **options).ipopt([up, down])
    found = Ipopt(nlp).hessian(np.ones(2), np.array([2.0, 0.5]), 1.0)
    np.testing.assert_allclose(found, [[6, 1.5], [1.5, 6]], rtol=1e-12)
    # SciPy's trust-constr asks at zero first.
    assert not up.hess(np.ones(2), np.zeros(1)).toarray().any()
    np.testing.assert_allclose(up.hess(np.ones(2), [3.0]).toarray(), [[0, 3], [3, 0]], rtol=1e-12)
