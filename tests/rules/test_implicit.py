"""Solutions of equations: derivatives by the implicit function theorem, against closed forms."""

import numpy as np
import pytest
from helpers import AD
from scipy import optimize

import diffface as dif

every_ad = pytest.mark.parametrize("backend", AD)


def cubic(x, p):
    """``x³ + x = p``: dx/dp = 1 / (3x² + 1), d²x/dp² = -6x / (3x² + 1)³."""
    return x**3 + x - p


def by_scipy(p):
    return optimize.root(cubic, np.ones(np.shape(p)), args=(p,), tol=1e-14).x


P = np.array([0.7, 2.0])
ROOT = by_scipy(P)


FIRST, SECOND = 1 / (3 * ROOT**2 + 1), -6 * ROOT / (3 * ROOT**2 + 1) ** 3
V = np.array([1.0, -2.0])
OPERATORS = {
    "gradient": (True, {}, FIRST, {}),
    "pushforward": (False, {}, FIRST * V, {"tangents": V}),
    "jacobian": (False, {"mode": "forward"}, np.diag(FIRST), {}),
    "hvp": (True, {}, SECOND * V, {"tangents": V}),
    "hessian": (True, {}, np.diag(SECOND), {}),
}


@pytest.mark.parametrize("operator", OPERATORS)
@every_ad
def test_roots_by_scipy(backend, operator):
    """One solve a call, at any order and in both modes."""
    calls = []

    def solve(p):
        calls.append(p)
        return by_scipy(p)

    root = dif.implicit(cubic, solve)
    summed, options, expected, seeds = OPERATORS[operator]
    f = (lambda p: dif.namespace(p).sum(root(p))) if summed else root
    # autograd pushes one direction after the other through the whole function.
    solves = 2 if backend == "autograd" and operator in ("jacobian", "hessian") else 1
    found = getattr(dif, operator)(f, P, backend=backend, **options, **seeds)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert len(calls) == solves
    g = getattr(dif, f"prepare_{operator}")(f, P, backend=backend, fallback="error", **options)
    calls.clear()
    np.testing.assert_allclose(g(P, **seeds), expected, rtol=1e-9, atol=1e-12)
    assert len(calls) == solves


@every_ad
def test_options_of_the_solver_alone(backend):
    """What the residual does not take is not passed to it."""

    def solve(p, tolerance=1e-14, *, start=1.0):
        begin = np.full(np.shape(p), start)
        return optimize.root(cubic, begin, args=(p,), tol=tolerance).x

    def scaled(x, p, scale=2.0):
        return scale * cubic(x, p)

    for residual in (cubic, scaled):
        root = dif.implicit(residual, solve)
        for f in (root, lambda p, root=root: root(p, start=0.5)):
            found = dif.jacobian(f, P, backend=backend)
            np.testing.assert_allclose(found, np.diag(FIRST), rtol=1e-9, atol=1e-12)
    square_root = dif.implicit(lambda x, p: x * x - p, np.sqrt)
    found = dif.jacobian(square_root, P, backend=backend)
    np.testing.assert_allclose(found, np.diag(0.5 / np.sqrt(P)), rtol=1e-12)


def test_a_parameter_that_the_residual_does_not_take():
    root = dif.implicit(cubic, lambda p, *, start: by_scipy(p) + 0.0 * start)
    with pytest.raises(dif.NotDifferentiableError) as caught:
        dif.jacobian(lambda s: root(dif.namespace(s).asarray(P), start=s), P, backend="torch")
    assert str(caught.value) == (
        "The residual does not take `start`, which is differentiated; make it a parameter of the "
        "residual, too."
    )


@every_ad
def test_keplers_equation(backend):
    """``E - e sin E = M``, solved by the user's own loop: dE/dM, dE/de in closed form."""

    def kepler(E, M, e):
        return E - e * dif.namespace(E).sin(E) - M

    def newton(M, e):
        E = M
        for _ in range(30):
            E = E - kepler(E, M, e) / (1 - e * np.cos(E))
        return E

    anomaly = dif.implicit(kepler, newton)
    M, e = np.array([0.3, 1.2, 2.5]), np.array(0.4)
    E = newton(M, e)
    dM, de = dif.jacobian(anomaly, M, e, backend=backend)
    np.testing.assert_allclose(dM, np.diag(1 / (1 - e * np.cos(E))), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(de, np.sin(E) / (1 - e * np.cos(E)), rtol=1e-10)


@every_ad
def test_hypergradient_of_ridge_regression(backend):
    rng = np.random.default_rng(0)
    X, y, v = rng.normal(size=(8, 3)), rng.normal(size=8), rng.normal(size=3)

    def loss(w, penalty):
        xp = dif.namespace(w, penalty)
        r = xp.asarray(X) @ w - xp.asarray(y)
        return 0.5 * xp.sum(r * r) + 0.5 * penalty * xp.sum(w * w)

    def solve(penalty):
        return np.linalg.solve(X.T @ X + penalty * np.eye(3), X.T @ y)

    best = dif.argmin(loss, solve)
    outer = lambda penalty: dif.namespace(penalty).sum(
        best(penalty) * dif.namespace(penalty).asarray(v)
    )
    penalty = np.array(0.7)
    expected = -v @ np.linalg.solve(X.T @ X + penalty * np.eye(3), solve(penalty))
    np.testing.assert_allclose(dif.gradient(outer, penalty, backend=backend), expected, rtol=1e-9)


@every_ad
def test_an_equilibrium_layer(backend):
    """``z = tanh(W z + b)``, iterated to the end; products only."""
    W = np.array([[0.2, -0.3], [0.1, 0.4]])

    def layer(z, p):
        xp = dif.namespace(z, p["b"])
        return xp.tanh(p["W"] @ z + p["b"])

    def iterate(p):
        z = np.zeros(2)
        for _ in range(200):
            z = np.tanh(p["W"] @ z + p["b"])
        return z

    def neumann(product, b):
        w = b
        for _ in range(200):
            w = w - product(w) + b
        return w

    p = {"W": W, "b": np.array([0.3, -0.2])}
    z = iterate(p)
    s = np.diag(1 - z**2)
    expected = np.linalg.solve(np.eye(2) - s @ W, s)
    for options in ({}, {"linear_solve": neumann}):
        equilibrium = dif.fixed_point(layer, iterate, **options)
        for mode in ("forward", "reverse"):
            found = dif.jacobian(equilibrium, p, backend=backend, mode=mode)
            np.testing.assert_allclose(found["b"], expected, rtol=1e-9)
            np.testing.assert_allclose(
                found["W"], expected[:, :, None] * z[None, None, :], rtol=1e-9
            )


@every_ad
def test_singular_equations(backend):
    root = dif.implicit(lambda x, p: x**2 - p, lambda p: np.sqrt(p))
    with pytest.raises(dif.NotDifferentiableError) as caught:
        dif.jacobian(root, np.zeros(2), backend=backend)
    assert str(caught.value) == (
        "The derivative of the residual with respect to x is singular at the solution, so that the "
        "solution has no derivative there."
    )
