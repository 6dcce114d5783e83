"""Problems inside of what their backend's framework traces and differentiates."""

import jax
import numpy as np
import pytest
import torch

import diffface as dif

DATA = np.array([0.5, -1.0, 2.0])
X = np.array([1.0, 2.0, 3.0])


def loss(x, data):
    return ((x - data) ** 4).sum()


def test_under_jax():
    problem = dif.objective(loss, X, DATA, backend="jax")
    density = dif.log_density(loss, X, DATA, backend="jax")
    fit = dif.residuals(lambda x, data: (x - data) ** 2, X, DATA, backend="jax")
    with jax.enable_x64(True):
        for function in (problem.fun, density.logdensity):
            assert float(jax.jit(function)(X)) == pytest.approx(loss(X, DATA), rel=1e-15)
            np.testing.assert_allclose(jax.grad(function)(X), 4 * (X - DATA) ** 3, rtol=1e-14)
        hessian = jax.jit(jax.hessian(problem.fun))(X)
        np.testing.assert_allclose(np.diag(hessian), 12 * (X - DATA) ** 2, rtol=1e-14)
        np.testing.assert_allclose(np.diag(jax.jacfwd(fit.fun)(X)), 2 * (X - DATA), rtol=1e-14)


def test_derivatives_under_jax():
    problem = dif.objective(loss, X, DATA, backend="jax")
    density = dif.log_density(
        lambda p, data: loss(p["x"], data), {"x": X}, DATA, transforms=dif.positive, backend="jax"
    )
    fit = dif.residuals(lambda x, data: (x - data) ** 2, X, DATA, backend="jax")
    u, close = np.log(X), {"rtol": 1e-13, "atol": 1e-13}
    with jax.enable_x64(True):
        gradient, curvature = 4 * (X - DATA) ** 3, 12 * (X - DATA) ** 2
        np.testing.assert_allclose(jax.jit(problem.jac)(X), gradient, **close)
        np.testing.assert_allclose(jax.jit(problem.fun_and_jac)(X)[1], gradient, **close)
        np.testing.assert_allclose(jax.jit(problem.hess)(X), np.diag(curvature), **close)
        np.testing.assert_allclose(jax.jit(problem.hessp)(X, X), curvature * X, **close)
        np.testing.assert_allclose(jax.jacfwd(problem.jac)(X), np.diag(curvature), **close)
        np.testing.assert_allclose(jax.jit(fit.jac)(X), np.diag(2 * (X - DATA)), **close)
        np.testing.assert_allclose(jax.jit(fit.fun_and_jac)(X)[0], (X - DATA) ** 2, **close)
        value, slope = jax.jit(density.logdensity_and_gradient)(u)
        np.testing.assert_allclose(value, loss(X, DATA) + u.sum(), **close)
        np.testing.assert_allclose(slope, gradient * X + 1, **close)
        np.testing.assert_allclose(
            jax.jit(density.hessian)(u), np.diag(curvature * X**2 + gradient * X), **close
        )
        many = jax.vmap(density.unravel)(np.stack([u, 2 * u]))
        np.testing.assert_allclose(many["x"], [X, X**2], **close)


def test_under_torch():
    problem = dif.objective(loss, X, torch.tensor(DATA), backend="torch")
    x = torch.tensor(X, requires_grad=True)
    problem.fun(x).backward()
    np.testing.assert_allclose(x.grad, 4 * (X - DATA) ** 3, rtol=1e-14)


def test_by_another_framework():
    problem = dif.objective(loss, X, DATA, backend="jax")
    with pytest.raises(dif.NotDifferentiableError, match=r"diffface\.bridge"):
        problem.fun(torch.tensor(X, requires_grad=True))


def test_of_another_shape():
    problem = dif.objective(loss, X, DATA, backend="jax")
    with pytest.raises(dif.InvalidArgumentError, match=r"shape \(3,\), got shape \(2,\)"):
        jax.grad(problem.fun)(X[:2])
