"""Log densities with constrained parameters, against numbers computed by hand."""

import pickle
from typing import Any

import numpy as np
import pytest
from helpers import AD
from scipy import stats

import diffface as dif

SMOOTH = [*AD, "complex-step"]


def test_of_a_scale() -> None:
    """log p(u) = -exp(u) + u for an exponential distribution."""
    density = dif.log_density(lambda s: -s, 2.0, transforms=dif.positive, backend="autograd")
    np.testing.assert_allclose(density.x0, [np.log(2)])
    u = np.array([0.3])
    assert density.logdensity(u) == pytest.approx(-np.exp(0.3) + 0.3, rel=1e-15)
    np.testing.assert_allclose(density.gradient(u), [1 - np.exp(0.3)], rtol=1e-14)
    np.testing.assert_allclose(density.hessian(u), [[-np.exp(0.3)]], rtol=1e-14)
    assert density.unravel(u) == pytest.approx(np.exp(0.3))


@pytest.mark.parametrize("backend", SMOOTH)
def test_of_a_probability(backend: str) -> None:
    """The uniform distribution becomes the logistic one."""
    flat = lambda p: 0.0 * p[0]
    density = dif.log_density(flat, [0.5], transforms=dif.interval(0, 1), backend=backend)
    for u in (-3.0, 0.0, 1.5):
        logistic = stats.logistic(0, 1)
        assert density.logdensity([u]) == pytest.approx(logistic.logpdf(u), rel=1e-14)
        slope = 1 - 2 * logistic.cdf(u)
        np.testing.assert_allclose(density.gradient([u]), [slope], atol=1e-14)
        if backend in AD:
            curvature = -2 * logistic.pdf(u)
            np.testing.assert_allclose(density.hessian([u]), [[curvature]], rtol=1e-12)


@pytest.mark.parametrize("backend", SMOOTH)
def test_of_a_simplex(backend: str) -> None:
    """Dirichlet(2, 3, 4): sum of alpha_i log x_i with the Jacobian; its mode is alpha / 9."""
    alpha = np.array([2.0, 3.0, 4.0])

    def dirichlet(x: Any, alpha: Any) -> Any:
        xp = dif.namespace(x)
        return xp.sum((alpha - 1) * xp.log(x))

    density = dif.log_density(
        dirichlet, np.full(3, 1 / 3), alpha, transforms=dif.simplex, backend=backend
    )
    assert density.dimension == 2
    np.testing.assert_allclose(density.x0, 0, atol=1e-15)
    assert density.logdensity([0.0, 0.0]) == pytest.approx(9 * np.log(1 / 3), rel=1e-14)
    mode = np.log(alpha[:2] / alpha[2])
    np.testing.assert_allclose(density.gradient(mode), 0, atol=1e-14)
    np.testing.assert_allclose(density.unravel(mode), alpha / 9, rtol=1e-14)
    samples = density.unravel_samples(np.stack([mode, 0 * mode]))
    np.testing.assert_allclose(samples, [alpha / 9, np.full(3, 1 / 3)], rtol=1e-14)


def everything(p: dict[str, Any], y: Any) -> Any:
    xp = dif.namespace(p["mu"])
    noise = (y - p["mu"][0] - p["w"] @ p["mu"][1:]) / p["tau"]
    return -0.5 * xp.sum(noise**2) - 4 * xp.log(p["tau"]) - p["rho"] ** 2


START = {"mu": np.zeros(4), "tau": 2.0, "rho": 0.25, "w": np.array([0.2, 0.3, 0.5])}
HOW = {"mu": None, "tau": dif.positive, "rho": dif.interval(-1, 1), "w": dif.simplex}
DATA = np.array([0.5, 1.0, -0.3, 0.7])


@pytest.mark.parametrize("backend", SMOOTH)
def test_of_a_tree(backend: str) -> None:
    density = dif.log_density(everything, START, DATA, transforms=HOW, backend=backend)
    found = density.unravel(density.x0)
    assert list(found) == list(START)
    for name, value in START.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-14)
        assert type(found[name]) is type(value)
    rho = 4 * 0.625 * 0.375 * 0.5  # the derivative of 2 / (1 + exp(-u)) - 1 where it is 0.25
    jacobian = np.log(2.0) + np.log(rho) + np.sum(np.log(START["w"]))
    wanted = everything(START, DATA) + jacobian
    assert density.logdensity(density.x0) == pytest.approx(wanted, rel=1e-14)
    # Slopes against central differences of values.
    value, slope = density.logdensity_and_gradient(density.x0)
    assert value == pytest.approx(wanted, rel=1e-14)
    for i, unit in enumerate(np.eye(density.dimension)):
        step = 1e-5 * unit
        difference = density.logdensity(density.x0 + step) - density.logdensity(density.x0 - step)
        assert slope[i] == pytest.approx(difference / 2e-5, abs=1e-8)


def test_pickles() -> None:
    density = dif.log_density(everything, START, DATA, transforms=HOW, backend="autograd")
    copy = pickle.loads(pickle.dumps(density))
    assert copy.logdensity(density.x0) == density.logdensity(density.x0)
    np.testing.assert_array_equal(copy.unravel(density.x0)["w"], density.unravel(density.x0)["w"])


@pytest.mark.parametrize(
    ("x0", "transforms", "message"),
    [
        (0.0, dif.positive, "a positive parameter must be greater than 0, got 0.0."),
        ([1.0], dif.interval(0, 1), "a parameter must lie between 0.0 and 1.0, got [1.]."),
        ([0.5, 0.6], dif.simplex,
         "parameters on a simplex must be positive and have the sum 1, got [0.5 0.6]."),
        (1.0, dif.simplex, "a simplex needs a last axis of 2 elements or more, got the shape ()."),
        ({"a": 1.0}, {"b": dif.positive}, "`transforms` must have the structure of the parameters"),
        (1.0, "positive", "`transforms` must be diffface.positive, diffface.interval(lower, "
         "upper), diffface.simplex or None for each leaf, got 'positive'."),
    ],
)  # fmt: skip
def test_what_makes_no_sense(x0: Any, transforms: Any, message: str) -> None:
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.log_density(lambda x: 0.0, x0, transforms=transforms, backend="autograd")
    assert str(caught.value).startswith(message)


def test_bounds_of_an_interval() -> None:
    with pytest.raises(dif.InvalidArgumentError, match=r"got 1\.0 and 0\.0"):
        dif.interval(1, 0)
    with pytest.raises(dif.InvalidArgumentError, match="make a leaf for each interval"):
        dif.interval(np.zeros(2), np.ones(2))  # type: ignore[arg-type]


def test_one_argument_is_transformed() -> None:
    with pytest.raises(dif.InvalidArgumentError, match="leave `argnums` out"):
        dif.log_density(lambda x, y: x * y, 1.0, 2.0, argnums=1, transforms=dif.positive)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_transforms_keep_single_precision(backend: str) -> None:
    seen = []

    def flat(p: Any) -> Any:
        seen.append(str(p.dtype))
        return 0.0 * p.sum()

    start, half = np.full(1, 0.5, np.float32), dif.interval(0, 1)
    density = dif.log_density(flat, start, argnums=None, transforms=half, backend=backend)
    assert density.gradient([0.0]) == 0
    assert all("float32" in name for name in seen)
