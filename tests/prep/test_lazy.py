"""Preparations that specialise as they are called."""

from typing import Any

import numpy as np
import pytest
from helpers import EVERYWHERE, FIRST, STRATEGY, Counted, cube_sum, make, same, weighted

import diffface as dif

X = np.array([1.0, 2.0, 3.0])


@EVERYWHERE
def test_reprepare(backend: str) -> None:
    f = Counted(cube_sum)
    g = dif.prepare_gradient(f, X, backend=backend, on_mismatch="reprepare")
    for x in (X, X[:2], X.astype("f4"), np.ones((2, 2)), X[:2], X):
        result = g(x)
        same(result, 3 * x**2, 2e-2 if x.dtype == "f4" else FIRST[backend])
        assert result.dtype == x.dtype
    assert g(2.0) == pytest.approx(12.0)
    same(g(make("torch", X)), 3 * X**2, FIRST[backend])
    with pytest.raises(dif.NotDifferentiableError):
        g(np.arange(3))


@EVERYWHERE
def test_lazy(backend: str) -> None:
    f = Counted(cube_sum)
    g = dif.prepare_gradient(f, backend=backend)
    assert f.count == 0
    assert g.strategy == "lazy"
    assert g.native is None
    assert repr(dif.prepare_gradient(cube_sum)) == "<prepared gradient of cube_sum, lazy>"
    for x in (X, X[:2], np.float64(2.0), 3.0, X + 1):
        same(g(x), 3 * np.asarray(x) ** 2, FIRST[backend])
    assert g.strategy == STRATEGY[backend]


@EVERYWHERE
def test_lazy_with_constants(backend: str) -> None:
    g = dif.prepare_gradient(weighted, backend=backend)
    same(g(X, dif.Const(2.0)), 6 * X**2, FIRST[backend])
    same(g(X, dif.Const(5.0)), 15 * X**2, FIRST[backend])
    both = g(X, 2.0)  # not wrapped: active now
    same(both, (6 * X**2, np.array(np.sum(X**3))), 1e-7)
    same(g(X, dif.Const(3)), 9 * X**2, FIRST[backend])
    same(g(X, dif.Const(2.0)), 6 * X**2, FIRST[backend])
    first = dif.prepare_gradient(weighted, backend=backend, argnums=0)
    same(first(X, 2.0), 6 * X**2, FIRST[backend])
    same(first(X, 7.0), 21 * X**2, FIRST[backend])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_signatures_kept_are_the_last_used(backend: str) -> None:
    """16 of them; what was used last is dropped last."""
    f = Counted(cube_sum)
    g = dif.prepare_gradient(f, backend=backend)

    def fresh(n: int) -> bool:
        """Whether the call with n entries had to prepare."""
        before = f.count
        same(g(np.ones(n)), 3 * np.ones(n))
        return f.count > before

    assert all(fresh(n) for n in range(1, 17))
    assert not any(fresh(n) for n in range(16, 0, -1))  # all kept; 1 was used last
    assert fresh(17)  # drops 16, the one used longest ago
    assert not fresh(1)
    assert not fresh(15)
    assert fresh(16)
    for n in range(20, 37):
        g(np.ones(n))
    assert fresh(1)


@EVERYWHERE
@pytest.mark.parametrize("lazy", [True, False])
def test_batches_of_different_sizes(lazy: bool, backend: str) -> None:
    p = dif.prepare_hvp(cube_sum, *(() if lazy else (X,)), backend=backend, batched=True)
    for size in (3, 1, 2, 3, 0):
        v = np.arange(3.0 * size).reshape(size, 3)
        same(p(X, tangents=v), 6 * X * v, 1e-5)


@pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")
@EVERYWHERE
def test_a_function_that_calls_its_own_preparation(backend: str) -> None:
    def f(x: Any) -> Any:
        xp = dif.namespace(x)
        return xp.sum(x**3) if x.shape[0] == 1 else xp.sum(x) * float(g(X[1:2])[0])

    g = dif.prepare_gradient(f, backend=backend)
    same(g(X[:2]), 3 * X[1:2] ** 2 * np.ones(2), 10 * FIRST[backend])


def test_arrays_choose_the_backend_of_each_signature() -> None:
    g = dif.prepare_gradient(cube_sum)
    g(X)
    assert g.strategy == "stencil"
    g(make("torch", X))
    assert g.strategy == "replay"
    same(g(X[:2]), 3 * X[:2] ** 2, FIRST["numpy"])
    with dif.using("autograd"):
        in_use = dif.prepare_gradient(cube_sum)
        at_first_call = dif.prepare_gradient(cube_sum)
        at_first_call(X)
    in_use(X)
    at_first_call(X[:2])
    assert in_use.strategy == at_first_call.strategy == "program"
