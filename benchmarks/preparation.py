"""What a preparation costs, and after how many calls it has paid for itself.

Run as ``python -m benchmarks.preparation``. Times are of a gradient of Rosenbrock's function, the
median of several preparations of functions that are new to the framework each time.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import diffface as dif
from benchmarks.cells import one_thread, rosenbrock
from benchmarks.pairs import pair

SIZE = 100


def fresh() -> Callable[[Any], Any]:
    """A new function object, which no framework has seen."""
    return lambda x: rosenbrock(x)


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    import jax

    x = np.random.default_rng(0).normal(size=SIZE)
    header = ("gradient, n = 100", "prepare", "prepared", "eager", "pays after")
    print("{:22} {:>10} {:>10} {:>10} {:>11}".format(*header))
    for name, backend in (
        ("jax", "jax"),
        ("torch", "torch"),
        ("torch, compiled", dif.Torch(compile=True)),
        ("autograd", "autograd"),
        ("numpy", "numpy"),
        ("complex-step", "complex-step"),
    ):
        with one_thread():
            dif.prepare_gradient(fresh(), x, backend=backend)
            cost = statistics.median(
                seconds(lambda: dif.prepare_gradient(fresh(), x, backend=backend))  # noqa: B023
                for _ in range(7)
            )
            prepared = dif.prepare_gradient(rosenbrock, x, backend=backend)
            timing = pair(
                lambda: prepared(x),  # noqa: B023
                lambda: dif.gradient(rosenbrock, x, backend=backend),  # noqa: B023
            )
        saved = (timing.second - timing.first) / 1e6
        calls = f"{cost / saved:.0f} calls" if saved > 0 else "never"
        print(
            f"{name:22} {cost * 1e3:7.1f} ms {timing.first:7.1f} us {timing.second:7.1f} us "
            f"{calls:>11}"
        )
    with one_thread():
        array = jax.numpy.asarray(x)
        first_call = statistics.median(
            seconds(lambda: jax.jit(jax.grad(fresh()))(array).block_until_ready()) for _ in range(7)
        )
        ours = statistics.median(
            seconds(lambda: dif.prepare_gradient(fresh(), array, backend="jax")) for _ in range(7)
        )
    print(f"jax: prepare / first call of jit = {ours / first_call:.2f}")


if __name__ == "__main__":
    main()
