"""Which backends there are, and which one a call takes."""

import dataclasses
import importlib.metadata

import numpy as np
import pytest
from helpers import BACKENDS, cube_sum, same

import diffface as dif
from diffface.backends import registry as _registry

X = np.array([1.0, 2.0, 3.0])


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(_registry, "_registered", dict(_registry._registered))
    monkeypatch.setattr(_registry, "loaded", dict(_registry.loaded))


def test_backends_lists_them_all() -> None:
    listed = {info.name: info for info in dif.list_backends()}
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
    monkeypatch.setattr(_registry, "loaded", {})
    info = next(info for info in dif.list_backends() if info.name == "jax")
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
    assert {b.name: b.backend for b in dif.list_backends()}[name] == backend
    assert hash(backend) == hash(getattr(dif, cls)())
    same(dif.gradient(cube_sum, X, backend=backend), 3 * X**2, 1e-7)
    g = dif.prepare_gradient(cube_sum, X, backend=backend)
    same(g(2 * X), 12 * X**2, 1e-7)


def test_objects_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        dif.FiniteDifferences().step = 0.1  # type: ignore[misc]
    with pytest.raises(AttributeError, match="no attribute 'Jax'"):
        _ = dif.Jax  # type: ignore[attr-defined]
