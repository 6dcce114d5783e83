"""Black boxes cost as many evaluations as they must, and are not evaluated outside of bounds."""

import numpy as np
import pytest
from helpers import Counted
from scipy.optimize import least_squares, minimize, rosen, rosen_der

import diffface as dif

X = np.array([-1.2, 1.0, 0.7])
N = len(X)
STENCILS = [("forward", N, N + 1), ("central", 2 * N, 2 * N), ("central4", 4 * N, 4 * N)]


@pytest.mark.parametrize(("scheme", "after", "alone"), STENCILS)
def test_fun_costs_one_evaluation_and_jac_those_of_its_stencil(scheme, after, alone):
    f = Counted(rosen)
    problem = dif.objective(f, X, backend=dif.FiniteDifferences(scheme))
    for _ in range(2):
        f.count = 0
        assert problem.fun(X) == rosen(X)
        assert f.count == 1
        np.testing.assert_allclose(problem.jac(X), rosen_der(X), rtol=1e-4, atol=1e-4)
        assert f.count == 1 + after
        problem.jac(X)  # what fun left is taken once, so that nothing is stale
        assert f.count == 1 + after + alone
    assert problem.counts == {"fun": 2, "jac": 4}


@pytest.mark.parametrize(("scheme", "after", "alone"), STENCILS)
def test_residuals_cost_the_same(scheme, after, alone):
    f = Counted(lambda x, c: c * np.sin(x))
    problem = dif.residuals(f, X, 2.0, backend=dif.FiniteDifferences(scheme))
    problem.fun(X)[:] = 0.0
    assert f.count == 1
    np.testing.assert_allclose(problem.jac(X), 2 * np.diag(np.cos(X)), rtol=1e-5)
    assert f.count == 1 + after
    problem.fun(X)
    f.count = 0
    np.testing.assert_allclose(problem.jac(2 * X), 2 * np.diag(np.cos(2 * X)), rtol=1e-5)
    assert f.count == alone
    problem.fun(X, 3.0)
    f.count = 0
    np.testing.assert_allclose(problem.jac(X, 4.0), 4 * np.diag(np.cos(X)), rtol=1e-5)
    assert f.count == alone


def test_nelder_mead_costs_what_it_costs_with_f():
    f = Counted(rosen)
    problem = dif.objective(f, X, backend="numpy")
    found = minimize(problem.fun, problem.x0, method="Nelder-Mead")
    assert f.count == found.nfev == minimize(rosen, X, method="Nelder-Mead").nfev


def test_hessians_cost_one_stencil():
    f = Counted(rosen)
    problem = dif.objective(f, X, backend="numpy")
    problem.hess(X)
    assert f.count == (4 * N) ** 2
    problem.hessp(X, X)
    assert f.count == (4 * N) ** 2 + 4 * 4 * N


def test_data_that_change_are_seen():
    problem = dif.objective(
        lambda x, c: np.sum(c * x**2), X, backend=dif.FiniteDifferences("forward")
    )
    for c in (1.0, 2.0):
        assert problem.fun(X, c) == np.sum(c * X**2)
        np.testing.assert_allclose(problem.jac(X, c), 2 * c * X, rtol=1e-5)


# Bounds


def inside(x):
    """Rosenbrock's function, defined in the unit square alone."""
    assert np.all((x >= 0) & (x <= 1))
    return float((1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)


@pytest.mark.parametrize("method", ["L-BFGS-B", "TNC", "SLSQP"])
@pytest.mark.parametrize("scheme", ["forward", "central", "richardson"])
def test_bounds_of_a_problem_reach_the_stencil(method, scheme):
    problem = dif.objective(inside, [0.0, 0.0], backend=dif.FiniteDifferences(scheme))
    bounds = problem.bounds(0.0, 1.0)
    found = minimize(problem.fun, problem.x0, jac=problem.jac, bounds=bounds, method=method)
    np.testing.assert_allclose(found.x, [1.0, 1.0], atol=0.02)


def test_bounds_of_trees_and_of_second_derivatives():
    f = lambda p: inside(np.array([p["b"], p["a"]]))
    problem = dif.objective(f, {"b": 1.0, "a": 0.0}, backend="numpy")
    problem.jac(np.array([0.5, 0.5]))  # prepared or not, later bounds count
    problem.bounds({"b": 0.0, "a": 0.0}, {"b": 1.0, "a": 1.0})
    np.testing.assert_allclose(problem.jac(problem.x0), [-200.0, 400.0], rtol=1e-6)
    np.testing.assert_allclose(
        problem.hess(problem.x0), [[200.0, -400.0], [-400.0, 1202.0]], rtol=1e-4
    )


def test_bounds_of_residuals():
    def f(p, t):
        assert np.all(p >= 0)
        return p[0] * np.exp(-p[1] * t) - 1.0

    t = np.linspace(0.0, 1.0, 5)
    problem = dif.residuals(f, [2.0, 1.0], t, backend="numpy")
    bounds = problem.bounds(0.0, [np.inf, 3.0])
    found = least_squares(problem.fun, problem.x0, jac=problem.jac, bounds=bounds)
    np.testing.assert_allclose(found.x, [1.0, 0.0], atol=1e-4)


def test_bounds_of_backends_that_leave_the_point_nowhere():
    problem = dif.objective(lambda x: (x**2).sum(), [3.0], backend="autograd")
    problem.bounds(3.0, 4.0)
    np.testing.assert_array_equal(problem.jac([3.0]), [6.0])


def test_values_and_gradients_have_the_same_keywords():
    """The mapping is the caller's, who may put something else into it."""
    data = {"a": 1.0}
    problem = dif.objective(lambda x, a: ((x - a) ** 2).sum(), [3.0], backend="numpy", kwargs=data)
    assert problem.fun([3.0]) == 4.0
    data["a"] = 3.0
    assert problem.fun([3.0]) == 4.0
    np.testing.assert_allclose(problem.jac([3.0]), [4.0], rtol=1e-6)


# Functions of trees of many points each, whose leaves have their own axes last.
TREE = {"a": 1.1, "b": np.array([2.0, 3.0]), "c": np.full((2, 2), 0.5)}


def number_at_each(p):
    cube, square = np.sum(p["b"] ** 3, axis=-1), np.sum(p["c"] ** 2, axis=(-2, -1))
    return p["a"] ** 2 + cube + p["a"] * square


def results_at_each(p):
    return {"ab": np.asarray(p["a"])[..., None] * p["b"], "c": p["c"] ** 2, "a": p["a"]}


@pytest.mark.parametrize("scheme", ["forward", "central", "richardson"])
def test_vectorized_functions_of_trees(scheme):
    one, many = (dif.FiniteDifferences(scheme, vectorized=v) for v in (False, True))
    alone, problem = (dif.objective(number_at_each, TREE, backend=b) for b in (one, many))
    x = problem.x0 + 0.1
    np.testing.assert_array_equal(problem.jac(x), alone.jac(x))
    np.testing.assert_array_equal(problem.hess(x), alone.hess(x))
    np.testing.assert_array_equal(problem.hessp(x, x), alone.hessp(x, x))
    np.testing.assert_array_equal(problem.fun_and_jac(x)[1], alone.jac(x))
    alone, problem = (dif.residuals(results_at_each, TREE, backend=b) for b in (one, many))
    assert problem.jac(x).shape == (7, 7)
    np.testing.assert_array_equal(problem.jac(x), alone.jac(x))
    alone, problem = (dif.constraint(results_at_each, 0, 1, TREE, backend=b) for b in (one, many))
    weights = np.linspace(0.5, 1.5, 7)
    np.testing.assert_array_equal(problem.jac(x), alone.jac(x))
    np.testing.assert_array_equal(problem.hess(x, weights), alone.hess(x, weights))


@pytest.mark.parametrize("transformed", [False, True])
def test_vectorized_log_density_of_trees(transformed):
    transforms = None
    if transformed:
        transforms = {"a": dif.positive, "b": dif.interval(0.0, 9.0), "c": dif.simplex}
    # One point after the other, and all at once.
    alone, density = (
        dif.log_density(number_at_each, TREE, transforms=transforms, backend=backend)
        for backend in (dif.FiniteDifferences(), dif.FiniteDifferences(vectorized=True))
    )
    x = np.stack([density.x0, density.x0 + 0.3, density.x0 - 0.2])
    values, gradients = density.logdensity_and_gradient(x)
    np.testing.assert_array_equal(density.logdensity(x), values)
    for point, value, gradient in zip(x, values, gradients, strict=True):
        expected = alone.logdensity_and_gradient(point)
        np.testing.assert_allclose(value, expected[0], rtol=1e-14)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(density.gradient(point), expected[1], rtol=1e-7, atol=1e-7)


def test_functions_that_are_not_vectorized():
    backend = dif.FiniteDifferences(vectorized=True)
    with pytest.raises(dif.NotDifferentiableError, match="`f` is not vectorized over points"):
        dif.objective(lambda x: np.sum(x) * x[..., 0], X, backend=backend).jac(X)
    with pytest.raises(dif.NotDifferentiableError, match="`f` is not vectorized over points"):
        dif.residuals(lambda x: np.sum(x) * x, X, backend=backend).jac(X)
