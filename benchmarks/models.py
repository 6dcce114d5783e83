"""A step of training, prepared, beside the framework's own; ratios of pairs.

    python -m benchmarks.models [name ...]

A network 64-128-128-10 with 64 samples, and a block of a transformer (8 x 32 x 64, 4 heads, no
dropout), modules of PyTorch; and the network as one of equinox and as a dict. A step is a loss and
its gradient. A ratio is the median over rounds of ours by theirs, one right after the other.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch import nn

import diffface as dif
from benchmarks.points import Pair, ratio

RNG = np.random.default_rng(0)
SAMPLES = RNG.normal(size=(64, 64)).astype(np.float32)
LABELS = RNG.integers(10, size=64)
SEQUENCES = RNG.normal(size=(8, 32, 64)).astype(np.float32)


def classification(model: Any, x: Any, labels: Any) -> Any:
    return nn.functional.cross_entropy(model(x), labels)


def energy(model: Any, x: Any) -> Any:
    return model(x).square().mean()


def network() -> tuple[Any, ...]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    return classification, model, torch.from_numpy(SAMPLES), torch.from_numpy(LABELS)


def block() -> tuple[Any, ...]:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True)
    return energy, model, torch.from_numpy(SEQUENCES)


def torch_pair(made: tuple[Any, ...], backend: Any, compiled: bool = False) -> Pair:
    """Ours, and `backward()`: of the loss as it is, or by `torch.compile`."""
    f, model, *data = made
    step = dif.prepare_value_and_gradient(f, model, *map(dif.Const, data), backend=backend)
    loss: Any = torch.compile(f) if compiled else f

    def theirs() -> None:
        for p in model.parameters():
            p.grad = None
        loss(model, *data).backward()

    def ours() -> Any:
        with torch.no_grad():  # nothing is asked of the gradient but its values
            return step(model, *data)

    return ours, theirs


COMPILED = dif.Torch(compile=True)


def equinox_pair() -> Pair:
    model = eqx.nn.MLP(64, 10, 128, 2, key=jax.random.key(0))

    def loss(model: Any, x: Any, labels: Any) -> Any:
        logits = jax.vmap(model)(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    data = jnp.asarray(SAMPLES), jnp.asarray(LABELS)
    step = dif.prepare_value_and_gradient(loss, model, *map(dif.Const, data))
    hand = eqx.filter_jit(eqx.filter_value_and_grad(loss))
    block = jax.block_until_ready
    return lambda: block(step(model, *data)), lambda: block(hand(model, *data))


def dict_pair() -> Pair:
    keys = jax.random.split(jax.random.key(0), 3)
    sizes = zip(keys, (64, 128, 128), (128, 128, 10), strict=True)
    p = [{"w": jax.random.normal(k, (m, n)) / m**0.5, "b": jnp.zeros(n)} for k, m, n in sizes]

    def loss(p: Any, x: Any, labels: Any) -> Any:
        for layer in p[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        logits = x @ p[-1]["w"] + p[-1]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    data = jnp.asarray(SAMPLES), jnp.asarray(LABELS)
    step = dif.prepare_value_and_gradient(loss, p, *map(dif.Const, data))
    hand = jax.jit(jax.value_and_grad(loss))
    block = jax.block_until_ready
    return lambda: block(step(p, *data)), lambda: block(hand(p, *data))


# With the ratio to stay under.
CONTESTANTS: dict[str, tuple[Callable[[], Pair], float]] = {
    "network torch": (lambda: torch_pair(network(), "torch"), 0.8),
    "network compiled": (lambda: torch_pair(network(), COMPILED), 0.5),
    "network torch.compile": (lambda: torch_pair(network(), COMPILED, compiled=True), 1.0),
    "block torch": (lambda: torch_pair(block(), "torch"), 0.8),
    "block compiled": (lambda: torch_pair(block(), COMPILED), 0.5),
    "block torch.compile": (lambda: torch_pair(block(), COMPILED, compiled=True), 1.0),
    "network jax": (dict_pair, 1.05),
    "network equinox": (equinox_pair, 1.05),
}


def preparation() -> None:
    """How long the block takes to prepare compiled, by the first call of `torch.compile`."""
    start = time.perf_counter()
    f, model, x = block()
    torch.compile(f)(model, x).backward()
    theirs = time.perf_counter() - start
    torch.compiler.reset()
    start = time.perf_counter()
    f, model, x = block()
    dif.prepare_value_and_gradient(f, model, dif.Const(x), backend=COMPILED)(model, x)
    ours = time.perf_counter() - start
    print(f"{'preparation':25} {ours:9.1f} s, {ours / theirs:.3f} of torch.compile, target 1.3")


def main() -> None:
    """Each in a process of its own: the threads of one library slow another one's down."""
    for name in sys.argv[1:] or [*CONTESTANTS, "preparation"]:
        if not sys.argv[1:]:
            command = [sys.executable, "-m", "benchmarks.models", name]
            subprocess.run(command, check=True)  # noqa: S603 - this very script
        elif name == "preparation":
            preparation()
        else:
            pair, target = CONTESTANTS[name]
            found, micro = ratio(*pair())
            print(f"{name:25} {micro:9.0f} us, {found:.3f} of theirs, target {target}")


if __name__ == "__main__":
    main()
