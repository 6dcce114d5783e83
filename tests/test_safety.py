"""Prepared callables under threads, over many calls, and with memory that changes hands."""

import gc
import threading
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, FIRST, KINDS, cube_sum, make, plain, same

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)
LAZY = pytest.mark.parametrize("lazy", [False, True], ids=["fixed", "lazy"])


def quartic(x: Any, a: Any) -> Any:
    """Gradient ``4 a x³ + 2 x``; Hessian ``12 a x² + 2``; enough temporaries to mix up."""
    xp = dif.namespace(x)
    y = x * x
    return xp.sum(a * y * y) + xp.sum(y)


# Threads


@EVERYWHERE
@LAZY
@pytest.mark.parametrize("operator", ["gradient", "value_and_gradient", "hessian", "hvp"])
def test_eight_threads_with_different_arguments(operator: str, lazy: bool, backend: str) -> None:
    size = 200 if operator in ("gradient", "value_and_gradient") else 5
    size = 5 if backend in ("numpy", "complex-step") else size
    example = np.linspace(0.5, 1.5, size)
    examples = () if lazy else (example, dif.Const(1.0))
    prepared = getattr(dif, f"prepare_{operator}")(quartic, *examples, backend=backend)
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        x, a = np.random.default_rng(seed).uniform(0.5, 1.5, size), 1.0 + seed
        diagonal = 12 * a * x**2 + 2
        first = 4 * a * x**3 + 2 * x
        start.wait()
        for _ in range(15):
            seeds = {"tangents": x} if operator == "hvp" else {}
            result = prepared(x, dif.Const(a), **seeds)
            if operator == "hessian":
                same(result, np.diag(diagonal), 1e-5, atol=1e-4)
            elif operator == "hvp":
                same(result, diagonal * x, 1e-5)
            elif operator == "gradient":
                same(result, first, 1e-7)
            else:
                same(result, (np.sum(a * x**4 + x**2), first), 1e-7)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, seed) for seed in range(8)]:
            done.result()


@EVERYWHERE
def test_threads_with_different_signatures(backend: str) -> None:
    """More signatures than are kept, prepared and dropped all the time."""
    prepared = dif.prepare_gradient(cube_sum, backend=backend)
    sizes = range(1, 4) if backend in ("jax", "torch") else range(1, 25)

    def work(seed: int) -> None:
        for n in np.random.default_rng(seed).permutation(sizes):
            x = np.full(n, 1.0 + seed)
            same(prepared(x), 3 * x**2, FIRST[backend])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


@EVERYWHERE
def test_threads_with_aux_and_trees(backend: str) -> None:
    """What one call learns about f's results must not reach another."""

    def f(p: Any, name: Any) -> Any:
        xp = dif.namespace(p["x"])
        return xp.sum(p["x"] ** 3), {"name": name, "twice": 2 * p["x"], "list": [name, p["x"]]}

    prepared = dif.prepare_value_and_gradient(f, backend=backend, has_aux=True, argnums=0)

    def work(seed: int) -> None:
        x, name = np.full(3, 1.0 + seed), f"thread {seed % 3}"
        for _ in range(15):
            y, g, aux = prepared({"x": x}, name)
            same((y, g), (np.sum(x**3), {"x": 3 * x**2}), 1e-7)
            same(aux, {"name": name, "twice": 2 * x, "list": [name, x]})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


@EVERYWHERE
def test_threads_unprepared(backend: str) -> None:
    def work(seed: int) -> None:
        x = np.full(3, 1.0 + seed)
        for _ in range(5):
            same(dif.gradient(cube_sum, x, backend=backend), 3 * x**2, FIRST[backend])
            same(dif.hvp(cube_sum, x, tangents=x, backend=backend), 6 * x**2, 1e-5)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


@EVERYWHERE
def test_a_prepared_callable_inside_another_function(backend: str) -> None:
    """Re-entrant: f calls a prepared callable, even of the same backend."""
    inner = dif.prepare_gradient(cube_sum, X, backend=backend)

    def f(x: Any) -> Any:
        return dif.namespace(x).sum(x) * float(inner(X)[0])

    same(dif.gradient(f, X, backend=backend), np.full(3, 3.0), 1e-7)
    same(inner(X), 3 * X**2, FIRST[backend])


# Arrays that change hands


@EVERYWHERE
@pytest.mark.parametrize("of", ["numpy", "torch"])
@pytest.mark.parametrize(
    "operator",
    ["gradient", "hessian", "value_and_jacobian", "value_and_pushforward", "value_and_pullback"],
)
def test_earlier_results_stay(operator: str, of: str, backend: str) -> None:
    f = cube_sum if operator in ("gradient", "hessian") else (lambda x: x * 1.0)
    x = make(of, X)
    prepared = getattr(dif, f"prepare_{operator}")(f, x, backend=backend)
    seeds = {}
    if operator.endswith("pushforward"):
        seeds["tangents"] = x
    elif operator.endswith("pullback"):
        seeds["cotangents"] = x
    results = [prepared(x, **seeds) for _ in range(3)]
    copies = [[plain(p).copy() for p in _parts(r)] for r in results]
    x[:] = -5.0  # the caller overwrites its array
    later = prepared(x, **seeds)
    for part in _parts(later):
        part[...] = 99.0  # ... and a result
    for result, copied in zip(results, copies, strict=True):
        for part, kept in zip(_parts(result), copied, strict=True):
            assert np.array_equal(plain(part), kept)
    again = prepared(make(of, X), **({k: make(of, X) for k in seeds}))
    for part, kept in zip(_parts(again), copies[0], strict=True):
        same(part, kept)


def _parts(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


@EVERYWHERE
@LAZY
@pytest.mark.parametrize("of", KINDS)
def test_no_array_of_the_caller_is_kept_alive(of: str, lazy: bool, backend: str) -> None:

    def make_watched() -> Any:
        return make(of, X)

    x, c, v = make_watched(), make_watched(), make_watched()
    prepared = dif.prepare_hvp(quartic, *(() if lazy else (x, dif.Const(c))), backend=backend)
    result = prepared(x, dif.Const(c), tangents=v)
    references = [weakref.ref(a) for a in (x, c, v, result)]
    del x, c, v, result
    gc.collect()
    assert [r() is None for r in references] == [True] * 4
    same(
        prepared(make(of, X), dif.Const(make(of, X)), tangents=make(of, X)), 12 * X**4 + 2 * X, 1e-5
    )


@EVERYWHERE
def test_a_prepared_callable_is_freed(backend: str) -> None:
    class Marker:
        pass

    marker = Marker()

    def f(x: Any, m: Marker = marker) -> Any:
        return cube_sum(x)

    prepared = dif.prepare_gradient(f, X, backend=backend)
    prepared(X)
    reference = weakref.ref(marker)
    del prepared, f, marker
    if backend == "jax":
        import jax

        jax.clear_caches()  # JAX keeps functions in a global cache of its own
    gc.collect()
    assert reference() is None


@EVERYWHERE
@pytest.mark.parametrize("operator", ["gradient", "hvp"])
def test_memory_stays_flat(operator: str, backend: str) -> None:
    prepared = getattr(dif, f"prepare_{operator}")(quartic, X, dif.Const(2.0), backend=backend)
    seeds = {"tangents": X} if operator == "hvp" else {}
    calls = 2000 if backend in ("jax", "torch", "autograd") else 500

    def many(count: int) -> None:
        for i in range(count):
            prepared(X, 1.0 + i, **seeds)

    many(100)
    gc.collect()
    tracemalloc.start()
    try:
        many(50)
        before = tracemalloc.take_snapshot()
        many(calls)
        gc.collect()
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    grown = sum(s.size_diff for s in after.compare_to(before, "filename"))
    assert grown < 4 * calls  # bytes: less than half a pointer per call


@EVERYWHERE
def test_memory_of_unprepared_calls_stays_flat(backend: str) -> None:
    """A new function at every call: nothing may be cached for it."""

    def many(count: int) -> None:
        for i in range(count):
            dif.gradient(lambda x, i=i: cube_sum(x) * i, X, backend=backend)

    many(20)
    gc.collect()
    tracemalloc.start()
    try:
        many(10)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        many(100)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
