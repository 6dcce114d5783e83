"""Scalar functions in scipy.optimize.minimize and nlopt."""

import cProfile
import dataclasses
import functools
import inspect
import pickle
import pstats
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import nlopt
import numpy as np
import pytest
from helpers import AD, BACKENDS, Counted, make
from scipy.optimize import LinearConstraint, minimize, rosen, rosen_der, rosen_hess

import diffface as dif

GRADIENT = ["BFGS", "L-BFGS-B", "CG", "TNC", "SLSQP"]
HESSIAN = ["dogleg", "trust-exact", "Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"]
PRODUCT = ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"]
FRONTEND = [Path(dif.__file__).parent, Path(dif.Prepared.__init__.__code__.co_filename).parent]
START = np.array([1.2, 1.3, 1.4, 1.5])


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def misfit(x, data, power=2):
    return ((x - data) ** power).sum()


@pytest.fixture(scope="module", params=BACKENDS)
def problem(request):
    return dif.objective(rosenbrock, START, backend=request.param)


def solved(result, tolerance=1e-2):
    np.testing.assert_allclose(result.x, 1.0, atol=tolerance)


@pytest.mark.parametrize("method", GRADIENT)
def test_methods_that_take_a_gradient(problem, method):
    solved(minimize(problem.fun, problem.x0, jac=problem.jac, method=method))
    solved(minimize(problem.fun_and_jac, problem.x0, jac=True, method=method))


@pytest.mark.parametrize("method", HESSIAN)
def test_methods_that_take_a_hessian(problem, method):
    call = {"jac": problem.jac, "method": method}
    solved(minimize(problem.fun, problem.x0, hess=problem.hess, **call))


@pytest.mark.parametrize("method", PRODUCT)
def test_methods_that_take_products_with_the_hessian(problem, method):
    call = {"jac": problem.jac, "method": method}
    solved(minimize(problem.fun, problem.x0, hessp=problem.hessp, **call))


def test_operator_in_trust_constr_with_a_linear_constraint(problem):
    result = minimize(
        problem.fun, problem.x0, jac=problem.jac, hess=problem.hess_operator,
        method="trust-constr", constraints=LinearConstraint(np.ones(4), 0.0, 3.0),
    )  # fmt: skip
    assert result.x.sum() < 3.0 + 1e-8
    assert result.optimality < 1e-6


def test_values_are_those_of_scipys_own_rosenbrock(problem):
    exact = {"rtol": 1e-5, "atol": 1e-5}
    v = np.array([1.0, -2.0, 0.5, 3.0])
    np.testing.assert_allclose(problem.fun(START), rosen(START), **exact)
    np.testing.assert_allclose(problem.jac(START), rosen_der(START), **exact)
    np.testing.assert_allclose(problem.hess(START), rosen_hess(START), **exact)
    np.testing.assert_allclose(problem.hessp(START, v), rosen_hess(START) @ v, **exact)
    operator = problem.hess_operator(START)
    np.testing.assert_allclose(operator @ v, rosen_hess(START) @ v, **exact)
    np.testing.assert_allclose(operator.T @ v, rosen_hess(START) @ v, **exact)
    np.testing.assert_allclose(operator @ np.eye(4), rosen_hess(START), **exact)


def test_results_are_plain_numpy(problem):
    results = problem.jac(START), problem.hess(START), problem.hessp(START, START)
    for array in results:
        assert type(array) is np.ndarray
        assert array.dtype == np.float64
        assert array.flags.writeable
    assert type(problem.fun(START)) is float


def test_hessp_takes_the_int8_vector_that_trust_constr_probes_with(problem):
    product = problem.hessp(START, np.zeros(4, np.int8))
    assert product.dtype == np.float64
    np.testing.assert_allclose(product, 0.0, atol=1e-12)


# Evaluations


def test_fun_and_jac_at_one_point_evaluate_once():
    f = Counted(rosenbrock)
    problem = dif.objective(f, START, backend="autograd")
    problem.fun(START), problem.jac(START.copy())
    assert problem.counts == {"fun_and_jac": 1}
    problem.jac(2 * START), problem.fun(2 * START)
    assert problem.counts == {"fun_and_jac": 2}
    result = minimize(problem.fun, problem.x0, jac=problem.jac, method="BFGS")
    assert problem.counts["fun_and_jac"] == 2 + result.nfev


def test_the_prepared_program_does_not_evaluate_f_again():
    f = Counted(rosenbrock)
    problem = dif.objective(f, START, backend="autograd")
    problem.fun(START)
    before = f.count
    minimize(problem.fun, problem.x0, jac=problem.jac, method="BFGS")
    assert f.count == before


def test_nothing_is_stale_when_the_point_changes_in_place():
    problem = dif.objective(rosenbrock, START, backend="autograd")
    x = START.copy()
    problem.fun(x)
    x += 1.0
    np.testing.assert_allclose(problem.jac(x), rosen_der(x))
    x -= 0.5
    np.testing.assert_allclose(problem.fun(x), rosen(x))


def test_nothing_is_stale_when_the_gradient_is_overwritten():
    problem = dif.objective(rosenbrock, START, backend="autograd")
    problem.fun(START)
    problem.jac(START)[:] = 0.0
    np.testing.assert_allclose(problem.jac(START), rosen_der(START))


def test_data_of_another_shape_are_prepared_anew():
    problem = dif.objective(lambda x, data: ((x - data.mean()) ** 2).sum(), [0.0], backend="jax")
    for n in (3, 4, 3):
        np.testing.assert_allclose(problem.jac([3.0], np.full(n, 2.0)), [2.0])


@pytest.mark.parametrize("backend", AD)
def test_branches_on_values_fall_back_or_fail(backend):
    def f(x):
        return (x**2).sum() if x[0] > 0 else (x**4).sum()

    problem = dif.objective(f, [1.0, 2.0], backend=backend)
    with pytest.warns(dif.PreparationWarning):
        np.testing.assert_allclose(problem.jac([1.0, 2.0]), [2.0, 4.0])
    np.testing.assert_allclose(problem.jac([-1.0, 2.0]), [-4.0, 32.0])
    strict = dif.objective(f, [1.0, 2.0], backend=backend, fallback="error")
    with pytest.raises(dif.UnsupportedOperatorError, match="cannot be recorded"):
        strict.fun([1.0, 2.0])


def test_many_threads_get_their_own_answers():
    problem = dif.objective(rosenbrock, START, backend="autograd")

    def check(seed):
        rng = np.random.default_rng(seed)
        for x in rng.normal(size=(200, 4)):
            np.testing.assert_allclose(problem.fun(x), rosen(x), rtol=1e-12)
            np.testing.assert_allclose(problem.jac(x), rosen_der(x), rtol=1e-9, atol=1e-9)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, range(8)))


def test_nothing_is_stale_when_data_change():
    data = np.zeros(4)
    problem = dif.objective(misfit, START, data, backend="autograd")
    before = problem.fun(START), problem.jac(START)
    data[:] = 1.0
    assert problem.fun(START) == pytest.approx(((START - 1) ** 2).sum())
    np.testing.assert_allclose(problem.jac(START), 2 * (START - 1))
    np.testing.assert_allclose(before[1], 2 * START)
    problem.fun(START, data)
    np.testing.assert_allclose(problem.jac(START, np.zeros(4)), 2 * START)


def test_operators_of_the_hessian_stay_at_their_point():
    problem = dif.objective(rosenbrock, START, backend="autograd")
    x = START.copy()
    operator = problem.hess_operator(x)
    x[:] = 0.0
    np.testing.assert_allclose(operator @ np.ones(4), rosen_hess(START) @ np.ones(4))


# Data


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", ["BFGS", "Newton-CG", "trust-constr"])
def test_args_of_minimize_carry_data(backend, method):
    data = np.array([1.0, 2.0, 3.0])
    problem = dif.objective(misfit, np.zeros(3), backend=backend)
    for target in (data, 2 * data):
        result = minimize(
            problem.fun, problem.x0, args=(target,), jac=problem.jac, method=method,
            **({"hessp": problem.hessp} if method != "BFGS" else {}),
        )  # fmt: skip
        np.testing.assert_allclose(result.x, target, atol=1e-5)


@pytest.mark.parametrize("data", [np.ones(3), dif.Const(np.ones(3))], ids=["plain", "Const"])
def test_arguments_after_the_parameters_are_data(data):
    problem = dif.objective(misfit, np.zeros(3), data, 4, backend="jax")
    assert problem.x0.shape == (3,)
    np.testing.assert_allclose(problem.jac(problem.x0), -4.0)


def test_keyword_data():
    problem = dif.objective(
        misfit, np.zeros(3), kwargs={"data": np.ones(3), "power": 4}, backend="jax"
    )
    np.testing.assert_allclose(problem.jac(problem.x0), -4.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_argnums_say_what_is_optimized(backend):
    def f(data, a, b):
        return ((data - a) ** 2).sum() + (b - 3.0) ** 2

    data = np.array([1.0, 2.0])
    problem = dif.objective(f, data, np.zeros(2), 0.0, argnums=(2, 1), backend=backend)
    result = minimize(problem.fun, problem.x0, jac=problem.jac)
    b, a = problem.unravel(result.x)
    assert b == pytest.approx(3.0, abs=1e-5)
    np.testing.assert_allclose(a, data, atol=1e-5)
    alone = dif.objective(f, data, np.zeros(2), 0.0, argnums=1, backend=backend)
    np.testing.assert_allclose(alone.jac(alone.x0), -2 * data, rtol=1e-6)


def test_a_plain_prepared_gradient_drops_in():
    data = np.array([1.0, 2.0, 3.0])
    for backend in AD:
        g = dif.prepare_gradient(misfit, data, dif.Const(data), backend=backend)
        result = minimize(misfit, np.zeros(3), args=(data,), jac=g)
        np.testing.assert_allclose(result.x, data, atol=1e-6)
        both = dif.prepare_value_and_gradient(misfit, data, dif.Const(data), backend=backend)
        result = minimize(both, np.zeros(3), args=(data,), jac=True, method="L-BFGS-B")
        np.testing.assert_allclose(result.x, data, atol=1e-6)
        h = dif.prepare_hessian(misfit, data, dif.Const(data), backend=backend)
        result = minimize(misfit, np.zeros(3), args=(data,), jac=g, hess=h, method="trust-exact")
        np.testing.assert_allclose(result.x, data, atol=1e-6)


# Trees


@dataclasses.dataclass
class Line:
    slope: object
    offset: float


class Pair(NamedTuple):
    first: Any
    second: Any


TREES = {
    "dict": {"b": np.ones((2, 3)), "a": [1.0, np.float64(2.0)]},
    "dataclass": Line(np.ones(3), 2.0),
    "namedtuple": Pair(np.ones(2), {"x": 1.0}),
    "tuple": (np.ones((2, 1)), np.zeros(0), np.float32(2.0)),
    "column": np.ones((3, 1)),
    "number": 3.0,
    "torch": {"w": make("torch", np.ones((2, 2)), "float32"), "b": make("torch", 1.0)},
    "jax": {"w": make("jax", np.ones((2, 2)), "float32"), "b": make("jax", 1.0)},
    "mixed": [make("torch", np.ones(2)), make("jax", np.ones(2)), np.ones(2), 1.0],
}


def leaves(tree):
    if dataclasses.is_dataclass(tree):
        tree = vars(tree)
    if isinstance(tree, dict):
        tree = [tree[key] for key in sorted(tree)]
    return (
        [leaf for part in tree for leaf in leaves(part)]
        if isinstance(tree, list | tuple)
        else [tree]
    )


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("backend", AD)
def test_trees_come_back_as_they_went_in(name, backend):
    tree = TREES[name]

    def f(parameters):
        return sum(((leaf - 5.0) ** 2).sum() for leaf in leaves(parameters))

    problem = dif.objective(f, tree, backend=backend)
    result = minimize(problem.fun, problem.x0, jac=problem.jac)
    found = problem.unravel(result.x)
    assert type(found) is type(tree)
    for new, old in zip(leaves(found), leaves(tree), strict=True):
        assert type(new) is type(old)
        assert getattr(new, "dtype", None) == getattr(old, "dtype", None)
        assert np.shape(new) == np.shape(old)
        np.testing.assert_allclose(new, 5.0, rtol=1e-5)


def test_bounds_and_callbacks_in_the_users_structure():
    start = {"level": 0.0, "slopes": np.zeros(2)}
    problem = dif.objective(
        lambda p: (p["level"] - 5.0) ** 2 + ((p["slopes"] + 5.0) ** 2).sum(), start, backend="jax"
    )
    seen = []
    result = minimize(
        problem.fun, problem.x0, jac=problem.jac, method="L-BFGS-B",
        bounds=problem.bounds(
            {"level": None, "slopes": [-1.0, -np.inf]}, {"level": 2, "slopes": None}
        ),
        callback=problem.callback(seen.append),
    )  # fmt: skip
    found = problem.unravel(result.x)
    assert found["level"] == pytest.approx(2.0)
    np.testing.assert_allclose(found["slopes"], [-1.0, -5.0], rtol=1e-5)
    assert seen[-1]["level"] == pytest.approx(2.0)
    assert seen[-1]["slopes"].shape == (2,)


def test_callback_with_an_intermediate_result_can_stop():
    problem = dif.objective(rosenbrock, START, backend="jax")
    seen = []

    def callback(intermediate_result):
        seen.append((intermediate_result.x.shape, intermediate_result.fun))
        raise StopIteration

    minimize(problem.fun, problem.x0, jac=problem.jac, callback=problem.callback(callback))
    assert len(seen) == 1
    assert seen[0][0] == (4,)


def test_callback_of_trust_constr_gets_the_state_too():
    problem = dif.objective(lambda p: (p["x"] - 1.0) ** 2, {"x": 0.0}, backend="jax")
    result = minimize(
        problem.fun, problem.x0, jac=problem.jac, method="trust-constr",
        callback=problem.callback(lambda p, state: p["x"] > 0.5 and state.nit > 0),
    )  # fmt: skip
    assert result.status == 3  # stopped by the callback


def test_one_bound_for_all_and_wrong_bounds():
    problem = dif.objective(lambda p: p["a"] ** 2, {"a": 1.0}, backend="jax")
    np.testing.assert_array_equal(problem.bounds(0, None).lb, [0.0])
    np.testing.assert_array_equal(problem.bounds(0, None).ub, [np.inf])
    with pytest.raises(dif.InvalidArgumentError, match="`lower` must have the structure"):
        problem.bounds({"b": 1.0})
    for wrong, message in (
        ({"lower": {"a": np.zeros(2)}}, r"`lower` must fit a parameter of shape \(\), got array"),
        ({"lower": 2.0, "upper": 1.0}, "`lower` must not be above `upper`"),
        ({"upper": np.nan}, "neither may be nan"),
    ):
        with pytest.raises(dif.InvalidArgumentError, match=message):
            problem.bounds(**wrong)


def test_a_wrong_direction_is_named():
    problem = dif.objective(rosenbrock, START, backend="autograd")
    with pytest.raises(dif.InvalidArgumentError, match=r"^`p` must be a vector of shape \(4,\)"):
        problem.hessp(START, START[:3])


def test_the_step_of_finite_differences_survives_float32_beside_float64():
    problem = dif.objective(
        lambda p: p[0] ** 2 + p[1] ** 2, (np.float32(3.0), np.float64(2.0)), backend="numpy"
    )
    np.testing.assert_allclose(problem.jac(problem.x0), [6.0, 4.0], rtol=1e-6)


# What SciPy users do


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "x0", [[3, 2], (3, 2), [3.0, 2.0], np.array([3, 2]), np.array([3, 2], np.uint8)], ids=repr
)
def test_integers_and_lists_are_taken_as_floats(backend, x0):
    problem = dif.objective(rosenbrock, x0, backend=backend)
    assert problem.x0.dtype == np.float64
    solved(minimize(problem.fun, problem.x0, jac=problem.jac))
    solved(minimize(problem.fun, x0, jac=problem.jac))
    np.testing.assert_allclose(problem.jac(x0), rosen_der(np.array(x0, float)), rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_is_computed_in_float32(backend):
    dtypes = []

    def f(x):
        dtypes.append(str(x.dtype))
        return rosenbrock(x)

    problem = dif.objective(f, START.astype(np.float32), backend=backend)
    assert problem.x0.dtype == np.float64
    gradient = problem.jac(problem.x0)
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, rosen_der(START), rtol=1e-2, atol=0.5)
    assert all("float32" in d or "complex64" in d for d in dtypes)
    assert problem.unravel(problem.x0).dtype == np.float32


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_number_in_an_array_is_a_value_as_in_scipy(backend):
    problem = dif.objective(lambda x: ((x - 1.0) ** 2)[:1], np.array([3.0]), backend=backend)
    assert problem.fun([3.0]) == 4.0
    solved(minimize(problem.fun, problem.x0, jac=problem.jac))
    problem = dif.objective(
        lambda x: x.reshape((1, -1)) @ x.reshape((-1, 1)), [3.0], backend=backend
    )
    assert problem.fun([3.0]) == 9.0


@pytest.mark.parametrize("backend", AD)
def test_nan_and_infinity_are_passed_on(backend):
    def f(x):
        return dif.namespace(x).log(x).sum()

    problem = dif.objective(f, [1.0, 1.0], backend=backend)
    with np.errstate(invalid="ignore", divide="ignore"):
        assert np.isnan(problem.fun([-1.0, 1.0]))
        assert problem.fun([0.0, 1.0]) == -np.inf
        np.testing.assert_array_equal(problem.jac([0.0, 1.0]), [np.inf, 1.0])


def test_a_vector_is_no_objective():
    problem = dif.objective(lambda x: x, START, backend="jax")
    with pytest.raises(dif.NotDifferentiableError, match=r"must return a real scalar"):
        problem.fun(START)


def test_the_wrong_length_names_both():
    problem = dif.objective(rosenbrock, START, backend="jax")
    expected = (
        r"^`x` must be a vector of shape \(4,\), got shape \(4, 1\); "
        r"use `x0`, or `ravel` of a tree of parameters\.$"
    )
    with pytest.raises(dif.InvalidArgumentError, match=expected):
        problem.jac(START[:, None])
    with pytest.raises(dif.InvalidArgumentError, match=r"got shape \(3,\)"):
        problem.hessp(START, START[:3])


def test_complex_steps_of_scipy_are_refused():
    problem = dif.objective(rosenbrock, START, backend="jax")
    with pytest.raises(dif.InvalidArgumentError, match=r"^`x` must be real"):
        minimize(problem.fun, problem.x0, jac="cs")


@pytest.mark.parametrize(
    ("x0", "message"),
    [
        (np.array([1j]), r"^`x0` must be real and floating-point, got complex128; "),
        ({"n": 3}, r"^`x0\['n'\]` must be real and floating-point, got int64; "),
        (np.array([True]), r"^`x0` must be real and floating-point, got bool; "),
        ("abc", r"^`x0` must be real and floating-point, got str; "),
        ({"a": [None, "b"]}, r"^`x0\['a'\]\[1\]` must be real and floating-point, got str; "),
    ],
    ids=repr,
)
def test_parameters_that_are_no_real_numbers(x0, message):
    with pytest.raises(dif.NotDifferentiableError, match=message):
        dif.objective(rosenbrock, x0, backend="jax")


def test_an_unknown_backend_is_refused_at_once():
    with pytest.raises(dif.UnknownBackendError):
        dif.objective(rosenbrock, START, backend="jaxx")


GLUE = {
    "objective": lambda f, **options: dif.objective(f, START, **options),
    "residuals": lambda f, **options: dif.residuals(f, START, **options),
    "log_density": lambda f, **options: dif.log_density(f, START, **options),
    "constraint": lambda f, **options: dif.constraint(f, 0, 1, START, **options),
    "closure": lambda f, **options: dif.closure(f, make("torch", START), **options),
}


@pytest.mark.parametrize("name", GLUE)
def test_wrong_options_are_refused_at_once(name):
    taken = "`argnums`, `backend`, `fallback`, `kwargs`"
    if name not in ("closure", "log_density"):
        taken = "`argnums`, `backend`, `check`, `fallback`, `format`, `kwargs`, `sparsity`"
    expected = (
        rf"^{name}\(\) got an unexpected keyword argument `bakend`\. Did you mean `backend`\? "
        rf"It takes {taken}\.$"
    )
    with pytest.raises(TypeError, match=expected):
        GLUE[name](rosenbrock, bakend="jax")
    with pytest.raises(dif.InvalidArgumentError, match=r"^`fallback` must be 'eager' or 'error'"):
        GLUE[name](rosenbrock, fallback="no", backend="jax")
    with pytest.raises(dif.NotDifferentiableError, match=r"^`f` must be callable, got int; "):
        GLUE[name](3, backend="jax")
    with pytest.raises(dif.InvalidArgumentError, match=r"^`argnums` must be within -1 and 0"):
        GLUE[name](rosenbrock, argnums=1, backend="jax")


def test_what_it_says_of_itself():
    assert repr(dif.objective(rosenbrock, START, backend="jax")) == (
        "<objective rosenbrock, 4 parameters, by JAX()>"
    )


def test_signatures_have_no_data():
    """optimagic and iminuit count the arguments that functions need, and take `*args` for one."""
    problem = dif.objective(lambda x, data: x @ data, START, np.ones(4), backend="autograd")
    fit = dif.residuals(lambda x, data: x * data, START, np.ones(4), backend="autograd")
    for function in (problem.fun, problem.jac, problem.fun_and_jac, fit.fun, fit.jac):
        for seen in (function, functools.wraps(function)(lambda *args: None)):
            assert list(inspect.signature(seen).parameters) == ["x"]
        assert function.__name__ in repr(function)
    assert list(inspect.signature(problem.hessp).parameters) == ["x", "p"]
    assert pickle.loads(pickle.dumps(fit.fun))(START, 2.0).tolist() == (2 * START).tolist()


def test_the_backend_of_the_parameters_is_the_default():
    problem = dif.objective(lambda x: (x**2).sum(), make("torch", [1.0, 2.0]))
    np.testing.assert_allclose(problem.jac([1.0, 2.0]), [2.0, 4.0], rtol=1e-15)
    with dif.using("complex-step"):
        problem = dif.objective(lambda x: (x**2).sum(), [1.0, 2.0])
    np.testing.assert_allclose(problem.jac([1.0, 2.0]), [2.0, 4.0], rtol=1e-15)


def test_no_parameters_at_all():
    problem = dif.objective(lambda x: (x**2).sum(), np.zeros(0), backend="jax")
    assert problem.fun(np.zeros(0)) == 0.0
    assert problem.jac(np.zeros(0)).shape == (0,)


# Cost


@pytest.mark.parametrize("backend", AD)
def test_a_fit_passes_through_few_calls_of_ours(backend):
    problem = dif.objective(rosenbrock, np.full(100, -1.2), backend=backend)
    call = {"jac": True, "method": "L-BFGS-B", "options": {"maxiter": 40}}
    minimize(problem.fun_and_jac, problem.x0, **call)
    profile = cProfile.Profile()
    result = profile.runcall(minimize, problem.fun_and_jac, problem.x0, **call)
    assert result.nfev > 30
    calls = {
        (file, name): count
        for (file, _, name), (_, count, _, _, _) in pstats.Stats(profile).stats.items()
        if Path(file).parent in FRONTEND or file == "<diffface entry>"
    }
    # Each evaluation is one call of what was emitted for its signature.
    entries = [count for (file, _), count in calls.items() if file == "<diffface entry>"]
    assert entries == [result.nfev]
    assert sum(calls.values()) <= 8 * result.nfev


# nlopt


@pytest.mark.parametrize("backend", AD)
def test_nlopt_writes_the_gradient_in_place(backend):
    problem = dif.objective(rosenbrock, START, backend=backend)
    optimizer = nlopt.opt(nlopt.LD_LBFGS, 4)
    optimizer.set_min_objective(problem.nlopt)
    optimizer.set_xtol_rel(1e-10)
    np.testing.assert_allclose(optimizer.optimize(problem.x0), 1.0, rtol=1e-6)
    without = nlopt.opt(nlopt.LN_NELDERMEAD, 4)
    without.set_min_objective(problem.nlopt)
    without.set_maxeval(10)
    without.optimize(problem.x0)
    assert problem.nlopt(START, np.zeros(0)) == pytest.approx(rosen(START))
