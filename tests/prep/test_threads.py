"""Eight threads at once, prepared and not."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers import EVERYWHERE, FIRST, cube_sum, quartic, same

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
LAZY = pytest.mark.parametrize("lazy", [False, True], ids=["fixed", "lazy"])


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
