"""SciPy's special functions on every backend, against mpmath."""

import mpmath
import numpy as np
import pytest
from helpers import AD, STRATEGY
from scipy import special

import diffface as dif

erfcx = dif.elementwise(special.erfcx, lambda x: 2 * x * erfcx(x) - 2 / np.pi**0.5)
exp1 = dif.elementwise(special.exp1, lambda x: -dif.namespace(x).exp(-x) / x)
trigamma = dif.elementwise(lambda x: special.polygamma(1, x), None)
digamma = dif.elementwise(special.psi, lambda x: trigamma(x))
gammaln = dif.elementwise(special.gammaln, digamma)
jv = dif.elementwise(special.jv, None, lambda v, x: 0.5 * (jv(v - 1, x) - jv(v + 1, x)))
lambertw = dif.elementwise(
    lambda x: special.lambertw(x).real, lambda x: lambertw(x) / (x * (1 + lambertw(x)))
)
ellipe = dif.elementwise(special.ellipe, lambda m: (ellipe(m) - ellipk(m)) / (2 * m))
ellipk = dif.elementwise(
    special.ellipk, lambda m: (ellipe(m) - (1 - m) * ellipk(m)) / (2 * m * (1 - m))
)
betainc = dif.elementwise(
    special.betainc,
    None,
    None,
    lambda a, b, x: x ** (a - 1) * (1 - x) ** (b - 1) / special.beta(a, b),
)

CASES = {
    "erfcx": (erfcx, lambda t: mpmath.exp(t * t) * mpmath.erfc(t)),
    "exp1": (exp1, mpmath.e1),
    "gammaln": (gammaln, mpmath.loggamma),
    "jv": (lambda x: jv(1.5, x), lambda t: mpmath.besselj(1.5, t)),
    "lambertw": (lambertw, mpmath.lambertw),
    "ellipk": (ellipk, mpmath.ellipk),
    "betainc": (
        lambda x: betainc(2.5, 1.5, x),
        lambda t: mpmath.betainc(2.5, 1.5, 0, t, regularized=True),
    ),
    "a user's own": (
        dif.elementwise(lambda x: x**3, lambda x: 3 * x**2),
        lambda t: t**3,
    ),
}
X = np.array([[0.3, 0.45, 0.7]])


@pytest.mark.parametrize("backend", AD)
@pytest.mark.parametrize("name", CASES)
def test_against_mpmath(name, backend):
    f, reference = CASES[name]
    loss = lambda x: dif.namespace(x).sum(f(x))
    with mpmath.workdps(40):
        first = np.array([[float(mpmath.diff(reference, t)) for t in X[0]]])
        second = np.diag([float(mpmath.diff(reference, t, 2)) for t in X[0]])
    np.testing.assert_allclose(dif.gradient(loss, X, backend=backend), first, rtol=1e-12)
    g = dif.prepare_hessian(loss, X, backend=backend, fallback="error")
    assert g.strategy == STRATEGY[backend]
    np.testing.assert_allclose(g(X).reshape(3, 3), second, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["complex-step", "numpy"])
@pytest.mark.parametrize("name", ["erfcx", "gammaln", "jv"])
def test_without_a_framework(name, backend):
    f, reference = CASES[name]
    first = [float(mpmath.diff(reference, t)) for t in X[0]]
    found = dif.gradient(lambda x: np.sum(f(x)), X, backend=backend)
    np.testing.assert_allclose(found[0], first, rtol=1e-12 if backend == "complex-step" else 1e-8)


@pytest.mark.parametrize("backend", AD)
def test_arguments_are_broadcast(backend):
    power = dif.elementwise(
        lambda x, a: x**a,
        lambda x, a: a * x ** (a - 1),
        lambda x, a: x**a * dif.namespace(x).log(x),
    )
    x, a = np.array([[1.5], [2.0]]), np.array([2.0, 3.0, 0.5])
    loss = lambda x, a: dif.namespace(x).sum(power(x, a))
    dx, da = dif.gradient(loss, x, a, backend=backend)
    np.testing.assert_allclose(dx, np.sum(a * x ** (a - 1), axis=1, keepdims=True))
    np.testing.assert_allclose(da, np.sum(x**a * np.log(x), axis=0))
    np.testing.assert_allclose(power(x, a), x**a)
    jacobian = dif.jacobian(lambda a: power(2.0, a), a, backend=backend)
    np.testing.assert_allclose(jacobian, np.diag(2.0**a * np.log(2)))


def test_batches_are_one_call():
    import jax
    import torch

    calls = []

    def cube(x):
        calls.append(np.shape(x))
        return x**3

    f = dif.elementwise(cube, lambda x: 3 * x**2)
    x = np.arange(12.0).reshape(4, 3)
    np.testing.assert_allclose(torch.vmap(f)(torch.from_numpy(x)), x**3)
    assert calls.count((4, 3)) == 1
    assert (3,) not in calls
    calls.clear()
    np.testing.assert_allclose(jax.vmap(f)(x.astype(np.float32)), x**3)
    assert calls.count((4, 3)) == 1


@pytest.mark.parametrize("backend", AD)
def test_an_argument_without_a_partial_derivative(backend):
    with pytest.raises(dif.NotDifferentiableError) as caught:
        dif.gradient(lambda v: dif.namespace(v).sum(jv(v, 2.0)), X, backend=backend)
    assert str(caught.value) == (
        "`jv` has no partial derivative with respect to `x0`; give one to `elementwise`, or keep "
        "that argument constant."
    )


def test_the_number_of_partial_derivatives():
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.elementwise(special.jv, None)
    assert str(caught.value) == (
        "`elementwise` needs a function and a partial derivative for each argument, or None, got "
        "jv and 1."
    )
