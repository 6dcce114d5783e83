"""What an unprepared call costs on top of the same call written by hand.

Run as ``python -m benchmarks.unprepared``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import diffface as dif
from benchmarks.cells import one_thread, rosenbrock, torch_gradient_by_hand
from benchmarks.pairs import pair

SIZE = 10


def jax_pair(x: np.ndarray) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import jax

    array = jax.numpy.asarray(x)
    hand = jax.grad(rosenbrock)
    return (
        lambda: dif.gradient(rosenbrock, array, backend="jax").block_until_ready(),
        lambda: hand(array).block_until_ready(),
    )


def autograd_pair(x: np.ndarray) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import autograd

    hand = autograd.grad(rosenbrock)
    return lambda: dif.gradient(rosenbrock, x, backend="autograd"), lambda: hand(x)


def torch_pair(x: np.ndarray) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import torch

    tensor = torch.tensor(x)
    return (
        lambda: dif.gradient(rosenbrock, tensor, backend="torch"),
        torch_gradient_by_hand(tensor),
    )


def main() -> None:
    x = np.random.default_rng(0).normal(size=SIZE)
    print(f"{'gradient, n = 10':20} {'diffface':>10} {'by hand':>10} {'ratio':>7} {'at most':>8}")
    for name, target, make in (
        ("jax", 1.15, jax_pair),
        ("autograd", 1.15, autograd_pair),
        ("torch", 1.25, torch_pair),
    ):
        with one_thread():
            timing = pair(*make(x), rounds=31)
        print(
            f"{name:20} {timing.first:10.1f} {timing.second:10.1f} {timing.ratio:7.3f} {target:8}"
        )


if __name__ == "__main__":
    main()
