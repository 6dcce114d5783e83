"""Differential equations: derivatives of their solutions, against closed forms and differences."""

import numpy as np
import pytest
from helpers import AD, BACKENDS, STRATEGY
from scipy import linalg
from scipy.integrate import solve_ivp

import diffface as dif

every_ad = pytest.mark.parametrize("backend", AD)
TIMES = np.array([0.0, 0.4, 1.0])


def predators(y, t, p):
    """Lotka and Volterra's equations."""
    xp = dif.namespace(y, p)
    eaten = y[0] * y[1]
    return xp.stack([p[0] * y[0] - p[1] * eaten, p[3] * eaten - p[2] * y[1]])


Y0 = np.array([1.0, 1.0])
P = np.array([1.5, 1.0, 3.0, 1.0])
OPTIONS = {"rtol": 1e-9, "atol": 1e-9}


def path(y0, p):
    return dif.odeint(predators, y0, TIMES, p, **OPTIONS)


def final(y0, p):
    return path(y0, p)[-1]


def loss(y0, p):
    y = path(y0, p)
    return dif.namespace(y).sum(y**2)


def tight(z):
    """The path for ``z = (*y0, *p)``, to the last digits that the solver has."""
    found = solve_ivp(
        lambda t, y: predators(y, t, z[2:]), (0.0, 1.0), z[:2], "DOP853", TIMES,
        rtol=1e-13, atol=1e-13,
    )  # fmt: skip
    return found.y.T


def differences(f):
    """Derivatives of ``f(y0, p)`` by central differences of order 4, at steps of 1e-3."""
    z, h = np.concatenate([Y0, P]), 1e-3
    columns = []
    for unit in np.eye(6):
        one, two = (f(z + k * h * unit) - f(z - k * h * unit) for k in (1, 2))
        columns.append((8 * one - two) / (12 * h))
    found = np.stack(columns, axis=-1)
    return found[..., :2], found[..., 2:]


OF_LOSS = differences(lambda z: np.sum(tight(z) ** 2))
OF_FINAL = differences(lambda z: tight(z)[-1])


def close(found, expected, rtol=1e-6):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.max(np.abs(other)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_of_a_loss_over_the_path(backend):
    close(dif.gradient(loss, Y0, P, backend=backend), OF_LOSS)


@pytest.mark.slow
@every_ad
def test_prepared_sensitivities_of_the_final_state(backend):
    j = dif.prepare_jacobian(final, Y0, P, backend=backend, mode="reverse", fallback="error")
    assert j.strategy == STRATEGY[backend]
    close(j(Y0, P), OF_FINAL)
    # The program is no record of the solver's steps.
    moved = dif.jacobian(final, Y0 * 0.5, P, backend="complex-step")
    close(j(Y0 * 0.5, P), moved)
    v = (np.array([0.3, -1.0]), np.array([1.0, 0.5, -0.2, 0.1]))
    push = dif.prepare_pushforward(final, Y0, P, backend=backend, fallback="error")
    assert push.strategy == STRATEGY[backend]
    expected = sum(block @ d for block, d in zip(OF_FINAL, v, strict=True))
    np.testing.assert_allclose(push(Y0, P, tangents=v), expected, rtol=1e-6)


@pytest.mark.slow
@every_ad
def test_second_derivatives(backend):
    """``y(1) = y0 exp(-p²)`` for ``dy/dt = -2 t p² y``."""

    def rhs(y, t, p):
        return -2.0 * t * p**2 * y

    def f(z):
        y = dif.odeint(rhs, z[:1], np.array([0.0, 0.5, 1.0]), z[1], **OPTIONS)
        return dif.namespace(z).sum(y[-1])

    y0, p = 1.3, 0.7
    e = np.exp(-(p**2))
    of_both = -2 * p * e
    expected = np.array([[0.0, of_both], [of_both, y0 * (4 * p**2 - 2) * e]])
    z, v = np.array([y0, p]), np.array([0.3, -1.0])
    np.testing.assert_allclose(dif.hessian(f, z, backend=backend), expected, rtol=1e-6, atol=1e-7)
    found = dif.hvp(f, z, tangents=v, backend=backend)
    np.testing.assert_allclose(found, expected @ v, rtol=1e-6)
    # Reverse over reverse, where nobody chooses the modes.
    reverse = lambda z: dif.pullback(f, z, cotangents=1.0, backend=backend)
    found = dif.pullback(reverse, z, cotangents=v, backend=backend)
    np.testing.assert_allclose(found, expected @ v, rtol=1e-6)


N = 8
LAPLACE = (np.diag(np.full(N, -2.0)) + np.eye(N, k=1) + np.eye(N, k=-1)) * (N + 1) ** 2


@pytest.mark.parametrize(
    ("method", "backend"),
    [("BDF", "autograd"), ("Radau", "autograd"), *(("LSODA", name) for name in AD)],
)
def test_the_heat_equation(method, backend):
    """``y(t) = exp(t p L) y0`` and ``dy/dp = t L y(t)``; an adjoint that runs along the stored
    solution, since the equation itself cannot be solved backwards."""

    def heat(u, t, p):
        xp = dif.namespace(u, p)
        edge = xp.zeros_like(u[:1])
        wide = xp.concat([edge, u, edge])
        return p * (N + 1) ** 2 * (wide[:-2] - 2 * wide[1:-1] + wide[2:])

    u0 = np.sin(np.pi * np.arange(1, N + 1) / (N + 1)) + 0.3
    t, p, v = np.array([0.0, 0.05, 0.1]), np.array(0.8), np.cos(np.arange(N))

    def weighted(u0, p):
        u = dif.odeint(heat, u0, t, p, rtol=1e-9, atol=1e-9, method=method)
        xp = dif.namespace(u)
        return xp.sum(u[1:] * xp.asarray(v))

    solution = [linalg.expm(s * p * LAPLACE) for s in t[1:]]
    of_u0 = sum(s.T @ v for s in solution)
    of_p = sum(v @ (a * LAPLACE @ s @ u0) for a, s in zip(t[1:], solution, strict=True))
    close(dif.gradient(weighted, u0, p, backend=backend), (of_u0, of_p))


@every_ad
def test_trees_and_complex_numbers(backend):
    """``z(t) = exp(i w t) z0``, ``x(t) = x0 + v t``: a tree of a complex and a real array."""

    def rhs(y, t, p):
        return {"z": 1j * p["w"] * y["z"], "x": p["v"] + 0.0 * y["x"]}

    def f(y0, p):
        y = dif.odeint(rhs, y0, np.array([0.0, 2.0]), p, **OPTIONS)
        xp = dif.namespace(y["x"])
        return xp.sum(xp.real(y["z"][-1])) + xp.sum(y["x"][-1] ** 2)

    z, w, x, v = 0.6 - 0.8j, 1.3, np.array([[1.0, 2.0]]), 0.5
    y0, p = {"z": np.array([z]), "x": x}, {"w": w, "v": v}
    of_y0, of_p = dif.gradient(f, y0, p, backend=backend)
    rotated = np.exp(2j * w)
    np.testing.assert_allclose(of_y0["z"], [np.conj(rotated)], rtol=1e-6)
    np.testing.assert_allclose(of_y0["x"], 2 * (x + 2 * v), rtol=1e-6)
    np.testing.assert_allclose(of_p["w"], (2j * rotated * z).real, rtol=1e-6)
    np.testing.assert_allclose(of_p["v"], np.sum(4 * (x + 2 * v)), rtol=1e-6)


def test_plain_calls():
    found = path(Y0, P)
    np.testing.assert_allclose(found, tight(np.concatenate([Y0, P])), rtol=1e-7)
    assert found[0].tolist() == Y0.tolist()
    single = dif.odeint(predators, Y0.astype(np.float32), TIMES, P.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, found, rtol=1e-6)
    alone = dif.odeint(predators, Y0, np.zeros(1), P)
    np.testing.assert_array_equal(alone, [Y0])
    at_once = lambda y0: dif.odeint(predators, y0, np.zeros(1), P)[0]
    found = dif.jacobian(at_once, Y0, backend="autograd", mode="reverse")
    np.testing.assert_array_equal(found, np.eye(2))
    there = dif.odeint(predators, Y0, np.array([0.0, 1.5]), P, **OPTIONS)[-1]
    back = dif.odeint(predators, there, np.array([1.5, 0.0]), P, **OPTIONS)[-1]
    np.testing.assert_allclose(back, Y0, rtol=1e-6)


@pytest.mark.slow
def test_under_the_frameworks_own_transformations():
    import jax
    import jax.numpy as jnp
    import torch

    def of(y0, p):
        return jnp.sum(path(y0, p) ** 2)

    y0, p = jnp.asarray(Y0, jnp.float32), jnp.asarray(P, jnp.float32)
    close(jax.jit(jax.grad(of, (0, 1)))(y0, p), OF_LOSS, rtol=1e-5)
    batch = jax.vmap(jax.grad(of, 1), (None, 0))(y0, jnp.stack([p, p]))
    close(batch, [OF_LOSS[1]] * 2, rtol=1e-5)
    leaf = torch.from_numpy(P.copy()).requires_grad_()
    path(torch.from_numpy(Y0), leaf).pow(2).sum().backward()
    close([leaf.grad], OF_LOSS[1:])


# What is an error, and no number


@pytest.mark.slow
@pytest.mark.parametrize("backend", [None, *AD])
def test_solutions_that_blow_up(backend):
    """``dy/dt = y²`` has a pole at t = 1."""

    def f(y0):
        y = dif.odeint(lambda y, t: y**2, y0, np.array([0.0, 2.0]))
        return dif.namespace(y).sum(y)

    with pytest.raises(
        dif.SolverError, match=r"from t = 0 to t = 2; the solver gave up near t = 1"
    ):
        f(np.ones(1)) if backend is None else dif.gradient(f, np.ones(1), backend=backend)


@pytest.mark.parametrize("method", ["DOP853", "RK45", "BDF", "LSODA"])
def test_right_hand_sides_that_are_not_finite(method):
    rhs = lambda y, t: np.where(t > 0.5, np.nan, y)
    with pytest.raises(dif.SolverError):
        dif.odeint(rhs, np.ones(1), np.array([0.0, 1.0]), method=method)


@every_ad
def test_derivatives_with_respect_to_times(backend):
    f = lambda t: dif.namespace(t).sum(dif.odeint(lambda y, t: -y, np.ones(1), t))
    with pytest.raises(dif.NotDifferentiableError, match="times `t` of `odeint` are constant"):
        dif.gradient(f, np.array([0.0, 1.0]), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_that_are_captured(backend):
    """Never a zero: an error that says what to do, or the right answer by differences."""

    def f(k):
        y = dif.odeint(lambda y, t: -k * y, np.ones(1), np.array([0.0, 1.0]), **OPTIONS)
        return dif.namespace(k).sum(y[-1])

    if backend == "numpy":
        np.testing.assert_allclose(dif.derivative(f, 0.7, backend=backend), -np.exp(-0.7), 1e-5)
        return
    with pytest.raises((dif.NotDifferentiableError, dif.InvalidArgumentError, TypeError)):
        dif.derivative(f, 0.7, backend=backend)


@pytest.mark.parametrize(
    ("y0", "t", "rhs", "message"),
    [
        (np.ones(2), np.zeros((1, 1)), predators, "`t` must be a floating-point array of shape"),
        (np.ones(2), np.array([0.0, 1.0, 0.5]), predators, "strictly increasing or decreasing"),
        (np.ones(2), np.array([0.0, np.nan]), predators, "must be finite"),
        (np.ones(2, int), TIMES, predators, "`y0` must be a floating-point array"),
        (np.ones(2), TIMES, lambda y, t, p: [y[0], y[1]], "array of shape (2,), like `y0`, got"),
        (np.ones(2), TIMES, lambda y, t, p: y[0], "array of shape (2,), like `y0`, got shape ()"),
        ({"a": np.ones(2)}, TIMES, lambda y, t, p: y["a"], "the structure of `y0`"),
    ],
)
def test_arguments_that_do_not_fit(y0, t, rhs, message):
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.odeint(rhs, y0, t, P)
    assert message in str(caught.value)


def test_events_are_refused():
    with pytest.raises(dif.InvalidArgumentError, match="`odeint` takes no events"):
        dif.odeint(predators, Y0, TIMES, P, events=lambda t, y: y[0])
