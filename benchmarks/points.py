"""Derivatives at many points, prepared, beside what an expert writes by hand; ratios of pairs.

Rosenbrock's gradient (n = 10) at 1,000 points, and the gradient of each sample of a batch of 128
by the parameters of a 32-64-64 network. A ratio is the median over rounds of ours by theirs, one
right after the other; below 1 we are faster.
"""

import statistics
import subprocess
import sys
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
    """Median ratio, and our median time in microseconds; each goes first in every other round."""
    calls = (ours, theirs)
    for _ in range(3):
        ours(), theirs()
    ratios, times = [], []
    for i in range(rounds):
        took = [0.0, 0.0]
        for which in (0, 1) if i % 2 else (1, 0):
            start = time.perf_counter()
            calls[which]()
            took[which] = time.perf_counter() - start
        ratios.append(took[0] / took[1])
        times.append(took[0])
    return statistics.median(ratios), 1e6 * statistics.median(times)


Pair = tuple[Call, Call]
AXES = (None, 0, 0)


def ours(backend: Any, f: Any, *args: Any, **options: Any) -> Call:
    g = dif.prepare_gradient(f, *args, backend=backend, **options)
    if backend == "jax":
        return lambda: jax.block_until_ready(g(*args))
    # JAX would look for its arrays among those of others, too, which takes as long as a short call.
    return lambda: g(*args)


def rosenbrock_jax() -> Pair:
    x, hand = jnp.asarray(X), jax.jit(jax.vmap(jax.grad(jax_rosenbrock)))
    return ours("jax", rosenbrock, x, in_axes=0), lambda: jax.block_until_ready(hand(x))


def rosenbrock_torch(backend: Any = "torch") -> Pair:
    x, hand = torch.from_numpy(X), torch.vmap(torch.func.grad(torch_rosenbrock))
    return ours(backend, rosenbrock, x, in_axes=0), lambda: hand(x)


def rosenbrock_compiled() -> Pair:
    return rosenbrock_torch(dif.Torch(compile=True))


def rosenbrock_autograd() -> Pair:
    one = dif.prepare_gradient(rosenbrock, X[0], backend="autograd")
    loop = lambda: np.stack([one(x) for x in X])
    return ours("autograd", rosenbrock, X, in_axes=0), loop


def network_jax() -> Pair:
    p, *data = jax.tree.map(jnp.asarray, (PARAMETERS, *DATA))
    hand = jax.jit(jax.vmap(jax.grad(jax_network), AXES))
    mine = ours("jax", network, p, *map(dif.Const, data), in_axes=AXES)
    return mine, lambda: jax.block_until_ready(hand(p, *data))


def network_torch() -> Pair:
    p, *data = jax.tree.map(torch.from_numpy, (PARAMETERS, *DATA))
    hand = torch.vmap(torch.func.grad(torch_network), AXES)
    mine = ours("torch", network, p, *map(dif.Const, data), in_axes=AXES)
    return mine, lambda: hand(p, *data)


def network_autograd() -> Pair:
    points = [(DATA[0][i], DATA[1][i, ...]) for i in range(len(DATA[0]))]
    one = dif.prepare_gradient(network, PARAMETERS, *map(dif.Const, points[0]), backend="autograd")
    mine = ours("autograd", network, PARAMETERS, *map(dif.Const, DATA), in_axes=AXES)
    return mine, lambda: [one(PARAMETERS, *point) for point in points]


# With the ratio to stay under, if there is one.
CONTESTANTS: dict[str, tuple[Callable[[], Pair], float | None]] = {
    "rosenbrock jax": (rosenbrock_jax, 1.15),
    "rosenbrock torch": (rosenbrock_torch, 0.1),
    "rosenbrock torch compiled": (rosenbrock_compiled, 0.03),
    "rosenbrock autograd": (rosenbrock_autograd, 0.25),
    "network jax": (network_jax, 1.1),
    "network torch": (network_torch, 0.6),
    "network autograd": (network_autograd, None),
}


def main() -> None:
    """Each in a process of its own: the threads of one library slow another one's down."""
    for name in sys.argv[1:] or CONTESTANTS:
        if not sys.argv[1:]:
            subprocess.run([sys.executable, "-m", "benchmarks.points", name], check=True)  # noqa: S603 - this very script
            continue
        jax.config.update("jax_enable_x64", True)
        pair, target = CONTESTANTS[name]
        found, micro = ratio(*pair())
        aim = "" if target is None else f", target {target}"
        print(f"{name:25} {micro:9.0f} us, {found:.3f} of by hand{aim}")


if __name__ == "__main__":
    main()
