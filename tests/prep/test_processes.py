"""Prepared callables and problems in other processes, as the libraries that start them do it."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import emcee
import joblib
import numpy as np
import pytest
from helpers import AD, cube_sum, same, square_sum
from scipy.optimize import differential_evolution, minimize
from sklearn.base import BaseEstimator, RegressorMixin, clone

import diffface as dif

pytestmark = pytest.mark.slow

X = np.array([1.0, 2.0, 3.0])
SPAWN = multiprocessing.get_context("spawn")


@pytest.mark.parametrize("backend", [*AD, "numpy"])
def test_a_pool_of_processes(backend: str) -> None:
    g = dif.prepare_gradient(cube_sum, X, backend=backend)
    problem = dif.objective(cube_sum, X, backend=backend)
    problem.jac(X)
    with ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        for i, found in enumerate(pool.map(g, [X, X + 1, X + 2])):
            same(found, 3 * (X + i) ** 2, 1e-6)
        assert list(pool.map(problem.fun, [X, 2 * X])) == pytest.approx([36.0, 288.0])


def test_joblib() -> None:
    k = 2.0
    g = dif.prepare_gradient(lambda x: k * cube_sum(x), X, backend="autograd")
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(g)(X + i) for i in range(3))
    same(np.stack(found), np.stack([6 * (X + i) ** 2 for i in range(3)]))


# SciPy forks, of which JAX, where it is imported, warns.
@pytest.mark.filterwarnings("ignore:os.fork")
def test_differential_evolution() -> None:
    problem = dif.objective(square_sum, X, backend="autograd")
    found = differential_evolution(
        problem.fun, [(-2, 2)] * 3, workers=2, updating="deferred", maxiter=2, popsize=4, rng=0,
        polish=False,
    )  # fmt: skip
    assert found.fun == pytest.approx(problem.fun(found.x))


def density(x: Any) -> Any:
    return -0.5 * square_sum(x)


def test_a_pool_of_emcee() -> None:
    problem = dif.log_density(density, X, backend="autograd")
    walkers = np.random.default_rng(0).normal(size=(8, 3))
    with SPAWN.Pool(2) as pool:
        sampler = emcee.EnsembleSampler(8, 3, problem.logdensity, pool=pool)
        sampler.run_mcmc(walkers, 2)
    chain, values = sampler.get_chain(flat=True), sampler.get_log_prob(flat=True)
    np.testing.assert_allclose(values, [problem.logdensity(x) for x in chain])


class Ridge(RegressorMixin, BaseEstimator):
    """An estimator that keeps the gradient of its loss."""

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def fit(self, X: Any, y: Any) -> "Ridge":
        def loss(w: Any, X: Any, y: Any, strength: Any) -> Any:
            xp = dif.namespace(w)
            return xp.sum((X @ w - y) ** 2) + strength * xp.sum(w**2)

        data = X, y, float(self.strength)
        self.gradient_ = dif.prepare_gradient(
            loss, np.zeros(X.shape[1]), *map(dif.Const, data), backend="autograd"
        )
        value = lambda w: loss(w, *data)
        self.coef_ = minimize(value, np.zeros(X.shape[1]), jac=lambda w: self.gradient_(w, *data)).x
        return self

    def predict(self, X: Any) -> Any:
        return X @ self.coef_


def test_an_estimator_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    data, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    fitted = Ridge(0.5).fit(data, y)
    expected = np.linalg.solve(data.T @ data + 0.5 * np.eye(3), data.T @ y)
    np.testing.assert_allclose(fitted.coef_, expected, atol=1e-5)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_allclose(again.predict(data), fitted.predict(data))
    same(again.gradient_(expected, data, y, 0.5), np.zeros(3), 1e-10, 1e-10)
    assert not hasattr(clone(fitted), "gradient_")
