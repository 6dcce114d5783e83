"""What a preparation costs, and after how many calls it has paid for itself.

Run as ``python -m benchmarks.preparation``: the gradient of Rosenbrock's function, n = 100.
"""

from collections.abc import Callable

import diffface as dif
from benchmarks.cells import one_thread, point, rosenbrock
from benchmarks.pairs import pair
from diffface.backends.recording import names
from diffface.benchmark.row import COLUMNS, duration
from diffface.testing import benchmark

SIZE = 100
BACKENDS = ["jax", "torch", dif.Torch(compile=True), "autograd", "numpy", "complex-step"]


def recording(forget: bool) -> float:
    """How many gradients by ``autograd.grad`` a preparation takes as long as.

    With ``forget`` all source that is emitted is new, as that of a first preparation is.
    """
    import autograd

    x = point(SIZE)
    by_hand: Callable[..., object] = autograd.grad(rosenbrock)

    def prepare() -> object:
        if forget:
            names.forget()
        return dif.prepare_gradient(rosenbrock, x, backend="autograd")

    return pair(prepare, lambda: by_hand(x)).ratio


def main() -> None:
    with one_thread():
        report = benchmark(rosenbrock, point(SIZE), backends=BACKENDS)
    header = ("gradient, n = 100", "prepare", "prepared", "eager", "pays after")
    print("{:22} {:>10} {:>10} {:>10} {:>11}".format(*header))
    for row in report.rows:
        times = [duration(t) for t in (row.preparation, row.time, row.unprepared)]
        calls = COLUMNS["pays after"](row)
        print("{:22} {:>10} {:>10} {:>10} {:>11}".format(row.backend, *times, calls))
    jax = report.rows[0]
    print(f"jax: prepare / first call of jit = {jax.preparation / jax.by_hand_first:.2f}")
    print(f"autograd: prepare / gradient by hand = {recording(False):.1f}")
    print(f"    where all the source is new: {recording(True):.1f}")


if __name__ == "__main__":
    main()
