"""Vector-valued functions in SciPy's solvers."""

import numpy as np
import pytest
from helpers import AD, BACKENDS, make
from scipy.integrate import solve_bvp, solve_ivp
from scipy.optimize import curve_fit, least_squares, root
from scipy.sparse.linalg import LinearOperator

import diffface as dif

T = np.linspace(0.0, 2.0, 9)
TRUE = np.array([2.5, 1.3])
Y = TRUE[0] * np.exp(-TRUE[1] * T)


def decay(p, t):
    return p[0] * dif.namespace(p).exp(-p[1] * t)


def misfit(p, t, y):
    return decay(p, t) - y


def decay_jacobian(p):
    return np.stack([np.exp(-p[1] * T), -p[0] * T * np.exp(-p[1] * T)], axis=1)


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def test_values_and_jacobian(backend):
    problem = dif.residuals(misfit, [1.0, 1.0], T, Y, backend=backend)
    x = np.array([2.0, 0.5])
    np.testing.assert_allclose(problem.fun(x), 2 * np.exp(-0.5 * T) - Y, rtol=1e-13)
    np.testing.assert_allclose(problem.jac(x), decay_jacobian(x), rtol=1e-7, atol=1e-9)
    for array in (problem.fun(x), problem.jac(x)):
        assert type(array) is np.ndarray
        assert array.dtype == np.float64
        assert array.flags.writeable
    assert problem.counts == {"fun": 2, "jac": 2}


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_least_squares(backend, method):
    problem = dif.residuals(misfit, [1.0, 1.0], backend=backend)
    result = least_squares(problem.fun, problem.x0, jac=problem.jac, method=method, args=(T, Y))
    np.testing.assert_allclose(result.x, TRUE, rtol=1e-6)


def test_least_squares_by_products_alone(backend):
    problem = dif.residuals(misfit, [1.0, 1.0], T, Y, as_operator=True, backend=backend)
    result = least_squares(problem.fun, problem.x0, jac=problem.jac, tr_solver="lsmr")
    np.testing.assert_allclose(result.x, TRUE, rtol=1e-6)
    assert problem.counts["jac"] == 0
    assert problem.counts["jvp"] > 0
    assert problem.counts["vjp"] > 0


def test_the_operator_is_the_jacobian(backend):
    problem = dif.residuals(misfit, [1.0, 1.0], T, Y, as_operator=True, backend=backend)
    x = np.array([2.0, 0.5])
    operator = problem.jac(x)
    expected = decay_jacobian(x)
    x[:] = 0.0  # the operator stays where it was made
    close = {"rtol": 1e-7, "atol": 1e-8}
    assert isinstance(operator, LinearOperator)
    assert operator.shape == (9, 2)
    assert operator.dtype == np.float64
    v, w = np.array([1.0, -2.0]), np.linspace(-1.0, 1.0, 9)
    np.testing.assert_allclose(operator @ v, expected @ v, **close)
    np.testing.assert_allclose(operator.T @ w, expected.T @ w, **close)
    np.testing.assert_allclose(operator @ np.eye(2), expected, **close)
    np.testing.assert_allclose(operator.T @ np.eye(9), expected.T, **close)
    np.testing.assert_allclose(operator @ np.array([1, 0]), expected[:, 0], **close)


def test_data_by_keyword(backend):
    problem = dif.residuals(misfit, [1.0, 1.0], kwargs={"t": T, "y": Y}, backend=backend)
    result = least_squares(problem.fun, problem.x0, jac=problem.jac)
    np.testing.assert_allclose(result.x, TRUE, rtol=1e-6)


def test_residuals_and_parameters_in_trees(backend):
    def f(p, t, y):
        left = {"fit": curve(t, p["scale"], p["rate"]) - y, "prior": p["rate"] - 1.3}
        return left, [(p["scale"] - 2.5) ** 2]

    problem = dif.residuals(f, {"scale": 1.0, "rate": 1.0}, T, Y, backend=backend)
    assert problem.fun(problem.x0).shape == (11,)
    assert problem.jac(problem.x0).shape == (11, 2)
    result = least_squares(
        problem.fun, problem.x0, jac=problem.jac, bounds=problem.bounds({"scale": 0, "rate": None})
    )
    found = problem.unravel(result.x)
    assert found["scale"] == pytest.approx(2.5)
    assert found["rate"] == pytest.approx(1.3)


@pytest.mark.parametrize("method", ["hybr", "lm"])
def test_root_with_a_list_as_in_scipys_manual(backend, method):
    def f(x):
        return [x[0] + 0.5 * (x[0] - x[1]) ** 3 - 1.0, 0.5 * (x[1] - x[0]) ** 3 + x[1]]

    problem = dif.residuals(f, [0, 0], backend=backend)
    found = root(problem.fun, problem.x0, jac=problem.jac, method=method)
    # The solution that the manual of scipy.optimize.root prints.
    np.testing.assert_allclose(found.x, [0.8411639, 0.1588361], atol=1e-7)
    again = root(problem.fun, [0, 0], jac=problem.jac, method=method)
    np.testing.assert_array_equal(again.x, found.x)


def test_results_that_are_constants_or_numbers(backend):
    problem = dif.residuals(lambda x: [x[0] * x[1], 2.0, x[0]], [2.0, 3.0], backend=backend)
    np.testing.assert_allclose(problem.fun([2.0, 3.0]), [6.0, 2.0, 2.0])
    np.testing.assert_allclose(problem.jac([2.0, 3.0]), [[3, 2], [0, 0], [1, 0]], atol=1e-9)
    single = dif.residuals(lambda x: x[0] * x[1], [2.0, 3.0], backend=backend)
    np.testing.assert_allclose(single.fun([2.0, 3.0]), [6.0])
    np.testing.assert_allclose(single.jac([2.0, 3.0]), [[3.0, 2.0]])
    matrix = dif.residuals(lambda x: x.reshape((2, 1)) * x, [2.0, 3.0], backend=backend)
    np.testing.assert_allclose(matrix.fun([2.0, 3.0]), [4.0, 6.0, 6.0, 9.0])


def curve(t, a, b):
    return a * dif.namespace(a).exp(-b * t)


MODELS = {
    "vector first": lambda backend: dif.residuals(decay, [1.0, 1.0], T, backend=backend),
    "vector last": lambda backend: dif.residuals(
        lambda t, p: decay(p, t), T, [1.0, 1.0], argnums=1, backend=backend
    ),
    "numbers": lambda backend: dif.residuals(curve, T, 1.0, 1.0, argnums=(1, 2), backend=backend),
}


@pytest.mark.parametrize("model", MODELS)
def test_curve_fit(backend, model):
    problem = MODELS[model](backend)
    found, covariance = curve_fit(
        problem.curve, T, Y + 1e-3 * np.cos(9 * T), p0=problem.x0, jac=problem.curve_jac
    )
    by_scipy, covariance_by_scipy = curve_fit(curve, T, Y + 1e-3 * np.cos(9 * T), p0=[1.0, 1.0])
    np.testing.assert_allclose(found, by_scipy, rtol=1e-6)
    np.testing.assert_allclose(covariance, covariance_by_scipy, rtol=1e-4)
    if problem.x0.size:
        bounded = {"bounds": ([0, 0], [9, 9]), "sigma": np.full(9, 0.1)}
        found, _ = curve_fit(problem.curve, T, Y, problem.x0, jac=problem.curve_jac, **bounded)
        np.testing.assert_allclose(found, TRUE, rtol=1e-6)


def robertson(t, y, k):
    """H. H. Robertson 1966: the stiff kinetics of Hairer and Wanner II, IV.1."""
    fast = k * y[1] * y[1]
    slow = 0.04 * y[0] - 1e4 * y[1] * y[2]
    return [-slow, slow - fast, fast]


@pytest.mark.parametrize("method", ["BDF", "Radau", "LSODA"])
def test_solve_ivp(method):
    for backend in AD:
        problem = dif.residuals(robertson, 0.0, [1.0, 0.0, 0.0], 3e7, argnums=1, backend=backend)
        call = {"method": method, "rtol": 1e-6, "atol": 1e-10}
        solution = solve_ivp(problem.rhs, (0, 40), problem.x0, jac=problem.rhs_jac, **call)
        # Reference of the test set for IVP solvers (Mazzia and Magherini 2008) at t = 40.
        expected = [0.7158270688, 9.185534765e-6, 0.2841637457]
        np.testing.assert_allclose(solution.y[:, -1], expected, rtol=1e-4)
        again = solve_ivp(
            problem.rhs, (0, 40), problem.x0, jac=problem.rhs_jac, args=(3e7,), **call
        )
        np.testing.assert_array_equal(again.y[:, -1], solution.y[:, -1])


def test_a_plain_prepared_jacobian_drops_in():
    for backend in AD:
        j = dif.prepare_jacobian(misfit, TRUE, dif.Const(T), dif.Const(Y), backend=backend)
        result = least_squares(misfit, [1.0, 1.0], jac=j, args=(T, Y))
        np.testing.assert_allclose(result.x, TRUE, rtol=1e-6)


@pytest.mark.parametrize("kind", ["torch", "jax"])
@pytest.mark.parametrize("backend", AD)
def test_data_in_a_frameworks_arrays(kind, backend):
    data = make(kind, T), make(kind, Y)
    problem = dif.residuals(misfit, [1.0, 1.0], *data, backend=backend)
    result = least_squares(problem.fun, problem.x0, jac=problem.jac)
    np.testing.assert_allclose(result.x, TRUE, rtol=1e-6)
    operator = dif.residuals(misfit, [1.0, 1.0], *data, as_operator=True, backend=backend)
    result = least_squares(operator.fun, operator.x0, jac=operator.jac)
    np.testing.assert_allclose(result.x, TRUE, rtol=1e-6)


def test_float32_parameters(backend):
    start = np.ones(2, np.float32)
    problem = dif.residuals(misfit, start, T.astype("f"), Y.astype("f"), backend=backend)
    assert problem.fun(problem.x0).dtype == np.float64
    assert problem.jac(problem.x0).dtype == np.float64
    result = least_squares(problem.fun, problem.x0, jac=problem.jac, ftol=1e-5, xtol=1e-5)
    np.testing.assert_allclose(result.x, TRUE, rtol=1e-3)


def test_nan_is_what_scipy_says_it_is():
    problem = dif.residuals(lambda x: dif.namespace(x).log(x), [-1.0, 1.0], backend="jax")
    with pytest.raises(ValueError, match="Residuals are not finite in the initial point"):
        least_squares(problem.fun, problem.x0, jac=problem.jac)
    problem = dif.residuals(lambda x: dif.namespace(x).sqrt(x), [0.0, 1.0], backend="jax")
    assert problem.jac(problem.x0)[0, 0] == np.inf


def test_nothing_is_stale_when_the_point_or_the_data_change():
    data = Y.copy()
    problem = dif.residuals(misfit, [1.0, 1.0], T, data, backend="jax")
    x = np.array([1.0, 1.0])
    before = problem.fun(x)
    x += 1.0
    data += 1.0
    np.testing.assert_allclose(problem.fun(x), 2 * np.exp(-2 * T) - Y - 1.0)
    np.testing.assert_allclose(before, np.exp(-T) - Y)
    np.testing.assert_allclose(problem.jac(x), decay_jacobian(x))


@pytest.mark.parametrize("result", [None, "abc", {}, [None]], ids=repr)
def test_results_that_are_no_numbers(result, backend):
    problem = dif.residuals(lambda x: result, [1.0, 2.0], backend=backend)
    with pytest.raises(dif.NotDifferentiableError, match=r"^`f` must return"):
        problem.fun([1.0, 2.0])


def test_no_residuals_at_all(backend):
    problem = dif.residuals(lambda x: x[:0], [1.0, 2.0], backend=backend)
    assert problem.fun([1.0, 2.0]).shape == (0,)
    assert problem.jac([1.0, 2.0]).shape == (0, 2)


def test_value_and_jacobian_at_once(backend):
    fit = dif.residuals(misfit, [1.0, 1.0], T, Y, backend=backend)
    value, jacobian = fit.fun_and_jac([1.5, 0.4])
    np.testing.assert_allclose(value, fit.fun([1.5, 0.4]), rtol=1e-14)
    np.testing.assert_allclose(jacobian, fit.jac([1.5, 0.4]), rtol=1e-12)
    fun = dif.residuals(lambda x: x**2 - np.array([1.0, 4.0]), [2.0, 3.0], backend="autograd")
    np.testing.assert_allclose(root(fun.fun_and_jac, fun.x0, jac=True).x, [1, 2], rtol=1e-8)


def test_vector_constraints_of_nlopt():
    """The largest a + b with a**2 + b**2 <= 2 and a <= 1/2 is at (1/2, sqrt(7) / 2)."""
    nlopt = pytest.importorskip("nlopt")
    problem = dif.objective(lambda p: -p[0] - p[1], [0.1, 0.1], backend="autograd")

    def above(p):
        xp = dif.namespace(p)
        return xp.stack([p[0] ** 2 + p[1] ** 2 - 2.0, p[0] - 0.5])

    limits = dif.residuals(above, [0.1, 0.1], backend="autograd")
    optimizer = nlopt.opt(nlopt.LD_SLSQP, 2)
    optimizer.set_min_objective(problem.nlopt)
    optimizer.add_inequality_mconstraint(limits.nlopt, [1e-10, 1e-10])
    optimizer.set_xtol_rel(1e-10)
    np.testing.assert_allclose(optimizer.optimize(problem.x0), [0.5, 7**0.5 / 2], rtol=1e-6)


@pytest.mark.parametrize(
    "backend",
    ["autograd", "numpy", *(pytest.param(b, marks=pytest.mark.slow) for b in ("jax", "torch"))],
)
def test_boundary_value_problem(backend):
    """Bratu's: y'' = -exp(y), y(0) = y(1) = 0, whose solution has a closed form."""
    problem = dif.residuals(
        lambda t, y: [y[1], -dif.namespace(y).exp(y[0])], 0.0, [0.0, 0.0],
        argnums=1, backend=backend,
    )  # fmt: skip
    ends = dif.residuals(
        lambda a, b: [a[0], b[0]], [0.0, 0.0], [0.0, 0.0], argnums=(0, 1), backend=backend
    )
    t = np.linspace(0.0, 1.0, 5)
    assert problem.bvp_jac(t, np.zeros((2, 5))).shape == (2, 2, 5)
    found = solve_bvp(
        problem.bvp, ends.bc, t, np.zeros((2, 5)),
        fun_jac=problem.bvp_jac, bc_jac=ends.bc_jac, tol=1e-6,
    )  # fmt: skip
    theta = root(lambda s: s - np.sqrt(2.0) * np.cosh(s / 4), 1.5).x
    exact = -2 * np.log(np.cosh((found.x - 0.5) * theta / 2) / np.cosh(theta / 4))
    np.testing.assert_allclose(found.y[0], exact, atol=1e-6)
    assert 0 < problem.counts["jac"] < 20


def test_boundary_value_problem_with_an_unknown_parameter():
    """y'' = -k^2 y, y(0) = y(1) = 0, y'(0) = k, near k = 2 pi: of Sturm and Liouville."""
    options = {"backend": "autograd"}
    problem = dif.residuals(
        lambda t, y, p: [y[1], -(p[0] ** 2) * y[0]], 0.0, [0.0, 0.0], [6.0],
        argnums=(1, 2), **options,
    )  # fmt: skip
    ends = dif.residuals(
        lambda a, b, p: [a[0], b[0], a[1] - p[0]], [0.0, 0.0], [0.0, 0.0], [6.0],
        argnums=(0, 1, 2), **options,
    )  # fmt: skip
    t = np.linspace(0.0, 1.0, 5)
    y = np.array([np.sin(2 * np.pi * t), np.zeros(5)])
    found = solve_bvp(
        problem.bvp, ends.bc, t, y, p=[6.0],
        fun_jac=problem.bvp_jac, bc_jac=ends.bc_jac, tol=1e-6,
    )  # fmt: skip
    assert found.p[0] == pytest.approx(2 * np.pi, rel=1e-6)


@pytest.mark.parametrize(
    ("t", "shape", "argnums"), [(T, (3, 9), 1), (T, (2, 4), 1), (0.0, (2,), 1), (T, (2, 9), 0)]
)
def test_a_mesh_that_does_not_fit(t, shape, argnums):
    problem = dif.residuals(lambda t, y: y, 0.0, [0.0, 0.0], argnums=argnums, backend="autograd")
    expected = (2 if argnums else 1, np.size(t))
    with pytest.raises(dif.InvalidArgumentError) as caught:
        problem.bvp(t, np.zeros(shape))
    assert str(caught.value) == (
        f"`y` must be of shape {expected}, one column for each of `t`, got {shape}; make the "
        "residuals with `argnums=1`, or `argnums=(1, 2)` if there are parameters."
    )
    problem = dif.residuals(lambda y: y, np.zeros(2), backend="autograd")
    with pytest.raises(dif.InvalidArgumentError, match=r"^`f` has no argument for `t`: "):
        problem.bvp(T, np.zeros((2, 9)))
