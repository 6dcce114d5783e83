"""A hundred thousand prepared calls take no more memory than a few."""

import gc
import os
import shutil
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, EVERY_OPERATOR, NUMBER, STRATEGY, function, make

import diffface as dif

CALLS = 100_000
X = np.array([1.0, 2.0, 3.0])
# What the process holds, page for page: frameworks allocate where Python's own tracer sees nothing.
RESIDENT = Path("/proc/self/statm")
needs_resident = pytest.mark.skipif(not RESIDENT.exists(), reason="needs Linux's /proc")
# Less than this much per call is no growth: allocators keep some pages to themselves.
PER_CALL = 10


def square(x: Any) -> Any:
    return (x * x).sum()


def product(x: Any, y: Any) -> Any:
    return x * y


def growth(call: Any, calls: int = CALLS) -> int:
    """Bytes by which the process grows during ``calls``."""
    for _ in range(calls // 5):
        call()
    gc.collect()
    before = _resident()
    for _ in range(calls):
        call()
    gc.collect()
    return _resident() - before


def _resident() -> int:
    return int(RESIDENT.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@needs_resident
@pytest.mark.slow
@pytest.mark.parametrize("of", ["numpy", "own"])
@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_programs(backend: str, of: str) -> None:
    x = make(backend if of == "own" and backend != "autograd" else "numpy", X)
    g = dif.prepare_gradient(square, x, backend=backend)
    assert g.strategy == STRATEGY[backend]
    assert growth(lambda: g(x)) < PER_CALL * CALLS


@needs_resident
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="needs a C++ compiler")
def test_inductor() -> None:
    g = dif.prepare_gradient(square, X, backend=dif.Torch(compile=True))
    assert g.strategy == "inductor"
    assert growth(lambda: g(X)) < PER_CALL * CALLS


@needs_resident
@pytest.mark.slow
def test_results_written_into_an_array() -> None:
    out = np.empty(3)
    g = dif.prepare_gradient(square, X, backend="autograd")
    assert growth(lambda: g(X, out=out)) < PER_CALL * CALLS


@needs_resident
@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", ["numpy", "complex-step"])
def test_stencils(backend: str) -> None:
    calls = CALLS // 5  # of a function that costs next to nothing, still
    g = dif.prepare_derivative(product, 2.0, 3.0, argnums=0, backend=backend)
    assert g.strategy == "stencil"
    assert growth(lambda: g(2.0, 3.0), calls) < PER_CALL * calls


@needs_resident
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "autograd"])
def test_eager_calls(backend: str) -> None:
    calls = CALLS // 50
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dif.PreparationWarning)
        g = dif.prepare_gradient(lambda x: x[0] * x[0] if x[0] > 0 else x[1], X, backend=backend)
    assert g.strategy == "eager"
    # A page here and there is more of fewer calls.
    assert growth(lambda: g(X), calls) < 100 * calls


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_lazy_callables_forget_signatures(backend: str) -> None:
    g = dif.prepare_gradient(square, backend=backend)
    for size in range(1, 30):
        g(np.ones(size))
    assert len(g._known) == 16


@needs_resident
@pytest.mark.slow
def test_forgotten_programs_are_freed() -> None:
    """Of torch's and JAX's, those libraries keep parts in caches of their own."""
    g = dif.prepare_gradient(square, backend="autograd")
    sizes = iter(range(1, 1000))
    assert growth(lambda: g(np.ones(next(sizes))), 500) < 500 * 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "of"), [*((b, "numpy") for b in BACKENDS), ("jax", "jax"), ("torch", "torch")]
)
@EVERY_OPERATOR
def test_no_operator_keeps_arrays_alive(of: str, operator: str, backend: str) -> None:
    values: Any = 2.0 if operator in NUMBER else X
    x = make(of, values)
    prepared = getattr(dif, f"prepare_{operator}")(function(operator), x, backend=backend)
    seeds: dict[str, Any] = {}
    if operator.endswith(("hvp", "pushforward")):
        seeds["tangents"] = make(of, values)
    elif operator.endswith("pullback"):
        seeds["cotangents"] = make(of, values)
    result = prepared(x, **seeds)
    parts = result if isinstance(result, tuple) else (result,)
    watched = [weakref.ref(a) for a in (x, *seeds.values(), *parts) if not np.isscalar(a)]
    del x, seeds, result, parts
    gc.collect()
    assert [r() is None for r in watched] == [True] * len(watched)
