"""``Const`` at leaves of parameters: they stay as they are, and what comes back is a tree."""

import pickle

import numpy as np
import pytest
import torch
from scipy import optimize

import diffface as dif

BACKENDS = ["autograd", "jax", "torch", "numpy"]
T = np.linspace(0.0, 1.0, 20)
Y = 3.0 * np.exp(-2.0 * T) + 0.5
START = {"rate": 1.0, "offset": dif.Const(0.5), "scale": np.array(1.0), "name": dif.Const("decay")}


def misfit(p, t, y):
    assert p["name"] == "decay"
    xp = dif.namespace(t)
    return p["scale"] * xp.exp(-p["rate"] * t) + p["offset"] - y


def half_of_squares(p, t, y):
    return 0.5 * dif.namespace(t).sum(misfit(p, t, y) ** 2)


def check(found):
    assert found["name"] == "decay"
    assert found["offset"] == 0.5
    np.testing.assert_allclose([found["rate"], found["scale"]], [2.0, 3.0], rtol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_objective_with_bounds_and_a_callback(backend):
    problem = dif.objective(half_of_squares, START, T, Y, backend=backend)
    seen = []
    result = optimize.minimize(
        problem.fun, problem.x0, jac=problem.jac, callback=problem.callback(seen.append),
        bounds=problem.bounds({"rate": 0.0, "offset": None, "scale": None, "name": None}),
    )  # fmt: skip
    assert result.x.shape == (2,)
    check(problem.unravel(result.x))
    check(seen[-1])


def test_residuals_and_pickles():
    problem = dif.residuals(misfit, START, T, Y, backend="autograd")
    result = optimize.least_squares(problem.fun, problem.x0, jac=problem.jac)
    check(pickle.loads(pickle.dumps(problem)).unravel(result.x))
    x, unravel = dif.ravel(START)
    np.testing.assert_array_equal(x, [1.0, 1.0])
    np.testing.assert_array_equal(unravel.ravel(unravel(2 * x)), 2 * x)
    assert unravel.batch(np.ones((4, 2)))["rate"].shape == (4,)
    assert unravel.batch(np.ones((4, 2)))["offset"] == 0.5


def test_a_module_whose_first_layer_is_frozen():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    model[0].requires_grad_(False)
    x = torch.randn(30, 2)
    y = x[:, :1].sin()
    loss = lambda model, x, y: ((model(x) - y) ** 2).mean()
    problem = dif.objective(loss, model, x, y)
    assert problem.x0.shape == (5,)
    result = optimize.minimize(problem.fun, problem.x0, jac=problem.jac, method="L-BFGS-B")
    found = problem.unravel(result.x)
    assert torch.equal(found[0].weight, model[0].weight)
    torch.testing.assert_close(float(loss(found, x, y)), result.fun, rtol=1e-5, atol=0.0)
    assert result.fun < 0.5 * float(loss(model, x, y).detach())


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_held_constant(backend):
    """They are of the library of the others, and stay what they were when the problem was made."""
    held = np.array([2.0, 3.0])
    start = {"held": dif.Const({"c": held, "k": "a"}), "s": 1.0, "w": np.ones(2)}

    def f(p):
        assert p["held"]["k"] == "a"
        xp = dif.namespace(p["w"] if backend == "autograd" else p["held"]["c"])
        return xp.sum(xp.sin(p["held"]["c"]) * p["w"] ** 2) * p["s"]

    sines = np.sin(held)
    expected = [np.sum(sines), *2 * sines]
    problem = dif.objective(f, start, backend=backend)
    transforms = {"held": None, "s": dif.positive, "w": None}
    density = dif.log_density(f, start, transforms=transforms, backend=backend)
    np.testing.assert_allclose(problem.jac(problem.x0), expected, rtol=1e-6)
    np.testing.assert_allclose(density.gradient([0.0, 1, 1]) - [1, 0, 0], expected, rtol=1e-6)
    held[:] = 0.0
    problem.unravel(problem.x0)["held"]["c"][:] = 0.0
    np.testing.assert_allclose(
        problem.hessp(problem.x0, np.eye(3)[1]), [2 * sines[0], 2 * sines[0], 0], atol=1e-3
    )
