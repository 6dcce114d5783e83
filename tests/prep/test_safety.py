"""Prepared callables under threads, over many calls, and with memory that changes hands."""

import gc
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, KINDS, cube_sum, make, plain, quartic, same

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)
LAZY = pytest.mark.parametrize("lazy", [False, True], ids=["fixed", "lazy"])


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@EVERYWHERE
@pytest.mark.parametrize("operator", ["gradient", "hvp"])
def test_memory_stays_flat(operator: str, backend: str) -> None:
    prepared = getattr(dif, f"prepare_{operator}")(quartic, X, dif.Const(2.0), backend=backend)
    seeds = {"tangents": X} if operator == "hvp" else {}
    calls = 1000 if backend in ("jax", "torch", "autograd") else 150

    def many(count: int) -> None:
        for i in range(count):
            prepared(X, 1.0 + i, **seeds)

    many(50)
    gc.collect()
    tracemalloc.start()
    try:
        many(20)
        before = tracemalloc.take_snapshot()
        many(calls)
        gc.collect()
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    grown = sum(s.size_diff for s in after.compare_to(before, "filename"))
    assert grown < 2000 + 4 * calls  # bytes: less than half a pointer per call


@pytest.mark.slow
@pytest.mark.exhaustive
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
