"""Numbers that others computed: published figures, high precision, and frameworks' own answers."""

import importlib
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from lawful import backends

import diffface as dif
from diffface.backends.registry import resolve
from diffface.testing.protocol import relative

pytestmark = pytest.mark.numerical
every_backend = pytest.mark.parametrize("backend", backends())
F64 = np.dtype(float)


# A Hessian-vector product


X, V = np.arange(1.0, 6.0), np.arange(6.0, 11.0)
# f(x) = |x|^3 x_5 + x_1^2 at (1, ..., 5) with v = (6, ..., 10).
HV = np.array([
    1164.881764812144, 1749.5486430921133, 2346.2155213720825, 2942.882399652052, 6431.86668789933,
])  # fmt: skip


def norm_cubed(x: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(x**2) ** 1.5 * x[4] + x[0] ** 2


@every_backend
@pytest.mark.parametrize("prepared", [False, True], ids=["unprepared", "prepared"])
def test_hessian_vector_product(backend: str, prepared: bool) -> None:
    if prepared:
        result = dif.prepare_hvp(norm_cubed, X + 1, backend=backend)(X, tangents=V)
    else:
        result = dif.hvp(norm_cubed, X, tangents=V, backend=backend)
    tolerance = max(1e-14, relative(resolve(backend), 2, F64))
    np.testing.assert_allclose(result, HV, rtol=tolerance)


@every_backend
def test_hessian_times_vector(backend: str) -> None:
    tolerance = max(1e-14, relative(resolve(backend), 2, F64))
    np.testing.assert_allclose(dif.hessian(norm_cubed, X, backend=backend) @ V, HV, rtol=tolerance)


# Special functions, against mpmath with 40 digits

# Where each backend finds the error function and the logarithm of the gamma function.
LIBRARIES = {
    "jax": ("jax.scipy.special", "erf", "gammaln"),
    "torch": ("torch.special", "erf", "gammaln"),
    "autograd": ("autograd.scipy.special", "erf", "gammaln"),
    "numpy": ("scipy.special", "erf", "gammaln"),
    "complex-step": ("scipy.special", "erf", "loggamma"),
}
every_library = pytest.mark.parametrize("backend", LIBRARIES)
PORTABLE: dict[str, Callable[[Any, Any], Any]] = {
    "expm1": lambda xp, t: xp.expm1(t),
    "log1p": lambda xp, t: xp.log1p(t),
    "tanh": lambda xp, t: xp.tanh(t),
    "asinh": lambda xp, t: xp.asinh(t),
}


def digits(f: Callable[[Any], Any], t: float, order: int) -> float:
    """A derivative to 40 digits, rounded."""
    with mpmath.workdps(40):
        return float(mpmath.diff(f, mpmath.mpf(t), order))


@every_library
def test_error_function(backend: str) -> None:
    module, erf, _ = LIBRARIES[backend]
    f = getattr(importlib.import_module(module), erf)
    first, second = (relative(resolve(backend), order, F64) for order in (1, 2))
    value, one, two = dif.value_derivative_and_second_derivative(f, 0.7, backend=backend)
    assert value == pytest.approx(digits(mpmath.erf, 0.7, 0), rel=1e-14)
    assert one == pytest.approx(digits(mpmath.erf, 0.7, 1), rel=first)
    assert two == pytest.approx(digits(mpmath.erf, 0.7, 2), rel=second)


@every_library
def test_gamma_function(backend: str) -> None:
    """First order only: torch's own trigamma function has no more than 9 digits."""
    module, _, gammaln = LIBRARIES[backend]
    f = getattr(importlib.import_module(module), gammaln)
    tolerance = relative(resolve(backend), 1, F64)
    value, first = dif.value_and_derivative(f, 1.7, backend=backend)
    assert value == pytest.approx(digits(mpmath.loggamma, 1.7, 0), rel=1e-14)
    assert first == pytest.approx(digits(mpmath.loggamma, 1.7, 1), rel=tolerance)


@every_backend
@pytest.mark.parametrize("name", PORTABLE)
@pytest.mark.parametrize("t", [0.3, 1e-9], ids=str)
def test_elementary_functions(backend: str, name: str, t: float) -> None:
    """Also near 0, where a careless formula loses all digits."""
    f, exact = PORTABLE[name], {"log1p": mpmath.log1p, "expm1": mpmath.expm1}
    reference = exact.get(name) or getattr(mpmath, name)

    def ours(t: Any) -> Any:
        return f(dif.namespace(t), t)

    value, first = dif.value_and_derivative(ours, t, backend=backend)
    assert value == pytest.approx(digits(reference, t, 0), rel=1e-15)
    tolerance = relative(resolve(backend), 1, F64)
    assert first == pytest.approx(digits(reference, t, 1), rel=tolerance)


# Orders of finite differences


@pytest.mark.parametrize(("scheme", "order"), [("forward", 1), ("central", 2), ("central4", 4)])
def test_order_of_first_differences(scheme: Any, order: int) -> None:
    """The truncation error falls by 2**order when the step is halved."""
    ratio = _ratio(lambda h: dif.FiniteDifferences(scheme, step=h), "derivative", np.cos(0.8))
    assert ratio == pytest.approx(2**order, rel=0.05)


def test_order_of_second_differences() -> None:
    """Second derivatives are of order 4: halving the step divides the error by 16."""
    ratio = _ratio(lambda h: dif.FiniteDifferences(step=h), "second_derivative", -np.sin(0.8))
    assert ratio == pytest.approx(16, rel=0.05)


def _ratio(backend: Callable[[float], Any], operator: str, exact: float) -> float:
    errors = [
        getattr(dif, operator)(np.sin, 0.8, backend=backend(h)) - exact for h in (2**-4, 2**-5)
    ]
    return float(errors[0] / errors[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_respect_the_dtype(dtype: Any) -> None:
    """The default step is right for float32, too: its errors are those of its epsilon."""
    x = np.array([0.8], dtype)
    error = abs(dif.gradient(lambda x: np.sum(np.sin(x)), x, backend="numpy")[0] - np.cos(x[0]))
    assert error <= 5 * np.finfo(dtype).eps ** (2 / 3)


def test_richardson_knows_its_error() -> None:
    """Extrapolation is nearly exact, and says so."""
    adapter = dif.FiniteDifferences("richardson")
    (first,), (error,) = adapter.estimate(
        lambda x: ((np.exp(x[0]),), ()), (np.array(1.0),), (np.array(1.0),)
    )
    assert abs(first - np.e) <= 10 * error
    assert error < 1e-11


# Kinks: the interface passes on what the framework says

KINKS = {
    "abs": {"jax": 1.0, "torch": 0.0, "autograd": 0.0, "numpy": 0.0},
    "maximum": {"jax": 0.5, "torch": 0.5, "autograd": 0.5, "numpy": 0.5},
}
KINKED: dict[str, Callable[[Any], Any]] = {
    "abs": lambda t: dif.namespace(t).abs(t),
    "maximum": lambda t: dif.namespace(t).maximum(t, 0 * t),
}


@pytest.mark.parametrize("prepared", [False, True], ids=["unprepared", "prepared"])
@pytest.mark.parametrize(
    ("name", "backend"), [(name, backend) for name in KINKS for backend in KINKS[name]]
)
def test_kinks(name: str, backend: str, prepared: bool) -> None:
    f, x = KINKED[name], np.array(0.0)
    if prepared:
        result = dif.prepare_gradient(f, np.array(1.0), backend=backend)(x)
    else:
        result = dif.gradient(f, x, backend=backend)
    assert result == KINKS[name][backend]


def test_complex_step_refuses_kinks() -> None:
    """abs is not analytic, on either side of the kink."""
    for t in (-1.0, 0.5):
        with pytest.raises(dif.NotDifferentiableError, match="not analytic"):
            dif.derivative(KINKED["abs"], t, backend="complex-step")
