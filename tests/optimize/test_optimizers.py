"""Constraints of SciPy, torch.optim, optax, and trees as vectors."""

import iminuit
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from helpers import AD, BACKENDS, make
from scipy.optimize import NonlinearConstraint, minimize

import diffface as dif


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


# Constraints


def disk(x):
    return (x * x).sum()


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def test_constraint_and_its_derivatives(backend):
    def f(x):
        return [x[0] ** 2 * x[1], x[0] - x[1] ** 3]

    found = dif.constraint(f, [0, -np.inf], [1.0, 2.0], [2.0, 3.0], backend=backend)
    x, v = np.array([2.0, 3.0]), np.array([0.5, -2.0])
    close = {"rtol": 1e-5, "atol": 1e-5}
    assert isinstance(found, NonlinearConstraint)
    np.testing.assert_array_equal(found.lb, [0.0, -np.inf])
    np.testing.assert_array_equal(found.ub, [1.0, 2.0])
    np.testing.assert_allclose(found.fun(x), [12.0, -25.0], **close)
    np.testing.assert_allclose(found.jac(x), [[12.0, 4.0], [1.0, -27.0]], **close)
    expected = 0.5 * np.array([[6.0, 4.0], [4.0, 0.0]]) - 2.0 * np.diag([0.0, -18.0])
    np.testing.assert_allclose(found.hess(x, v), expected, **close)
    np.testing.assert_allclose(found.hess(x, np.zeros(2, np.int8)), np.zeros((2, 2)), **close)


@pytest.mark.parametrize("method", ["trust-constr", "SLSQP"])
def test_constrained_minimum(backend, method):
    second = method == "trust-constr"  # SciPy warns where there is a Hessian that it does not use
    problem = dif.objective(rosenbrock, [0.0, 0.0], backend=backend)
    inside = dif.constraint(disk, 0.0, 1.0, [0.0, 0.0], backend=backend, hess=second)
    hess = {"hess": problem.hess} if second else {}
    result = minimize(
        problem.fun, problem.x0, jac=problem.jac, method=method, constraints=inside, **hess
    )
    # On the unit circle, found with one unknown by minimizing over the angle.
    np.testing.assert_allclose(result.x, [0.786415151, 0.617698316], atol=1e-5)


def test_constraint_on_a_tree_with_data(backend):
    start = {"height": 1.0, "sides": np.array([1.0, 1.0])}

    def surface(p):
        (a, b), c = p["sides"], p["height"]
        return 2 * (a * b + a * c + b * c)

    def volume(p, units):
        return {"volume": units * p["height"] * p["sides"][0] * p["sides"][1]}

    problem = dif.objective(surface, start, backend=backend)
    fixed = dif.constraint(volume, {"volume": 27.0}, {"volume": 27.0}, start, 8.0, backend=backend)
    result = minimize(
        problem.fun, problem.x0, jac=problem.jac, hess=problem.hess, constraints=fixed,
        method="trust-constr", bounds=problem.bounds(0.1, None),
    )  # fmt: skip
    np.testing.assert_allclose(problem.unravel(result.x)["sides"], 1.5, rtol=1e-4)


def test_names_of_iminuit():
    def cost(alpha, beta):
        return (alpha - 1.0) ** 2 + 10.0 * (beta - alpha) ** 2

    gradient = dif.prepare_gradient(cost, 0.0, 0.0, backend="autograd")
    by_name = iminuit.Minuit(cost, alpha=0.0, beta=0.0, grad=gradient)
    assert by_name.parameters == ("alpha", "beta")
    problem = dif.objective(lambda x: cost(*x), [0.0, 0.0], backend="autograd")
    flat = iminuit.Minuit(problem.fun, problem.x0, grad=problem.jac)
    for minuit in (by_name, flat):
        minuit.migrad()
        np.testing.assert_allclose(list(minuit.values), 1.0, rtol=1e-4)
        assert minuit.ngrad > 0


# torch.optim


def test_a_closure_writes_gradients_of_any_backend(backend):
    params = {"w": torch.ones(2, dtype=torch.float64), "b": torch.ones(2, 1, dtype=torch.float64)}
    before = {name: p.clone() for name, p in params.items()}

    def f(p, scale):
        return scale * ((p["w"] ** 2).sum() + (p["b"] ** 3).sum())

    step = dif.closure(f, params, 2.0, backend=backend)
    for _ in range(2):  # overwritten, not accumulated
        value = step()
        assert isinstance(value, torch.Tensor)
        assert float(value) == pytest.approx(8.0)
        torch.testing.assert_close(params["w"].grad, torch.full((2,), 4.0).double())
        torch.testing.assert_close(params["b"].grad, torch.full((2, 1), 6.0).double())
    assert float(step(3.0)) == pytest.approx(12.0)
    torch.testing.assert_close(params["w"].grad, torch.full((2,), 6.0).double())
    assert all(torch.equal(params[name], before[name]) for name in params)


@pytest.mark.parametrize("backend", AD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_and_lbfgs_of_torch(backend, dtype):
    # Leaves that require a gradient, as torch.optim's users have them, and those that do not.
    for requires_grad in (False, True):
        w = torch.full((3,), -1.0, dtype=dtype, requires_grad=requires_grad)
        optimizer = torch.optim.LBFGS([w], max_iter=60, line_search_fn="strong_wolfe")
        optimizer.step(dif.closure(rosenbrock, w, backend=backend))
        np.testing.assert_allclose(w.detach(), 1.0, rtol=1e-2)
    w = torch.zeros(3, dtype=dtype)
    optimizer = torch.optim.Adam([w], lr=0.1)
    step = dif.closure(lambda w: ((w - 2.0) ** 2).sum(), w, backend=backend)
    first = float(step())
    for _ in range(100):
        last = optimizer.step(step)
    assert float(last) < 1e-2 * first


def test_an_nn_module_by_functional_call():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    x = torch.randn(8, 2)
    y = x.prod(1, keepdim=True)

    def loss(params, x, y):
        return torch.nn.functional.mse_loss(torch.func.functional_call(module, params, (x,)), y)

    step = dif.closure(loss, dict(module.named_parameters()), x, y, backend="torch")
    value = step()
    expected = torch.nn.functional.mse_loss(module(x), y)
    torch.testing.assert_close(value, expected.detach())
    gradients = torch.autograd.grad(expected, list(module.parameters()))
    for parameter, gradient in zip(module.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(50):
        optimizer.step(lambda: step(x[:6], y[:6]))
    assert float(step()) < float(value)


def test_an_nn_module_by_scipy():
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 1).double()
    x = torch.randn(20, 3, dtype=torch.float64)
    y = x @ torch.tensor([[1.0], [2.0], [-3.0]], dtype=torch.float64) + 0.5

    def loss(params, x, y):
        return ((torch.func.functional_call(module, params, (x,)) - y) ** 2).sum()

    problem = dif.objective(loss, dict(module.named_parameters()), x, y)
    result = minimize(problem.fun_and_jac, problem.x0, jac=True, method="L-BFGS-B")
    module.load_state_dict(problem.unravel(result.x))
    np.testing.assert_allclose(module.weight.detach(), [[1.0, 2.0, -3.0]], rtol=1e-4)
    np.testing.assert_allclose(module.bias.detach(), [0.5], rtol=1e-4)


def test_parameters_of_torch_optim_are_tensors():
    expected = r"^`params` must be tensors, got ndarray; torch\.optim changes tensors\.$"
    with pytest.raises(dif.InvalidArgumentError, match=expected):
        dif.closure(rosenbrock, {"w": np.ones(3)}, backend="jax")


# optax


@pytest.mark.parametrize("backend", AD)
def test_an_update_loop_of_optax(backend):
    params = {"w": jnp.zeros(3), "b": jnp.zeros(())}
    target = jnp.array([1.0, 2.0, 3.0])

    def loss(p, target):
        return ((p["w"] - target) ** 2).sum() + (p["b"] - 1.0) ** 2

    both = dif.prepare_value_and_gradient(loss, params, dif.Const(target), backend=backend)
    optimizer = optax.adam(0.1)
    state = optimizer.init(params)
    first, _ = both(params, target)
    for _ in range(150):
        value, gradients = both(params, target)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    assert float(value) < 1e-2 * float(first)
    assert params["w"].dtype == jnp.float32


def rosenbrock_of_a_tree(p):
    return rosenbrock(p["x"])


LBFGS = optax.lbfgs()


@jax.jit
def lbfgs_update(gradients, state, params, value):
    return LBFGS.update(
        gradients, state, params, value=value, grad=gradients, value_fn=rosenbrock_of_a_tree
    )


@pytest.mark.slow
def test_lbfgs_of_optax_with_its_line_search():
    for backend in AD:  # together, since the update compiles long
        params = {"x": jnp.full(4, -1.0)}
        both = dif.prepare_value_and_gradient(rosenbrock_of_a_tree, params, backend=backend)
        state = LBFGS.init(params)
        for _ in range(60):
            value, gradients = both(params)
            updates, state = lbfgs_update(gradients, state, params, value)
            params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(params["x"], 1.0, atol=1e-2)


# Trees as vectors


def test_ravel_in_every_kind_of_array():
    tree = {"b": [make("torch", [[1.0, 2.0]]), 3.0], "a": make("jax", [4.0]), "c": np.float32(5.0)}
    x, unravel = dif.ravel(tree)
    assert x.dtype == np.float64
    np.testing.assert_array_equal(x, [4.0, 1.0, 2.0, 3.0, 5.0])
    back = unravel(2 * x)
    assert torch.equal(back["b"][0], torch.tensor([[2.0, 4.0]], dtype=torch.float64))
    assert back["b"][1] == 6.0
    assert type(back["b"][1]) is float
    assert isinstance(back["a"], jax.Array)
    assert back["a"].dtype == np.float64
    assert type(back["c"]) is np.float32
    np.testing.assert_array_equal(unravel.ravel(back), 2 * x)
    assert (unravel.size, unravel.dtype) == (5, np.float64)


def test_unravel_gives_fresh_arrays():
    x, unravel = dif.ravel({"a": np.ones(2), "b": torch.ones(2)})
    back = unravel(x)
    x[:] = 7.0
    np.testing.assert_array_equal(back["a"], 1.0)
    np.testing.assert_array_equal(back["b"], 1.0)
    back["a"][:] = 3.0
    np.testing.assert_array_equal(x, 7.0)


def test_unravel_is_differentiable(backend):
    _, unravel = dif.ravel({"a": np.ones((2, 2)), "b": 1.0})

    def f(x):
        p = unravel(x)
        return (p["a"] ** 2).sum() * p["b"]

    x = np.arange(1.0, 6.0)
    gradient = dif.gradient(f, x, backend=backend)
    np.testing.assert_allclose(gradient, [10.0, 20.0, 30.0, 40.0, 30.0], rtol=1e-8)


def test_ravel_of_something_else():
    _, unravel = dif.ravel({"a": np.ones(2)})
    with pytest.raises(dif.InvalidArgumentError, match="`tree` must have the structure and shapes"):
        unravel.ravel({"a": np.ones(3)})
    with pytest.raises(dif.InvalidArgumentError, match="`tree` must have the structure and shapes"):
        unravel.ravel({"b": np.ones(2)})
    for x in (np.ones(3), [1.0], jnp.ones(1), torch.ones(3)):
        with pytest.raises(dif.InvalidArgumentError, match=r"`x` must be a vector of shape \(2,\)"):
            unravel(x)
    np.testing.assert_array_equal(unravel([1.0, 2.0])["a"], [1.0, 2.0])


def test_without_any_leaf():
    x, unravel = dif.ravel({})
    assert x.shape == (0,)
    assert unravel(x) == {}


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd", "numpy", "complex-step"])
@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"])
def test_plain_prepared_operators_drop_in(backend, method):
    """A prepared gradient and a prepared product with the Hessian, with data in ``args``."""

    def loss(x, data):
        xp = dif.namespace(x, data)
        return xp.sum((x - data) ** 4) + xp.sum((x - data) ** 2) + 0.5 * (x[0] - x[1] + 1) ** 2

    data, x0 = np.array([1.0, 2.0, 3.0]), np.zeros(3)
    jac = dif.prepare_gradient(loss, x0, dif.Const(data), backend=backend)
    hessp = dif.prepare_hvp(loss, x0, dif.Const(data), backend=backend)
    found = minimize(loss, x0, args=(data,), method=method, jac=jac, hessp=hessp)
    np.testing.assert_allclose(found.x, data, atol=1e-4)
