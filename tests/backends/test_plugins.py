"""Backends of third parties: registered, and by entry points."""

import importlib.metadata
from typing import Any

import numpy as np
import pytest
from helpers import cube_sum, same

import diffface as dif
from diffface.backends import registry as _registry

X = np.array([1.0, 2.0, 3.0])


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(_registry, "_registered", {})
    monkeypatch.setattr(_registry, "loaded", dict(_registry.loaded))


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
    assert [b.backend for b in dif.list_backends() if b.name == "mine"] == [
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
    assert "plugged" in [b.name for b in dif.list_backends()]
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
    listed = {b.name: b for b in dif.list_backends()}
    assert listed["jax"].available
    assert not listed["plugged"].available
    assert "no such module" in listed["plugged"].problem
    with pytest.raises(dif.BackendNotAvailableError) as caught:
        dif.gradient(cube_sum, X, backend="plugged")
    assert str(caught.value) == (
        "Backend 'plugged' is installed but cannot be imported (no such module). Installed: "
        "'jax', 'torch', 'autograd', 'numpy', 'complex-step', 'plugged'."
    )
