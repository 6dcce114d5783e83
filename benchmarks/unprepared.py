"""What an unprepared call costs on top of the same call written by hand.

Run as ``python -m benchmarks.unprepared``.
"""

from collections.abc import Callable
from typing import Any

import diffface as dif
from benchmarks.cells import beside, one_thread, point, rosenbrock
from benchmarks.pairs import pair
from diffface.backends.registry import resolve
from diffface.benchmark.task import own
from diffface.benchmark.timing import wait

SIZE = 10


def eager(name: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """An unprepared gradient, and the framework's own without compilation."""
    x = own(point(SIZE), resolve(name).first_order().arrays)
    return lambda: wait(dif.gradient(rosenbrock, x, backend=name)), by_hand(name, x)


def by_hand(name: str, x: Any) -> Callable[[], Any]:
    if name == "jax":
        import jax

        hand = jax.grad(rosenbrock)
        return lambda: hand(x).block_until_ready()
    return beside("gradient", rosenbrock, (x,), name)[1]


def main() -> None:
    print(f"{'gradient, n = 10':20} {'diffface':>10} {'by hand':>10} {'ratio':>7} {'at most':>8}")
    for name, target in (("jax", 1.15), ("autograd", 1.15), ("torch", 1.25)):
        with one_thread():
            timing = pair(*eager(name), rounds=31)
        print(
            f"{name:20} {timing.first:10.1f} {timing.second:10.1f} {timing.ratio:7.3f} {target:8}"
        )


if __name__ == "__main__":
    main()
