"""Evaluations by whatever has a map: in order, pickled, as many as without."""

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from helpers import Counted
from scipy.optimize import minimize, rosen, rosen_der

import diffface as dif

X = np.array([-1.2, 1.0, 0.7])


class Mapping:
    """A map in this process, through pickles, that counts."""

    def __init__(self):
        self.count = 0

    def map(self, function, items):
        self.count += len(items)
        function = pickle.loads(pickle.dumps(function))
        return [function(pickle.loads(pickle.dumps(item))) for item in items]


def scaled(p, c, *, power):
    return {"y": c * p["a"] ** power + p["b"], "z": p["b"] ** 2}


TREE = {"a": np.array([1.0, 2.0]), "b": 3.0}


@pytest.mark.parametrize("scheme", ["forward", "central", "central4", "richardson"])
@pytest.mark.parametrize("bounds", [None, ([1.0, 2.0, 0.0], 3.0)])
def test_results_are_those_without(scheme, bounds):
    """With trees, constants, keywords and functions that have no name."""
    mapping = Mapping()
    alone = dif.FiniteDifferences(scheme, bounds=bounds)
    workers = dif.FiniteDifferences(scheme, bounds=bounds, workers=mapping)
    for f in (scaled, lambda p, c, *, power: scaled(p, c, power=power)):
        for name, more in (("jacobian", {}), ("pushforward", {"tangents": TREE})):
            options = {"kwargs": {"power": 3}, **more}
            operator = getattr(dif, name)
            expected = operator(f, TREE, dif.Const(2.0), backend=alone, **options)
            found = operator(f, TREE, dif.Const(2.0), backend=workers, **options)
            np.testing.assert_equal(found, expected)
    assert mapping.count > 0


def test_all_evaluations_but_the_value_are_distributed():
    mapping = Mapping()
    f = Counted(rosen)
    backend = dif.FiniteDifferences(workers=lambda function, items: mapping.map(function, items))
    dif.value_and_gradient(f, X, backend=backend)
    assert mapping.count == 6
    assert f.count == 1
    mapping.count = 0
    sparse = dif.jacobian(lambda x: x**2, X, backend=dif.FiniteDifferences(workers=mapping),
                          sparsity=np.eye(3))  # fmt: skip
    np.testing.assert_allclose(sparse.toarray(), np.diag(2 * X), rtol=1e-8)
    assert mapping.count > 0


def test_second_derivatives_and_prepared_calls():
    mapping = Mapping()
    backend = dif.FiniteDifferences(workers=mapping)
    expected = dif.hessian(rosen, X, backend="numpy")
    np.testing.assert_allclose(dif.hessian(rosen, X, backend=backend), expected, atol=1e-7)
    assert mapping.count == (4 * 3) ** 2
    prepared = dif.prepare_gradient(rosen, X, backend=backend)
    mapping.count = 0
    np.testing.assert_allclose(prepared(X + 1), rosen_der(X + 1), rtol=1e-7)
    assert mapping.count == 6


def test_threads():
    with ThreadPoolExecutor(2) as pool:
        backend = dif.FiniteDifferences("forward", workers=pool)
        assert backend == dif.FiniteDifferences("forward", workers=pool)
        assert hash(backend) != hash(dif.FiniteDifferences("forward"))
        problem = dif.objective(rosen, X, backend=backend)
        found = minimize(problem.fun, problem.x0, jac=problem.jac, method="L-BFGS-B")
    np.testing.assert_allclose(found.x, np.ones(3), atol=1e-3)


def test_problems_are_sent_without_their_workers():
    mapping = Mapping()
    mapping.lock = get_context("spawn").Lock()  # what cannot be pickled
    backend = dif.FiniteDifferences(workers=mapping)
    problem = dif.objective(lambda p, c: c * (p["a"] ** 2).sum(), {"a": X}, 2.0, backend=backend)
    np.testing.assert_allclose(problem.jac(X), 4 * X, rtol=1e-8)
    assert mapping.count == 6
    fit = dif.residuals(lambda p, c: c * p, X, 2.0, backend=backend)
    np.testing.assert_allclose(fit.jac(X), 2 * np.eye(3), atol=1e-8)


def test_errors_of_the_function_come_back():
    def f(x):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        dif.gradient(f, X, backend=dif.FiniteDifferences(workers=Mapping()))


def test_results_are_checked():
    with pytest.raises(dif.NotDifferentiableError, match="did you forget to return the result"):
        dif.jacobian(lambda x: None, X, backend=dif.FiniteDifferences(workers=Mapping()))


def test_maps_that_return_futures():
    with ThreadPoolExecutor(1) as pool:
        futures = lambda function, items: [pool.submit(function, item) for item in items]
        with pytest.raises(dif.InvalidArgumentError) as caught:
            dif.gradient(rosen, X, backend=dif.FiniteDifferences(workers=futures))
    assert str(caught.value) == (
        "`workers` must have a map that returns results, got futures; of a dask client, pass "
        "`client.get_executor()`."
    )


@pytest.mark.parametrize("workers", [0, -2, True, 1.5, "two"])
def test_what_is_no_worker(workers):
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.FiniteDifferences(workers=workers)
    assert str(caught.value) == (
        "`workers` must be a number of processes (-1 for one on each processor), a function like "
        f"`map`, or an executor or pool that has one, got {workers!r}."
    )


def test_one_worker_is_this_process():
    f = Counted(rosen)
    dif.gradient(f, X, backend=dif.FiniteDifferences(workers=1))
    assert f.count == 6


@pytest.mark.slow
def test_processes():
    """A number of them, an executor, and a pool; the functions are defined in here."""
    factor = 2.0
    f = lambda p, c: factor * np.sum(p["a"] ** 2) * c
    given = {"a": X}
    context = get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor, context.Pool(2) as pool:
        for workers in (2, executor, pool, pool.map):
            backend = dif.FiniteDifferences(workers=workers)
            for _ in range(2):
                found = dif.gradient(f, given, dif.Const(3.0), backend=backend)
                np.testing.assert_allclose(found["a"], 12 * X, rtol=1e-8)
    assert pickle.loads(pickle.dumps(dif.FiniteDifferences(workers=2))).workers == 2
