"""What preparing a function leaves behind in what the function can reach: nothing."""

import random
import sys
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch._functorch import eager_transforms

import diffface as dif
from diffface.backends.torch.pushforward import DUAL
from diffface.backends.torch.variables import FOLLOW, NESTED

X = np.array([1.0, 2.0, 3.0])
EACH = pytest.mark.parametrize("backend", ["jax", "torch", dif.Torch(compile=True)], ids=str)

in_global: Any = None


def xp_of(x: Any) -> Any:
    return jnp if isinstance(x, jax.Array) else torch


class Masked:
    """Builds a mask once, and logs what it has seen."""

    def __init__(self) -> None:
        self.mask: Any = None
        self.log: list[Any] = []
        self.named: dict[str, Any] = {}

    def __call__(self, x: Any) -> Any:
        xp = xp_of(x)
        if self.mask is None:
            self.mask = 2 * xp.ones(3)
        self.log.append(x * self.mask)
        self.named["inner"] = {"last": (self.log[-1],)}
        return xp.sum(self.log[-1] ** 2)


@lru_cache
def steps(xp: Any) -> Any:
    return xp.arange(3) * 1.0


def cached(x: Any) -> Any:
    return xp_of(x).sum(x * steps(xp_of(x)))


def cached_in_a_global(x: Any) -> Any:
    global in_global
    if in_global is None:
        in_global = 3 * xp_of(x).ones(3)
    return xp_of(x).sum(x * in_global)


def cached_in_a_closure() -> Any:
    kept: Any = None

    def f(x: Any) -> Any:
        nonlocal kept
        if kept is None:
            kept = 3 * xp_of(x).ones(3)
        return xp_of(x).sum(x * kept)

    return f


def usable(value: Any) -> bool:
    """Whether ``value`` has numbers that can be read."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
    return bool(np.isfinite(np.asarray(value)).all())


@EACH
def test_masks_and_logs(backend: Any) -> None:
    f = Masked()
    example = torch.tensor(X) if backend != "jax" else jnp.asarray(X)
    g = dif.prepare_gradient(f, example, backend=backend)
    assert g.strategy != "eager"
    assert f.mask is None or usable(f.mask)
    assert all(map(usable, f.log))
    assert all(usable(v["last"][0]) for v in f.named.values())
    np.testing.assert_allclose(np.asarray(g(2 * example)), 16 * X)
    assert float(f(example)) == 56


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("f", [cached, cached_in_a_global, cached_in_a_closure()])
def test_caches(f: Any, backend: Any) -> None:
    global in_global
    in_global = None
    steps.cache_clear()
    if f not in (cached, cached_in_a_global):
        f = cached_in_a_closure()
    example = torch.tensor(X, dtype=torch.float32) if backend != "jax" else jnp.asarray(X, "f4")
    g = dif.prepare_gradient(f, example, backend=backend)
    assert g.strategy != "eager"
    right = [0.0, 1.0, 2.0] if f is cached else [3.0] * 3
    np.testing.assert_allclose(np.asarray(g(example)), right)
    assert float(f(example)) == np.dot(right, X)  # what is cached is real
    assert float(f(2 * example)) == 2 * np.dot(right, X)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("functional", [False, True])
def test_running_averages(functional: bool, compiled: bool) -> None:
    norm = torch.nn.BatchNorm1d(3).double()
    mean, var = torch.zeros(3).double(), torch.ones(3).double()

    def f(x: Any) -> Any:
        rows = x * torch.arange(4.0, dtype=x.dtype)[:, None]
        if functional:
            rows = torch.nn.functional.batch_norm(rows, mean, var, training=True)
        else:
            rows = norm(rows)
        return (rows**3 * x).sum()

    x = torch.tensor(X)
    with pytest.warns(dif.PreparationWarning, match="writes to a tensor that it captured"):
        g = dif.prepare_gradient(f, x, backend=dif.Torch(compile=compiled))
    assert not norm.running_mean.any()
    assert norm.num_batches_tracked == 0
    assert not mean.any()
    assert (var == 1).all()
    g(x)
    assert mean.any() if functional else norm.num_batches_tracked == 1


def test_counters_in_tensors_are_put_back() -> None:
    calls = torch.zeros(())

    def f(x: Any) -> Any:
        calls.add_(1)
        return (x**2).sum()

    with pytest.warns(dif.PreparationWarning):
        dif.prepare_gradient(f, torch.tensor(X))
    assert calls == 0


GENERATORS: dict[str, Any] = {
    "default_rng": np.random.default_rng,
    "RandomState": np.random.RandomState,
    "Random": random.Random,
}


def draw(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return np.array([generator.random() for _ in range(3)])
    return generator.random(3) if hasattr(generator, "random") else generator.rand(3)


@EACH
@pytest.mark.parametrize("held", ["closure", "attribute", "list", "bound method", "partial"])
@pytest.mark.parametrize("kind", GENERATORS)
def test_draws_that_happen_to_agree(kind: str, held: str, backend: Any) -> None:
    """Nearly all draws keep every number, so that results agree by chance."""
    generator = GENERATORS[kind](0)
    holders = {"closure": generator, "list": [generator], "attribute": Masked()}
    holders["attribute"].generator = generator  # type: ignore[attr-defined]

    def f(x: Any) -> Any:
        found = {
            "closure": lambda: generator,
            "list": lambda: holders["list"][0],
            "attribute": lambda: holders["attribute"].generator,
        }.get(held, lambda: generator)()
        keep = draw(found) < 0.9999
        kept = jnp.asarray(keep) if isinstance(x, jax.Array) else torch.tensor(keep)
        return xp_of(x).sum(x * kept)

    g = f
    if held == "bound method":
        g = type("Holder", (), {"f": lambda self, x: f(x)})().f
    state = repr(generator.__getstate__())
    example = torch.tensor(X) if backend != "jax" else jnp.asarray(X, "f4")
    with pytest.warns(dif.PreparationWarning, match="it draws random numbers"):
        prepared = dif.prepare_gradient(g, example, backend=backend)
    assert prepared.strategy == "eager"
    assert repr(generator.__getstate__()) == state


@pytest.mark.parametrize("compiled", [False, True])
def test_draws_of_torch_are_made_afresh_and_not_by_the_preparation(compiled: bool) -> None:
    f = lambda x: (x * torch.rand(3, dtype=x.dtype)).sum()
    torch.manual_seed(3)
    expected = [torch.rand(3, dtype=torch.float64) for _ in range(2)]
    torch.manual_seed(3)
    g = dif.prepare_gradient(f, torch.tensor(X), backend=dif.Torch(compile=compiled))
    for right in expected:
        torch.testing.assert_close(g(torch.tensor(X)), right)


def test_a_generator_of_torch_of_ones_own() -> None:
    generator = torch.Generator().manual_seed(1)
    f = lambda x: (x * torch.rand(3, generator=generator, dtype=x.dtype)).sum()
    with pytest.warns(dif.PreparationWarning, match="from a generator of its own"):
        g = dif.prepare_gradient(f, torch.tensor(X))
    assert not torch.equal(g(torch.tensor(X)), g(torch.tensor(X)))


class Slotted:
    """Keeps what it makes in a slot."""

    __slots__ = ("__weakref__", "kept")

    def __init__(self, kept: Any) -> None:
        self.kept = kept

    def __call__(self, x: Any) -> Any:
        return xp_of(x).sum(x * self.kept)


@EACH
def test_slots_and_captured_arrays(backend: Any) -> None:
    example = torch.tensor(X) if backend != "jax" else jnp.asarray(X, "f4")
    g = dif.prepare_gradient(Slotted(2 * example), example, backend=backend)
    assert g.strategy != "eager"
    np.testing.assert_allclose(np.asarray(g(example)), 2 * X)


def test_an_interrupt_leaves_no_mode_of_torch() -> None:
    """Between the beginning of a mode and the block that ends it, too."""
    functions, flags = torch.overrides.BaseTorchFunctionMode, torch.utils._python_dispatch

    def interrupted(x: Any) -> Any:
        torch._C._push_on_torch_function_stack(functions())
        flags._is_in_torch_dispatch_mode = True
        torch._C._functorch._vmap_increment_nesting(2, "error")
        torch._C._set_multithreading_enabled(False)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dif.prepare_gradient(interrupted, torch.ones(3))
    assert torch._C._len_torch_function_stack() == 0
    assert torch._C._functorch.peek_interpreter_stack() is None
    assert torch._C._is_multithreading_enabled()
    assert not flags._is_in_torch_dispatch_mode
    assert torch.equal(dif.gradient(lambda x: (x**2).sum(), torch.ones(3)), 2 * torch.ones(3))


class Interrupt:
    """Raises KeyboardInterrupt where Python looks for signals, at the k-th such place."""

    def __init__(self, k: int) -> None:
        self.left = k

    def __call__(self, frame: Any, event: str, _: Any) -> None:
        if event in ("call", "c_return"):
            self.left -= 1
            if self.left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt


def _scopes() -> Any:
    return (
        torch.is_grad_enabled(), torch._C._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(), torch.autograd.forward_ad._current_level,
        torch._C._functorch.get_dynamic_layer_stack_depth(), eager_transforms.JVP_NESTING,
        torch.backends.cuda.flash_sdp_enabled(), NESTED.get(), FOLLOW.get(), DUAL.get(),
    )  # fmt: skip


@pytest.mark.parametrize("operator", ["gradient", "hvp", "hessian"])
def test_an_interrupt_of_an_unprepared_call_leaves_no_scope_open(operator: str) -> None:
    x = torch.tensor(X)
    seeds = {"tangents": x} if operator == "hvp" else {}
    call = lambda: getattr(dif, operator)(lambda x: (x**3).sum() * x.prod(), x, **seeds)
    expected, before = call(), _scopes()
    counting = Interrupt(10**9)
    sys.setprofile(counting)
    call()
    sys.setprofile(None)
    places = 10**9 - counting.left
    for k in range(1, places, max(1, places // 41)):
        try:
            sys.setprofile(Interrupt(k))
            call()
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(None)
        assert _scopes() == before, k
    torch.testing.assert_close(call(), expected)
