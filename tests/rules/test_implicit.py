"""Solutions of equations: derivatives by the implicit function theorem, against closed forms."""

from functools import partial

import mpmath
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


TOLERANCE = np.array(1e-14)


@every_ad
def test_options_of_the_solver_alone(backend):
    """What the residual does not take is not passed to it."""

    def solve(p, tolerance=TOLERANCE, *, start=1.0):
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
    h = dif.prepare_hessian(anomaly, M[1], e, backend=backend, fallback="error")
    with mpmath.workdps(40):
        exact = lambda M, e: mpmath.findroot(lambda E: E - e * mpmath.sin(E) - M, M)
        orders = (((2, 0), (1, 1)), ((1, 1), (0, 2)))
        second = [[float(mpmath.diff(exact, (1.2, 0.4), n)) for n in row] for row in orders]
    np.testing.assert_allclose(h(M[1], e), second, rtol=1e-12)


@pytest.mark.slow
@every_ad
def test_hypergradient_of_ridge_regression(backend):
    rng = np.random.default_rng(0)
    X, y, v = rng.normal(size=(8, 3)), rng.normal(size=8), rng.normal(size=3)

    def loss(w, penalty):
        xp = dif.namespace(w, penalty)
        r = xp.asarray(X) @ w - xp.asarray(y)
        return 0.5 * xp.sum(r * r) + 0.5 * xp.sum(penalty * w * w)

    def solve(penalty):
        return np.linalg.solve(X.T @ X + np.diag(penalty), X.T @ y)

    best = dif.argmin(loss, solve)
    outer = lambda p: dif.namespace(p).sum((best(p) - dif.namespace(p).asarray(v)) ** 2)
    penalty, t = np.array([0.7, 0.2, 1.1]), np.array([1.0, -1.0, 2.0])
    # w = A X'y with A = (X'X + diag(p))^-1, so dw/dp_i = -A e_i w_i.
    A, w = np.linalg.inv(X.T @ X + np.diag(penalty)), solve(penalty)
    first = -A * w
    half = np.einsum("ai,ij,j->aij", A, A, w)
    second = half + half.transpose(0, 2, 1)
    gradient = 2 * first.T @ (w - v)
    hessian = 2 * first.T @ first + 2 * np.einsum("a,aij->ij", w - v, second)
    close = partial(np.testing.assert_allclose, rtol=1e-9)
    close(dif.gradient(outer, penalty, backend=backend), gradient)
    close(dif.prepare_hvp(outer, penalty, backend=backend)(penalty, tangents=t), hessian @ t)
    close(dif.prepare_hessian(outer, penalty, backend=backend)(penalty), hessian)


@every_ad
def test_a_solver_of_the_framework(backend):
    """Newton's method in functions of the framework, which nothing differentiates."""

    def solve(p):
        xp = dif.namespace(p)
        x = xp.ones_like(p)
        for _ in range(60):
            x = x - cubic(x, p) / (3 * x**2 + 1)
        return x

    root = dif.implicit(cubic, solve, black_box=False)
    f = lambda p: dif.namespace(p).sum(root(p))
    close = partial(np.testing.assert_allclose, rtol=1e-9)
    close(dif.gradient(f, P, backend=backend), FIRST)
    close(dif.prepare_gradient(f, P, backend=backend, fallback="error")(P), FIRST)
    close(dif.hvp(f, P, tangents=V, backend=backend), SECOND * V)


@pytest.mark.slow
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
        for _ in range(60):
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
    equilibrium = dif.fixed_point(layer, iterate)
    loss = lambda b: dif.namespace(b).sum(equilibrium({"W": W, "b": b}))
    h = dif.prepare_hessian(loss, p["b"], backend=backend, fallback="error")
    # z'' = -2 z s (W z' + 1)(W z' + 1), and the adjoint of what is around it.
    adjoint = np.linalg.solve((np.eye(2) - s @ W).T, np.ones(2))
    inner = W @ expected + np.eye(2)
    second = np.einsum("i,ij,ik->jk", adjoint * -2 * z * (1 - z**2), inner, inner)
    np.testing.assert_allclose(h(p["b"]), second, rtol=1e-9)


@pytest.mark.parametrize("make", [dif.implicit, dif.fixed_point], ids=["implicit", "fixed point"])
def test_complex_steps(make):
    residual = cubic if make is dif.implicit else lambda x, p: x - cubic(x, p) / (3 * x**2 + 1)
    root = make(residual, by_scipy)
    loss = lambda p: np.sum(root(p) ** 2)
    prepared = dif.prepare_jacobian(root, P + 1, backend="complex-step")
    np.testing.assert_allclose(prepared(P), np.diag(FIRST), rtol=1e-10, atol=1e-12)
    found = dif.gradient(loss, P, backend="complex-step")
    np.testing.assert_allclose(found, 2 * ROOT * FIRST, rtol=1e-10)
    wrong = dif.implicit(lambda x, p: x + 1j * p, lambda p: p)
    with pytest.raises(dif.NotDifferentiableError):
        dif.gradient(lambda p: np.sum(wrong(p)), P, backend="complex-step")


def test_modules_of_torch_among_the_parameters():
    """``z = tanh(0.3 m(z) + x)``, beside the derivative through the iteration."""
    import torch

    m = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).double().eval()
    m[0].bias.requires_grad_(False)
    torch.nn.init.constant_(m[0].weight, 0.4)
    x = torch.tensor([0.3, -0.2], dtype=torch.float64)

    def layer(z, m, x):
        return torch.tanh(0.3 * m(z[None])[0] + x)

    def iterate(m, x):
        z = torch.zeros(2, dtype=torch.float64)
        for _ in range(24):
            z = layer(z, m, x)
        return z

    named = {name: p for name, p in m.named_parameters() if p.requires_grad}
    tangents = {name: torch.ones_like(p) for name, p in named.items()}
    expected = torch.autograd.grad((iterate(m, x) ** 2).sum(), tuple(named.values()))
    equilibrium = dif.fixed_point(layer, iterate, black_box=False)
    loss = lambda m, x: (equilibrium(m, x) ** 2).sum()
    with torch.no_grad():
        prepared = dif.prepare_gradient(loss, m, x, argnums=0, fallback="error")
        for found in (dif.gradient(loss, m, x, argnums=0), prepared(m, x)):
            assert list(found) == list(named)
            for a, b in zip(found.values(), expected, strict=True):
                torch.testing.assert_close(a, b)
        slope = dif.pushforward(loss, m, dif.Const(x), tangents=tangents, backend="torch")
        torch.testing.assert_close(slope, sum(each.sum() for each in expected))
    with pytest.raises(dif.NotDifferentiableError, match="black_box=False where a rule"):
        dif.gradient(dif.fixed_point(layer, iterate), m, x, argnums=0)


@every_ad
def test_singular_equations(backend):
    root = dif.implicit(lambda x, p: x**2 - p, lambda p: np.sqrt(p))
    with pytest.raises(dif.NotDifferentiableError) as caught:
        dif.jacobian(root, np.zeros(2), backend=backend)
    assert str(caught.value) == (
        "The derivative of the residual with respect to x is singular at the solution, so that the "
        "solution has no derivative there."
    )


def test_equations_that_are_singular_but_for_rounding_errors():
    """Whatever the units are; those that are only in odd units are solved."""
    A = np.array([[0.1, 0.2, 0.3], [0.7, 0.1, 0.4], [0.8, 0.3, 0.7]])  # the last row is a sum
    regular = A + np.diag([0.0, 0.0, 1.0])
    units = np.array([1e-9, 1.0, 1e12])
    for matrix, fails in ((A, True), (units[:, None] * A, True), (units[:, None] * regular, False)):
        b = units if not fails else np.ones(3)
        line = dif.implicit(
            lambda x, p, m=matrix, b=b: m @ x - b * p, lambda p: np.linalg.solve(regular, p)
        )
        if fails:
            with pytest.raises(dif.NotDifferentiableError, match="is singular at the solution"):
                dif.jacobian(line, np.ones(3), backend="autograd")
        else:
            found = dif.jacobian(line, np.ones(3), backend="autograd")
            np.testing.assert_allclose(found, np.linalg.inv(regular), rtol=1e-9)


@every_ad
def test_complex_solutions(backend):
    """``z² = p``, and ``z + Re z / 2 = p``, which is no holomorphic function."""
    p, v = np.array([1.0 + 1.0j, 2.0 - 0.5j]), np.array([0.3 - 1.0j, 2.0j])
    root = dif.implicit(lambda z, p: z * z - p, np.sqrt)
    slope = 0.5 / np.sqrt(p)
    close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)
    close(dif.pullback(root, p, cotangents=v, backend=backend), np.conj(slope) * v)
    push = dif.prepare_pushforward(root, p, backend=backend, fallback="error")
    close(push(p, tangents=v), slope * v)
    both = dif.jacobian(root, p, backend=backend, holomorphic=True)
    close(both, np.diag(slope))

    def mixed(z, p):
        return z + dif.namespace(z).real(z) / 2 - p

    z = dif.implicit(mixed, lambda p: p.real / 1.5 + 1j * p.imag)
    expected = v.real / 1.5 + 1j * v.imag
    close(dif.pushforward(z, p, tangents=v, backend=backend), expected)
    close(dif.pullback(z, p, cotangents=v, backend=backend), expected)
