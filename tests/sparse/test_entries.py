"""Entries, each computed from the terms of it that are not zero."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from chains import FUNCTIONS, Chain, N, X, reaction

import diffface as dif
from diffface.backends.autograd.recorder import lowering
from diffface.backends.recording import workspace
from diffface.backends.recording.entries import rewriting

BACKENDS = ["autograd", "torch"]


@pytest.fixture(autouse=True)
def _wherever_it_is_possible(monkeypatch):
    """Even where it does not pay."""
    monkeypatch.setattr(rewriting, "_FEW", 0)
    monkeypatch.setattr(rewriting, "_WORTH", np.inf)
    monkeypatch.setattr(lowering, "_LARGE", 0)


@pytest.fixture
def spoiled(monkeypatch):
    """Compute all in memory that is kept, and overwrite it when it is given back."""
    give_back = workspace.give_back

    def spoil(memory):
        memory.bytes[:] = 0xFF
        give_back(memory)

    monkeypatch.setattr(workspace, "_SMALL", 1)
    monkeypatch.setattr(workspace, "give_back", spoil)


def along_all_directions(prepare, f, x, backend):
    """The program without what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewriting, "_FEW", np.inf)
        return prepare(f, x, backend=backend, sparsity="trace")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("f", "prepare", "derive"), FUNCTIONS)
def test_terms_that_are_zero_are_not_computed(f, prepare, derive, backend):
    found = prepare(f, X, backend=backend, sparsity="trace")
    expected = {"torch": ("replay", "aten.scatter.src"), "autograd": ("program", "placed_(")}
    strategy, written = expected[backend]
    assert found.strategy == strategy
    graph = found.native.source if backend == "autograd" else str(found.native.module.graph)
    assert written in graph
    np.testing.assert_allclose(
        found(X + 1).toarray(), derive(f, X + 1, backend=backend), rtol=1e-13, atol=1e-13
    )


@pytest.mark.slow
@pytest.mark.parametrize(("f", "prepare", "derive"), FUNCTIONS[2:4])
def test_terms_that_are_zero_are_not_compiled(f, prepare, derive):
    found = prepare(f, X, backend=dif.Torch(compile=True), sparsity="trace")
    assert found.strategy == "inductor"
    assert "index_put" in str(found.native.module.graph)
    np.testing.assert_allclose(
        found(X + 1).toarray(), derive(f, X + 1, backend="torch"), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_tensors_like_earlier_ones(compiled):
    """Their call is the shortest, and must not miss what the program returns besides."""
    import torch

    x = torch.from_numpy(X)
    found = dif.prepare_jacobian(reaction, x, backend=dif.Torch(compiled), sparsity="trace")
    for k in (0, 0, 1, np.inf, 2):
        changed = x + 1
        changed[5] += k
        expected = dif.jacobian(reaction, changed, backend="torch", sparsity=found.sparsity)
        for _ in range(2):
            torch.testing.assert_close(found.data(changed), expected.values(), equal_nan=True)
            torch.testing.assert_close(found(changed).values(), expected.values(), equal_nan=True)


@pytest.mark.parametrize("special", [0.0, np.inf, -np.inf, np.nan, 1e200, 1e-310])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("f", "prepare", "derive"), FUNCTIONS)
def test_infinities_go_where_a_product_with_zero_takes_them(f, prepare, derive, backend, special):
    found = prepare(f, X, backend=backend, sparsity="trace")
    x = X.copy()
    x[[0, 400, N - 1]] = special
    x[600:602] = -special
    with np.errstate(all="ignore"):
        # By the library's own operations, along all seeds.
        expected = derive(f, x, backend=backend, sparsity=found.sparsity)
        np.testing.assert_array_equal(found(x).data, expected.data)


MASK = (np.arange(N) % 3 > 0).astype(float)


def masked(x):
    xp = dif.namespace(x)
    y = xp.exp(x) * xp.concat([x[1:], x[:1]])
    return (y * xp.asarray(MASK)) * 1e200 * xp.asarray(MASK) + x


def times_zero(x):
    square = x * x * 1e200
    return dif.namespace(x).concat([square[:1] * 0 + x[:1], x[1:] ** 2 * x[:-1]])


def by_one_number(x):
    return x * x[3]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("f", [masked, times_zero, by_one_number])
def test_what_overflows_before_it_meets_a_zero(f, backend):
    found = dif.prepare_jacobian(f, X, backend=backend, sparsity="trace")
    other = along_all_directions(dif.prepare_jacobian, f, X, backend)
    for k in (0, 1, 3, 5, N - 1):
        for special in (1e150, 800.0, -800.0, np.inf, np.nan):
            x = X.copy()
            x[k] = special
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(found.data(x), other.data(x))


@pytest.mark.usefixtures("spoiled")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("f", "prepare", "derive"), FUNCTIONS)
def test_results_are_not_overwritten(f, prepare, derive, backend):
    found = prepare(f, X, backend=backend, sparsity="trace")
    points = [X, X + 1, np.where(X > 1, np.inf, X), X + 2]
    with np.errstate(all="ignore"):
        results = [found.data(x) for x in points]
        for x, result in zip(points, results, strict=True):
            expected = derive(f, x, backend=backend, sparsity=found.sparsity)
            np.testing.assert_array_equal(result, found.data(x))
            if np.isfinite(x).all():
                np.testing.assert_allclose(found(x).data, expected.data, rtol=1e-13, atol=1e-13)
        results[0][:] = 0
        np.testing.assert_array_equal(found.data(X + 1), results[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_threads(backend):
    found = dif.prepare_jacobian(reaction, X, backend=backend, sparsity="trace")
    points = [X + k / 8 for k in range(8)]
    points[3][5] = np.inf

    def entries(x):
        with np.errstate(all="ignore"):
            return found.data(x)

    alone = [entries(x) for x in points]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            for one, many in zip(alone, pool.map(entries, points), strict=True):
                np.testing.assert_array_equal(many, one)


def test_no_warning_comes_of_watching_for_infinities():
    f = lambda x: x[1:] * x[:-1]
    found = dif.prepare_jacobian(f, X, backend="autograd", sparsity="trace")
    assert "watched_(" in found.native.source
    x = X.copy()
    x[5:8] = 1e308
    with np.errstate(all="raise"):
        assert np.isfinite(found.data(x)).all()


def test_derivatives_of_entries_are_those_of_all_seeds():
    import torch

    found = dif.prepare_jacobian(reaction, torch.from_numpy(X), sparsity="trace")
    x = torch.from_numpy(X + 0.1).requires_grad_()
    weights = torch.arange(found.sparsity.nnz, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(found.data(x) @ weights, x)
    step = np.zeros(N)
    step[N // 2 + 3] = 1e-6
    weigh = lambda y: found.data(torch.from_numpy(y)) @ weights
    difference = (weigh(X + 0.1 + step) - weigh(X + 0.1 - step)) / 2e-6
    np.testing.assert_allclose(gradient[N // 2 + 3], difference, rtol=1e-5)


def agree(seeds, backend):
    for seed in seeds:
        f, random = Chain(seed), np.random.default_rng(seed)
        x = random.uniform(-1, 1, f.n)
        found = dif.prepare_jacobian(f, x, backend=backend, sparsity="trace")
        other = along_all_directions(dif.prepare_jacobian, f, x, backend)
        assert found.strategy == other.strategy
        dense = dif.jacobian(f, x, backend=backend)
        np.testing.assert_allclose(
            found(x).toarray(), dense, rtol=1e-12, atol=1e-12 * abs(dense).max(), err_msg=f"{seed}"
        )
        for special in (np.inf, np.nan, 0.0, 1e200, -1e200, 1e-310):
            x[seed % f.n] = special
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(found.data(x), other.data(x), err_msg=f"{seed}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_some_random_chains(backend):
    agree(range(5), backend)


@pytest.mark.slow
@pytest.mark.usefixtures("spoiled")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hundred_random_chains(backend):
    agree(range(5, 105), backend)
