"""Log densities, and the Hamiltonian sampler of the examples."""

import blackjax
import emcee
import jax
import numpy as np
import pytest
from helpers import AD, BACKENDS, ROOT

import diffface as dif

EXAMPLES = ROOT / "docs" / "examples"

MEAN = np.array([1.0, -2.0])
PRECISION = np.array([[2.0, 0.5], [0.5, 1.0]])


def gaussian(p, mean, precision):
    far = p["x"] - mean
    return -0.5 * (far * (precision @ far)).sum() - 0.5 * ((p["y"] - 3.0) / 0.5) ** 2


@pytest.fixture(params=BACKENDS)
def density(request):
    start = {"x": np.zeros(2), "y": 0.0}
    return dif.log_density(gaussian, start, MEAN, PRECISION, backend=request.param)


def test_log_density_and_gradient(density):
    x = np.array([2.0, 0.0, 4.0])
    far = x[:2] - MEAN
    value = -0.5 * far @ PRECISION @ far - 2.0
    gradient = [*(-PRECISION @ far), -4.0]
    found, at = density.logdensity_and_gradient(x)
    assert type(found) is float
    assert found == pytest.approx(value)
    assert density.logdensity(x) == pytest.approx(value)
    np.testing.assert_allclose(at, gradient, rtol=1e-6)
    assert at.dtype == np.float64
    assert density.dimension == 3


def test_many_points(density):
    x = np.array([[2.0, 0.0, 4.0], [1.0, -2.0, 3.0], [0.0, 0.5, -1.0]])
    one = [density.logdensity_and_gradient(each) for each in x]
    values, gradients = density.logdensity_and_gradient(x)
    np.testing.assert_allclose(values, [y for y, _ in one], rtol=1e-12)
    np.testing.assert_allclose(gradients, [g for _, g in one], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(density.logdensity(x), values, rtol=1e-12)
    assert density.logdensity(x[:0]).shape == (0,)
    with pytest.raises(dif.InvalidArgumentError) as caught:
        density.logdensity(x[:, :2])
    assert str(caught.value) == (
        "`x` must be a vector of shape (3,), or many of shape (k, 3), got shape (3, 2)."
    )


@pytest.mark.parametrize("backend", AD)
def test_an_ensemble_of_walkers(backend):
    start = {"x": np.zeros(2), "y": 0.0}
    density = dif.log_density(gaussian, start, MEAN, PRECISION, backend=backend)
    walkers = np.random.default_rng(0).normal([1.0, -2.0, 3.0], size=(32, 3))
    sampler = emcee.EnsembleSampler(32, 3, density.logdensity, vectorize=True)
    sampler.random_state = np.random.RandomState(0).get_state()
    sampler.run_mcmc(walkers, 300)
    draws = sampler.get_chain(discard=100, flat=True)
    np.testing.assert_allclose(draws.mean(0), [1.0, -2.0, 3.0], atol=0.2)


def test_samples_come_back_as_a_tree(density):
    samples = np.arange(12.0).reshape(4, 3)
    tree = density.unravel_samples(samples)
    np.testing.assert_array_equal(tree["x"], samples[:, :2])
    np.testing.assert_array_equal(tree["y"], samples[:, 2])
    constrained = dif.log_density(
        gaussian, {"x": np.ones(2), "y": 1.0}, MEAN, PRECISION,
        transforms={"x": None, "y": dif.positive}, backend="autograd",
    )  # fmt: skip
    for wrong in (np.zeros((4, 5)), np.zeros((2, 4, 3)), np.zeros(3)):
        for each in (density, constrained):
            with pytest.raises(dif.InvalidArgumentError, match=r"of shape \(k, 3\), one in each"):
                each.unravel_samples(wrong)


@pytest.fixture(scope="module")
def hmc():
    """The sampler alone, without the run of the example."""
    source = (EXAMPLES / "eight_schools.py").read_text().partition("\nstart = ")[0]
    scope = {"__name__": "eight_schools"}
    exec(compile(source, "eight_schools.py", "exec"), scope)  # noqa: S102 - the example's own code
    return scope["hmc"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", AD)
def test_the_sampler_has_the_moments_of_a_gaussian(hmc, backend):
    start = {"x": np.zeros(2), "y": 0.0}
    density = dif.log_density(gaussian, start, MEAN, PRECISION, backend=backend)
    draws = hmc(density, density.x0, 2200, np.random.default_rng(1), step=0.4, longest=8)[200:]
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = np.linalg.inv(PRECISION)
    covariance[2, 2] = 0.25
    error = draws.reshape(20, 100, 3).mean(1).std(0, ddof=1) / np.sqrt(20)
    assert np.all(np.abs(draws.mean(0) - [1.0, -2.0, 3.0]) < 4.5 * error)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.2)


def test_values_that_are_not_finite_are_never_accepted(hmc):
    def half_normal(x):
        xp = dif.namespace(x)
        return xp.sum(xp.where(x > 0, -0.5 * x**2, -xp.inf))

    density = dif.log_density(half_normal, [1.0], backend="jax")
    draws = hmc(density, density.x0, 500, np.random.default_rng(2))
    assert draws.min() > 0.0


@pytest.mark.slow
def test_a_flat_density_in_blackjax():
    density = dif.log_density(gaussian, {"x": np.zeros(2), "y": 0.0}, MEAN, PRECISION)

    def flat(q):
        return gaussian(density.unravel(q), MEAN, PRECISION)

    nuts = blackjax.nuts(flat, step_size=0.4, inverse_mass_matrix=np.ones(3))
    state = nuts.init(jax.numpy.zeros(3))
    assert float(state.logdensity) == pytest.approx(density.logdensity(np.zeros(3)), rel=1e-5)
    _, gradient = density.logdensity_and_gradient(np.zeros(3))
    np.testing.assert_allclose(state.logdensity_grad, gradient, rtol=1e-4)
    _, draws = jax.lax.scan(
        lambda s, key: (lambda new: (new, new.position))(nuts.step(key, s)[0]),
        state, jax.random.split(jax.random.key(0), 600),
    )  # fmt: skip
    np.testing.assert_allclose(draws.mean(0), [1.0, -2.0, 3.0], atol=0.3)


def test_many_points_after_a_trace_that_is_kept():
    density = dif.log_density(
        gaussian, {"x": np.zeros(2), "y": 0.0}, MEAN, PRECISION, backend="jax"
    )
    kept = jax.jit(density.logdensity)
    traced = kept(jax.numpy.zeros(3))
    np.testing.assert_allclose(density.logdensity(np.zeros((2, 3))), float(traced), rtol=1e-6)
