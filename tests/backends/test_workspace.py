"""Programs compute in memory that is kept from call to call, and no result lies in it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import diffface as dif
from diffface.backends.recording import workspace

N = 6000
BACKENDS = ["autograd", "torch"]


def spread(x: Any) -> Any:
    xp = dif.namespace(x)
    grid = xp.reshape(xp.sin(x) * 2.0, (2, -1))
    return xp.sum(xp.exp(grid[:, 1:] * grid[:, :-1])) + xp.sum(xp.matmul(grid.T, grid[:, 0]) ** 2)


def energy(x: Any) -> Any:
    return dif.namespace(x).sum((x[1:] - x[:-1]) ** 4)


def energy_hessian(x: Any) -> Any:
    """The diagonal and the lower neighbours, row by row."""
    apart = 12 * (x[1:] - x[:-1]) ** 2
    diagonal = np.append(apart, 0.0) + np.append(0.0, apart)
    return np.insert(diagonal, np.arange(1, len(x)), -apart)


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the workspace for every array, and overwrite it when it is given back."""
    give_back = workspace.give_back

    def spoil(memory: Any) -> None:
        memory.bytes[:] = 0xFF
        give_back(memory)

    monkeypatch.setattr(workspace, "_SMALL", 1)
    monkeypatch.setattr(workspace, "give_back", spoil)


@pytest.mark.usefixtures("spoiled")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operator", ["value_and_gradient", "hessian", "jacobian"])
def test_results_are_not_in_the_workspace(operator: str, backend: str) -> None:
    f = spread if operator != "jacobian" else lambda x: {"a": x * x, "b": x[None] * x[:, None]}
    x = np.linspace(0.1, 1.0, 8)
    prepared = getattr(dif, f"prepare_{operator}")(f, x, backend=backend)
    assert "borrow" in str(prepared.native.source)
    points = [x, x + 1, x - 1]
    found = [prepared(p) for p in points]
    for p, result in zip(points, found, strict=True):
        wanted = getattr(dif, operator)(f, p, backend=backend)
        pairs = zip(_leaves(result), _leaves(wanted), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return list(tree.values())
    return list(tree) if isinstance(tree, tuple) else [tree]


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_threads_call_one_sparse_hessian(backend: str) -> None:
    prepared = dif.prepare_hessian(energy, np.ones(N), backend=backend, sparsity="trace")
    start = threading.Barrier(8)

    def run(seed: int) -> Any:
        points = np.random.default_rng(seed).random((5, N))
        start.wait()
        return points, [prepared.data(x) for x in points]

    with ThreadPoolExecutor(8) as pool:
        for points, found in pool.map(run, range(8)):
            for x, data in zip(points, found, strict=True):
                np.testing.assert_allclose(data, energy_hessian(x), rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rule_that_calls_the_same_program_keeps_its_arguments_and_fails_once(
    backend: str,
) -> None:
    seen: list[Any] = []
    within: list[Any] = []
    fails = False

    def value(x: Any) -> Any:
        seen.append(x)
        if len(within) == 1:
            within.append(None)
            within[1] = made(x / 4 + 1)
        if fails:
            raise ValueError("once")
        return x**2

    square = dif.custom_rule(black_box=True)(value)
    square.pullback(lambda active, saved, dy: (2 * saved[1] * dy,), black_box=True)

    def f(x: Any) -> Any:
        xp, y = dif.namespace(x), x * 2.0
        return xp.sum(square(y) * y) + xp.sum(xp.exp(xp.sin(x)))

    def gradient(x: Any) -> Any:
        return 24 * x**2 + np.cos(x) * np.exp(np.sin(x))

    x = np.linspace(0.5, 1.0, N)
    made = dif.prepare_gradient(f, x, backend=backend)
    assert "borrow" in made.native.source
    seen.clear()
    within.append(None)
    np.testing.assert_allclose(made(x), gradient(x), rtol=1e-12)
    np.testing.assert_allclose(within[1], gradient(x / 2 + 1), rtol=1e-12)
    np.testing.assert_array_equal(seen[0], 2 * x)
    fails = True
    with pytest.raises(ValueError, match="once"):
        made(x)
    fails = False
    np.testing.assert_allclose(made(x + 1), gradient(x + 1), rtol=1e-12)
    np.testing.assert_array_equal(seen[0], 2 * x)


def test_tensors_that_are_watched_are_not_computed_in_it() -> None:
    f = lambda x: (dif.namespace(x).exp(x) * 2.0) ** 2
    x = torch.linspace(0.0, 1.0, N, dtype=torch.float64)
    prepared = dif.prepare_pushforward(f, x, backend="torch")
    run = prepared.native.run
    assert "borrow" in prepared.native.source
    both = torch.stack([x, x + 1])
    (found,) = torch.func.vmap(run)(both, both)
    torch.testing.assert_close(found, 8 * torch.exp(2 * both) * both)
    with torch.inference_mode():
        (inferred,) = run(x, x)
    torch.testing.assert_close(inferred, found[0])
    torch.testing.assert_close(run(x, x)[0], found[0])
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert run(torch.ones_like(x), torch.ones_like(x))[0].shape == x.shape
    torch.testing.assert_close(run(x, x)[0], found[0])


def test_parts_are_added_where_the_result_is() -> None:
    x = torch.linspace(0.0, 1.0, N, dtype=torch.float64)
    f = lambda x: torch.sum((x[1:] - x[:-1] ** 2) ** 2)
    prepared = dif.prepare_gradient(f, x, backend="torch")
    assert "borrow" in prepared.native.source
    assert "clone" not in prepared.native.source
    torch.testing.assert_close(prepared(x + 1), dif.gradient(f, x + 1, backend="torch"))


def test_negative_parts_are_subtracted() -> None:
    """Also of infinities, and of zeros, whose sign is kept."""
    x = torch.tensor([0.0, -0.0, 1.0, -2.0, torch.inf, 0.5, torch.nan], dtype=torch.float64)
    f = lambda x: torch.sum((x[1:] - x[:-1]) ** 4)
    prepared = dif.prepare_gradient(f, x, backend="torch")
    assert ".sub_(" in prepared.native.source
    for y in (x, -x, x[[0, 1, 0, 0, 2, 3, 5]]):
        wanted = torch.func.grad(f)(y)
        found = prepared(y)
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(torch.signbit(found[:4]), torch.signbit(wanted[:4]))
