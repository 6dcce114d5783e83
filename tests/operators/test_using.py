"""Which backend a call takes that names none."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers import KINDS, make, same, square_sum

import diffface as dif

X = np.array([1.0, 2.0, 3.0])


class Seen:
    """A function that remembers what it was called with."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()

    def __call__(self, *args: Any) -> Any:
        xp = dif.namespace(*args)
        self.kinds.add(getattr(xp, "__name__", type(xp).__name__))
        return xp.sum(args[0] * args[0])


def taken(*args: Any, **options: Any) -> str:
    """The backend that a call took, by the namespace that f saw."""
    seen = Seen()
    dif.gradient(seen, *args, **options)
    (name,) = seen.kinds
    names = {"jax.numpy": "jax", "array_api_compat.torch": "torch", "numpy": "numpy"}
    return names.get(name, "autograd")


def test_the_first_active_array_decides() -> None:
    n, j, t = (make(kind, X) for kind in KINDS)
    assert taken(n) == "numpy"
    assert taken(2.0) == "numpy"
    assert taken(j) == "jax"
    assert taken(t) == "torch"
    assert taken(j, t) == "jax"
    assert taken(t, j) == "torch"
    assert taken(n, t) == "torch"  # the first that belongs to a framework
    assert taken(2.0, j) == "jax"
    assert taken(t, dif.Const(j)) == "torch"
    assert taken(t, j, argnums=0) == "torch"
    seen = Seen()
    dif.gradient(lambda p: seen(p["a"][0]), {"a": [t], "b": j})
    assert seen.kinds == {"array_api_compat.torch"}


def test_constants_do_not_decide() -> None:
    n, t = make("numpy", X), make("torch", X)
    g = dif.prepare_gradient(lambda c, x: dif.namespace(x).sum(x * x), dif.Const(t), n)
    assert "FiniteDifferences" in repr(g)


def test_a_name_wins_over_the_arrays() -> None:
    assert taken(make("torch", X), backend="jax") == "jax"
    assert taken(make("jax", X), backend="autograd") == "autograd"


def test_using() -> None:
    t = make("torch", X)
    with dif.using("autograd"):
        assert taken(X) == "autograd"
        assert taken(t) == "autograd"
        assert taken(t, backend="torch") == "torch"
        assert taken(X, backend=None) == "autograd"
        with dif.using(dif.JAX()):
            assert taken(X) == "jax"
        assert taken(X) == "autograd"
    assert taken(X) == "numpy"


def test_using_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), dif.using("autograd"), dif.using("jax"):
        raise KeyError
    assert taken(X) == "numpy"


def test_using_as_a_decorator_or_twice() -> None:
    @dif.using("autograd")
    def decorated() -> str:
        return taken(X)

    assert (decorated(), decorated(), taken(X)) == ("autograd", "autograd", "numpy")


def test_using_as_a_decorator_of_nested_calls_and_of_many_threads() -> None:
    decorator = dif.using("autograd")

    @decorator
    def nested(depth: int) -> list[str]:
        return [taken(X), *(nested(depth - 1) if depth else ())]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(nested, [3] * 40)) == [["autograd"] * 4] * 40
    assert taken(X) == "numpy"


def test_using_refuses_at_once() -> None:
    with pytest.raises(dif.UnknownBackendError):
        dif.using("autogard")
    assert repr(dif.using("numpy")) == f"using({dif.FiniteDifferences()!r})"


def test_using_belongs_to_its_thread() -> None:
    with dif.using("autograd"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(taken, X).result() == "numpy"

    def work(backend: str) -> bool:
        with dif.using(backend):
            return all(taken(X) == backend for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, ["jax", "autograd", "numpy", "torch"] * 2))


def test_using_belongs_to_its_task() -> None:
    import asyncio

    async def work(backend: str) -> bool:
        with dif.using(backend):
            await asyncio.sleep(0)
            before = taken(X)
            await asyncio.sleep(0)
            return before == taken(X) == backend

    async def main() -> list[bool]:
        return await asyncio.gather(*map(work, ["autograd", "numpy", "torch"]))

    assert asyncio.run(main()) == [True] * 3


def test_a_preparation_keeps_its_backend() -> None:
    with dif.using("autograd"):
        g = dif.prepare_gradient(square_sum, X)
        lazy = dif.prepare_gradient(square_sum)
        same(lazy(X), 2 * X)
    with dif.using("torch"):
        same(g(X + 1), 2 * X + 2)
        assert g.strategy == "program"
        same(lazy(X[:2]), 2 * X[:2])
        assert "Autograd" in repr(lazy)
