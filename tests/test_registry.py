"""Which backends there are, and which one a call takes."""

import dataclasses
import importlib.metadata
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, KINDS, cube_sum, make, same, square_sum

import diffface as dif
from diffface.backends import _registry

X = np.array([1.0, 2.0, 3.0])


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(_registry, "_registered", dict(_registry._registered))
    monkeypatch.setattr(_registry, "_loaded", dict(_registry._loaded))


# backends()


def test_backends_lists_them_all() -> None:
    listed = {info.name: info for info in dif.backends()}
    assert tuple(listed)[:5] == BACKENDS
    for name in BACKENDS:
        info = listed[name]
        assert info.available
        assert info.problem == ""
        assert info.forward
        assert info.reverse == (name in ("jax", "torch", "autograd"))
        library = {"numpy": "numpy", "complex-step": "numpy"}.get(name, name)
        assert info.version == importlib.metadata.version(library)
        same(dif.gradient(cube_sum, X, backend=info.backend), 3 * X**2, 1e-7)


def test_backends_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "jax" else find(name, *a)
    )
    monkeypatch.setattr(_registry, "_loaded", {})
    info = next(info for info in dif.backends() if info.name == "jax")
    assert not info.available
    assert (info.backend, info.version, info.forward, info.reverse) == (None, "", False, False)
    assert "pip install 'diffface[jax]'" in info.problem


@pytest.mark.parametrize(
    ("name", "cls"),
    [("jax", "JAX"), ("torch", "Torch"), ("autograd", "Autograd"),
     ("numpy", "FiniteDifferences"), ("complex-step", "ComplexStep")],
)  # fmt: skip
def test_the_string_is_the_default_object(name: str, cls: str) -> None:
    backend = getattr(dif, cls)()
    assert dataclasses.is_dataclass(backend)
    assert {b.name: b.backend for b in dif.backends()}[name] == backend
    assert hash(backend) == hash(getattr(dif, cls)())
    same(dif.gradient(cube_sum, X, backend=backend), 3 * X**2, 1e-7)
    g = dif.prepare_gradient(cube_sum, X, backend=backend)
    same(g(2 * X), 12 * X**2, 1e-7)


def test_objects_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        dif.FiniteDifferences().step = 0.1  # type: ignore[misc]
    with pytest.raises(AttributeError, match="no attribute 'Jax'"):
        _ = dif.Jax  # type: ignore[attr-defined]


# Which backend a call takes


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


# Backends of third parties


class Other(Exception):
    pass


def test_register_backend() -> None:
    made = []

    def factory() -> Any:
        made.append(1)
        return dif.FiniteDifferences(scheme="forward")

    dif.register_backend("mine", factory)
    assert made == []  # made at first use, once
    for _ in range(2):
        same(dif.gradient(cube_sum, X, backend="mine"), 3 * X**2, 1e-5)
    assert made == [1]
    with dif.using("mine"):
        assert "scheme='forward'" in repr(dif.prepare_gradient(cube_sum, X))
    assert [b.backend for b in dif.backends() if b.name == "mine"] == [
        dif.FiniteDifferences(scheme="forward")
    ]
    with pytest.raises(dif.UnknownBackendError) as caught:
        dif.gradient(cube_sum, X, backend="mien")
    assert "Did you mean 'mine'?" in str(caught.value)
    assert "'mine'" in str(caught.value).split("Installed:")[1]
    dif.register_backend("mine", lambda: dif.SecondOrder("numpy", "autograd"))
    same(dif.hvp(cube_sum, X, tangents=X, backend="mine"), 6 * X**2, 1e-5)


def test_wrong_registrations() -> None:
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.register_backend("jax", dif.FiniteDifferences)
    assert str(caught.value) == (
        "`name` 'jax' is one of diffface's own backends; choose another name."
    )
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.register_backend(3, dif.FiniteDifferences)  # type: ignore[arg-type]
    assert str(caught.value) == "`name` must be a string, got int."
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.register_backend("mine", None)  # type: ignore[arg-type]
    assert str(caught.value) == "`factory` must be callable, got NoneType."
    dif.register_backend("mine", lambda: 3)  # type: ignore[arg-type, return-value]
    with pytest.raises(dif.UnknownBackendError) as unknown:
        dif.gradient(cube_sum, X, backend="mine")
    assert str(unknown.value) == (
        "The factory of backend 'mine' must return a backend object, got int."
    )


def test_a_factory_that_fails() -> None:
    error = Other("cannot")

    def factory() -> Any:
        raise error

    dif.register_backend("mine", factory)
    for _ in range(2):
        with pytest.raises(Other) as caught:
            dif.gradient(cube_sum, X, backend="mine")
        assert caught.value is error


class EntryPoint:
    """What importlib.metadata gives for an installed distribution."""

    name = "plugged"
    group = "diffface.backends"
    loaded = 0

    def load(self) -> Any:
        EntryPoint.loaded += 1
        return lambda: dif.FiniteDifferences(scheme="central4")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> type[EntryPoint]:
    found = importlib.metadata.entry_points

    def entry_points(**select: Any) -> Any:
        if select.get("group") != "diffface.backends":
            return found(**select)
        own = [EntryPoint()] if select.get("name", "plugged") == "plugged" else []
        return importlib.metadata.EntryPoints([*found(**select), *own])

    monkeypatch.setattr(_registry, "entry_points", entry_points)
    monkeypatch.setattr(EntryPoint, "loaded", 0)
    return EntryPoint


def test_entry_points(plugin: type[EntryPoint]) -> None:
    dif.gradient(cube_sum, X, backend="numpy")
    assert plugin.loaded == 0
    same(dif.gradient(cube_sum, X, backend="plugged"), 3 * X**2, 1e-9)
    dif.gradient(cube_sum, X, backend="plugged")
    assert plugin.loaded == 1
    assert "central4" in repr(dif.prepare_gradient(cube_sum, X, backend="plugged"))
    assert "plugged" in [b.name for b in dif.backends()]
    with pytest.raises(dif.UnknownBackendError) as caught:
        dif.gradient(cube_sum, X, backend="pluged")
    assert "Did you mean 'plugged'?" in str(caught.value)


def test_a_broken_plugin_does_not_break_the_others(
    plugin: type[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: EntryPoint) -> Any:
        raise ImportError("no such module")

    monkeypatch.setattr(plugin, "load", load)
    same(dif.gradient(cube_sum, X, backend="jax"), 3 * X**2)
    listed = {b.name: b for b in dif.backends()}
    assert listed["jax"].available
    assert not listed["plugged"].available
    assert "no such module" in listed["plugged"].problem
    with pytest.raises(dif.BackendNotAvailableError) as caught:
        dif.gradient(cube_sum, X, backend="plugged")
    assert str(caught.value) == (
        "Backend 'plugged' is installed but cannot be imported (no such module). Installed: "
        "'jax', 'torch', 'autograd', 'numpy', 'complex-step', 'plugged'."
    )
