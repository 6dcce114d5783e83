"""Time of a gradient over the time of its function, both prepared in the same framework.

Run as ``python -m benchmarks.derivative_over_function [d] [K] [points]``. The problem is ADBench's
GMM; GradBench's nightly of 2026-03-14 has, as medians over its workloads: hand-written C++ 2.22,
jax 3.23, pytorch 3.47, TensorFlow 1.95.
"""

import sys

import diffface as dif
from benchmarks.cells import one_thread
from diffface.benchmark import problems
from diffface.testing import benchmark


def main() -> None:
    d, k, n = map(int, sys.argv[1:4] or (10, 5, 1000))
    with one_thread():
        report = benchmark(
            problems.GMM, sizes=[(n, d, k)], backends=["jax", dif.Torch(compile=True), "autograd"]
        )
    print(f"GMM, d = {d}, K = {k}, {n} points: gradient, function (us), ratio")
    for row in report.rows:
        times = f"{row.time * 1e6:10.1f} {row.function * 1e6:10.1f}"
        print(f"{row.backend:20} {times} {row.over_function:7.2f}")


if __name__ == "__main__":
    main()
