"""Time of a gradient over the time of its function, both prepared in the same framework.

Run as ``python -m benchmarks.derivative_over_function [d] [K] [points]``. The problem is ADBench's
GMM; GradBench's nightly of 2026-03-14 has, as medians over its workloads: hand-written C++ 2.22,
jax 3.23, pytorch 3.47, TensorFlow 1.95.
"""

import sys
from collections.abc import Callable
from typing import Any

import diffface as dif
from benchmarks.cells import gmm, one_thread, prepared_gmm
from benchmarks.pairs import pair


def jax_function(x: Any, data: Any, f: Callable[..., Any]) -> Callable[[], Any]:
    import jax

    jitted = jax.jit(f, static_argnums=(5,))
    return lambda: jitted(*x, *data).block_until_ready()


def torch_function(x: Any, data: Any, f: Callable[..., Any]) -> Callable[[], Any]:
    from diffface.backends._torch_graph._inductor import inductor

    points, gamma, m = data
    compiled = inductor(lambda *a: (f(*a, gamma, m),), (*x, points))
    return lambda: compiled.run(*x, points)


def main() -> None:
    import jax
    import torch

    d, k, n = map(int, sys.argv[1:4] or (10, 5, 1000))
    print(f"GMM, d = {d}, K = {k}, {n} points: gradient, function (us), ratio")
    for name, backend, asarray, function in (
        ("jax", "jax", jax.numpy.asarray, jax_function),
        ("torch, compiled", dif.Torch(compile=True), torch.tensor, torch_function),
    ):
        with one_thread():
            x, data, f = gmm(n, asarray, d, k)
            gradient = prepared_gmm(x, data, f, backend)
            timing = pair(lambda: jax.block_until_ready(gradient()), function(x, data, f))  # noqa: B023
        print(f"{name:20} {timing.first:10.1f} {timing.second:10.1f} {timing.ratio:7.2f}")


if __name__ == "__main__":
    main()
