"""linearize and vjp: one point, many directions, whatever the caller does to its arrays."""

from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, FIRST, KINDS, Counted, kind, make, plain, same

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
V = np.array([0.5, -1.0, 2.0])
W = np.array([[1.0, 0.0, 1.0], [2.0, -1.0, 0.5]])
EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)


def f(x: Any, c: Any) -> Any:
    """Jacobian ``diag(3 c x²)``."""
    return c * x * x * x


def jacobian(c: Any) -> Any:
    return np.diag(3 * c * X**2)


@EVERYWHERE
@pytest.mark.parametrize("of", KINDS)
def test_right(of: str, backend: str) -> None:
    x, c, j = make(of, X), dif.Const(make(of, V)), jacobian(V)
    y, push = dif.linearize(f, x, c, backend=backend)
    z, pull = dif.vjp(f, x, c, backend=backend)
    same((y, z), (V * X**3, V * X**3))
    for direction in (W[0], W[1]):
        v = make(of, direction)
        for _ in range(2):
            same(push(v), j @ direction, FIRST[backend] * 10)
            same(pull(v), j.T @ direction, FIRST[backend] * 10)
        assert kind(push(v)) == kind(pull(v)) == of
        assert push(v).dtype == pull(v).dtype == v.dtype


@EVERYWHERE
def test_batched(backend: str) -> None:
    _, push = dif.linearize(f, X, dif.Const(V), backend=backend)
    _, pull = dif.vjp(f, X, dif.Const(V), backend=backend)
    for size in (2, 1, 0):
        same(push(W[:size], batched=True), W[:size] @ jacobian(V).T, 1e-7)
        same(pull(W[:size], batched=True), W[:size] @ jacobian(V), 1e-7)
    same(pull(W, batched=True, chunk_size=1), W @ jacobian(V), 1e-7)
    same(push(W, batched=True, chunk_size=1), W @ jacobian(V).T, 1e-7)


@EVERYWHERE
@pytest.mark.parametrize("of", ["numpy", "torch"])
def test_the_caller_overwrites_everything(of: str, backend: str) -> None:
    x, c, k, v = (make(of, a) for a in (X, V, np.ones(3), W[0]))

    def g(x: Any, c: Any, *, k: Any) -> Any:
        return f(x, c) * k

    y, push = dif.linearize(g, x, dif.Const(c), kwargs={"k": k}, backend=backend)
    z, pull = dif.vjp(g, x, dif.Const(c), kwargs={"k": k}, backend=backend)
    first = push(v), pull(v)
    kept = [plain(a).copy() for a in first]
    for array in (x, c, k, y, z):
        array[:] = -7.0
    j = jacobian(V)
    same((push(v), pull(v)), (j @ W[0], j.T @ W[0]), 1e-7)
    v[:] = 5.0  # a direction, and a result, after the call
    same(first, tuple(kept))
    first[0][:] = 0.0
    first[1][:] = 0.0
    fresh = make(of, W[1])
    same((push(fresh), pull(fresh)), (j @ W[1], j.T @ W[1]), 1e-7)
    same((push(fresh), pull(fresh)), (j @ W[1], j.T @ W[1]), 1e-7)


@EVERYWHERE
@pytest.mark.parametrize("of", ["numpy", "torch"])
def test_trees_that_the_caller_overwrites(of: str, backend: str) -> None:
    p = {"a": make(of, X), "b": [make(of, 2.0), make(of, V)]}

    def g(p: Any) -> Any:
        return {"s": p["a"] * p["b"][0], "t": (p["b"][1] * p["a"],)}

    y, push = dif.linearize(g, p, backend=backend)
    z, pull = dif.vjp(g, p, backend=backend)
    dp = {"a": make(of, np.ones(3)), "b": [make(of, 1.0), make(of, X)]}
    p["a"][:] = 0.0
    p["b"][1][:] = 0.0
    p["b"].append("more")
    same(push(dp), {"s": 2.0 + X, "t": (X**2 + V,)}, 1e-7)
    dy = {"s": make(of, np.ones(3)), "t": (make(of, X),)}
    same(pull(dy), {"a": 2 + V * X, "b": [np.array(X.sum()), X * X]}, 1e-7)
    same(y, {"s": 2 * X, "t": (V * X,)})
    same(z, y)


@EVERYWHERE
def test_evaluations(backend: str) -> None:
    """f is evaluated once for the point, by backends that keep what they learnt."""
    counted = Counted(f)
    _, pull = dif.vjp(counted, X, dif.Const(V), backend=backend)
    once = counted.count
    for _ in range(5):
        pull(V)
    if backend in ("jax", "torch", "autograd"):
        assert (once, counted.count) == (1, 1)
    counted.count = 0
    _, push = dif.linearize(counted, X, dif.Const(V), backend=backend)
    once = counted.count
    for _ in range(5):
        push(V)
    if backend == "jax":
        assert (once, counted.count) == (1, 1)
    if backend == "numpy":
        assert (once, counted.count) == (1, 11)


@EVERYWHERE
@pytest.mark.parametrize("operator", ["linearize", "vjp"])
def test_aux_numbers_and_argnums(operator: str, backend: str) -> None:
    def g(t: Any, c: Any, name: Any) -> Any:
        return c * t**3, {"name": name, "c": c}

    y, apply, aux = getattr(dif, operator)(
        g, 2.0, 5.0, "n", argnums=0, has_aux=True, backend=backend
    )
    assert (y, aux) == (40.0, {"name": "n", "c": 5.0})
    assert type(y) is float
    result = apply(2.0)
    assert type(result) is float
    same(np.array(result), np.array(120.0), 1e-7)
    _, apply, _ = getattr(dif, operator)(
        g, 2.0, 5.0, "n", argnums=(1, 0), has_aux=True, backend=backend
    )
    if operator == "vjp":
        same(apply(1.0), (np.array(8.0), np.array(60.0)), 1e-7)
    else:
        same(np.array(apply((1.0, 1.0))), np.array(68.0), 1e-7)


@EVERYWHERE
def test_wrong_directions(backend: str) -> None:
    _, push = dif.linearize(f, X, dif.Const(V), backend=backend)
    _, pull = dif.vjp(f, X, dif.Const(V), backend=backend)
    with pytest.raises(dif.InvalidArgumentError) as caught:
        push(X[:2])
    assert str(caught.value) == (
        "`tangents` must have the shape of the active argument, (3,), got (2,)."
    )
    with pytest.raises(dif.InvalidArgumentError) as caught:
        pull(None)
    assert str(caught.value) == (
        "`cotangents` must be an array like the result of `f`, float64[3], got None."
    )
    with pytest.raises(TypeError) as caught_type:
        dif.linearize(f, X, dif.Const(V), backend=backend, out=X)  # type: ignore[call-arg]
    assert str(caught_type.value).startswith(
        "linearize() got an unexpected keyword argument `out`."
    )
    with pytest.raises(dif.NotDifferentiableError):
        dif.vjp(f, np.arange(3), dif.Const(V), backend=backend)


@EVERYWHERE
def test_threads_share_them(backend: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    _, push = dif.linearize(f, X, dif.Const(V), backend=backend)
    _, pull = dif.vjp(f, X, dif.Const(V), backend=backend)

    def work(seed: int) -> None:
        v = np.full(3, 1.0 + seed)
        for _ in range(10):
            same((push(v), pull(v)), (jacobian(V) @ v, jacobian(V).T @ v), 1e-7)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_empty_and_constant(backend: str) -> None:
    _, push = dif.linearize(lambda x: np.ones(2), X, backend=backend)
    _, pull = dif.vjp(lambda x: np.ones(2), X, backend=backend)
    same((push(V), pull(np.ones(2))), (np.zeros(2), np.zeros(3)))
    y, pull = dif.vjp(lambda x: x * 2.0, np.ones((0, 2)), backend=backend)
    same((y, pull(np.ones((0, 2)))), (np.ones((0, 2)), np.ones((0, 2))))
