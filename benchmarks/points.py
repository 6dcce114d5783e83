"""Derivatives at many points, prepared, beside what an expert writes by hand; ratios of pairs.

Rosenbrock's gradient (n = 10) at 1,000 points, and the gradient of each sample of a batch of 128
by the parameters of a 32-64-64 network. A ratio is the median over rounds of ours by theirs, one
right after the other; below 1 we are faster.
"""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import diffface as dif

Call = Callable[[], Any]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(1000, 10))
SIZES = (32, 64, 64, 1)
PARAMETERS = [(RNG.normal(size=(m, n)) / m**0.5, np.zeros(n)) for m, n in pairwise(SIZES)]
DATA = RNG.normal(size=(128, 32)), RNG.normal(size=128)
# Ratios to stay under.
TARGETS = {
    "rosenbrock": {"jax": 1.15, "torch": 0.1, "torch compiled": 0.03, "autograd": 0.25},
    "network": {"jax": 1.1, "torch": 0.6},
}


def rosenbrock(x: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def network(parameters: Any, x: Any, t: Any) -> Any:
    xp = dif.namespace(x)
    for w, b in parameters[:-1]:
        x = xp.tanh(x @ w + b)
    w, b = parameters[-1]
    return xp.sum((x @ w + b - t) ** 2)


def torch_rosenbrock(x: Any) -> Any:
    return torch.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def torch_network(parameters: Any, x: Any, t: Any) -> Any:
    for w, b in parameters[:-1]:
        x = torch.tanh(x @ w + b)
    w, b = parameters[-1]
    return torch.sum((x @ w + b - t) ** 2)


def jax_rosenbrock(x: Any) -> Any:
    return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def jax_network(parameters: Any, x: Any, t: Any) -> Any:
    for w, b in parameters[:-1]:
        x = jnp.tanh(x @ w + b)
    w, b = parameters[-1]
    return jnp.sum((x @ w + b - t) ** 2)


def ratio(ours: Call, theirs: Call, rounds: int = 40) -> tuple[float, float]:
    """Median ratio, and our median time in microseconds."""
    for _ in range(3):
        ours(), theirs()
    ratios, times = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        ours()
        between = time.perf_counter()
        theirs()
        end = time.perf_counter()
        ratios.append((between - start) / (end - between))
        times.append(between - start)
    return statistics.median(ratios), 1e6 * statistics.median(times)


def contestants() -> dict[tuple[str, str], tuple[Call, Call]]:
    """Ours and theirs, by problem and backend."""
    found: dict[tuple[str, str], tuple[Call, Call]] = {}
    axes = (None, 0, 0)

    def ours(backend: Any, f: Any, *args: Any, **options: Any) -> Call:
        g = dif.prepare_gradient(f, *args, backend=backend, **options)
        return lambda: jax.block_until_ready(g(*args))

    xj, (pj, *dj) = jnp.asarray(X), jax.tree.map(jnp.asarray, (PARAMETERS, *DATA))
    hand = jax.jit(jax.vmap(jax.grad(jax_rosenbrock)))
    found["rosenbrock", "jax"] = (
        ours("jax", rosenbrock, xj, in_axes=0), lambda: jax.block_until_ready(hand(xj)),
    )  # fmt: skip
    each = jax.jit(jax.vmap(jax.grad(jax_network), axes))
    found["network", "jax"] = (
        ours("jax", network, pj, *map(dif.Const, dj), in_axes=axes),
        lambda: jax.block_until_ready(each(pj, *dj)),
    )
    xt, (pt, *dt) = torch.from_numpy(X), jax.tree.map(torch.from_numpy, (PARAMETERS, *DATA))
    by_hand = torch.vmap(torch.func.grad(torch_rosenbrock))
    for name, backend in (("torch", "torch"), ("torch compiled", dif.Torch(compile=True))):
        found["rosenbrock", name] = ours(backend, rosenbrock, xt, in_axes=0), lambda: by_hand(xt)
    samples = torch.vmap(torch.func.grad(torch_network), axes)
    found["network", "torch"] = (
        ours("torch", network, pt, *map(dif.Const, dt), in_axes=axes), lambda: samples(pt, *dt),
    )  # fmt: skip
    one = dif.prepare_gradient(rosenbrock, X[0], backend="autograd")
    found["rosenbrock", "autograd"] = (
        ours("autograd", rosenbrock, X, in_axes=0), lambda: np.stack([one(x) for x in X]),
    )  # fmt: skip
    args = PARAMETERS, *map(dif.Const, DATA)
    sample = dif.prepare_gradient(
        network, PARAMETERS, *(dif.Const(d[0, ...]) for d in DATA), backend="autograd"
    )
    found["network", "autograd"] = (
        ours("autograd", network, *args, in_axes=axes),
        lambda: [sample(PARAMETERS, DATA[0][i], DATA[1][i, ...]) for i in range(128)],
    )
    return found


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    for (problem, backend), (ours, theirs) in contestants().items():
        found, micro = ratio(ours, theirs)
        target = TARGETS[problem].get(backend)
        aim = "" if target is None else f", target {target}"
        print(f"{problem:10} {backend:15} {micro:9.0f} us, {found:.3f} of by hand{aim}")


if __name__ == "__main__":
    main()
