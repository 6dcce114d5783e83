"""What is compared: prepared calls, each beside the best code that one would write by hand.

A cell makes two callables that take nothing, do the same work and block until it is done. The code
by hand is what ``diffface.testing.benchmark`` compares with, too, but where a cell brings its own.
"""

import functools
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import diffface as dif
from diffface.backends.registry import Backend, resolve
from diffface.benchmark import problems
from diffface.benchmark.contestants import Contestant
from diffface.benchmark.task import Task

Pair = tuple[Callable[[], Any], Callable[[], Any]]
COMPILED = dif.Torch(compile=True)


@dataclass(frozen=True)
class Cell:
    """A prepared call and its reference.

    Attributes
    ----------
    name : str
        Backend, operator, arrays.
    size : int
        Number of inputs.
    target : float
        The ratio of the times, prepared over reference, that is asked for.
    make : callable
        ``make(size) -> (prepared, reference)``.
    x64 : bool
        Whether JAX's flag for 64 bits is set around it all.
    """

    name: str
    size: int
    target: float
    make: Callable[[int], Pair]
    x64: bool = True


def rosenbrock(x: Any) -> Any:
    """Chained Rosenbrock function; one source for every framework, as an expert would write it."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def point(size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=size)


@contextmanager
def one_thread(x64: bool = True):
    """torch on one thread, and JAX with 64 bits or without, while a pair is measured."""
    import jax
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with jax.enable_x64(x64):
            yield
    finally:
        torch.set_num_threads(threads)


def beside(operator: str, f: Callable[..., Any], args: Any, backend: str | Backend) -> Pair:
    """An operator prepared for arrays of the framework's own, and the same by hand."""
    found = Contestant(Task("", "", f, args, operator), "", resolve(backend), {})
    assert found.hand is not None, found.flags
    return found.prepared.run, found.hand.run


def on_rosenbrock(operator: str, backend: str | Backend) -> Callable[[int], Pair]:
    return lambda size: beside(operator, rosenbrock, (point(size),), backend)


def on_tree(backend: str) -> Callable[[int], Pair]:
    """The gradient of 100 arrays of 3 numbers in a dict."""

    def loss(tree: dict[str, Any]) -> Any:
        return functools.reduce(lambda a, b: a + b, [(leaf**2).sum() for leaf in tree.values()])

    def make(size: int) -> Pair:
        generator = np.random.default_rng(0)
        tree = {f"w{i}": generator.normal(size=3) for i in range(size)}
        return beside("gradient", loss, (tree,), backend)

    return make


def on_gmm(backend: str | Backend) -> Callable[[int], Pair]:
    return lambda size: beside("gradient", problems.GMM.f, gmm_args(size), backend)


def gmm_args(size: int, d: int = 10, k: int = 5) -> tuple[Any, ...]:
    """ADBench's GMM: parameters, and constants in ``Const``."""
    return problems.GMM.make_args((size, d, k), 0)


def jax_gradient_numpy(asarray: Callable[[Any], np.ndarray]) -> Callable[[int], Pair]:
    """NumPy in and out; `asarray` is how the code by hand takes its result."""

    def make(size: int) -> Pair:
        import jax

        x = point(size)
        jitted = jax.jit(jax.grad(rosenbrock))

        def hand() -> np.ndarray:
            with jax.enable_x64(True):
                return asarray(jitted(x))

        ours = dif.prepare_gradient(rosenbrock, x, backend="jax")
        return lambda: ours(x), hand

    return make


def gradient_by_hand(x: np.ndarray) -> np.ndarray:
    """Gradient of :func:`rosenbrock` in NumPy, written by hand."""
    head, tail = x[:-1], x[1:]
    error = tail - head * head
    out = np.empty_like(x)
    out[0] = 0.0
    np.multiply(error, 200.0, out=out[1:])
    out[:-1] -= 400.0 * head * error + 2.0 * (1.0 - head)
    return out


def beside_numpy(backend: str | Backend) -> Callable[[int], Pair]:
    """The gradient beside the one derived by hand."""

    def make(size: int) -> Pair:
        ours, _ = on_rosenbrock("gradient", backend)(size)
        x = point(size)
        return ours, lambda: gradient_by_hand(x)

    return make


CELLS = (
    Cell("jax gradient, jax arrays", 10, 1.15, on_rosenbrock("gradient", "jax")),
    Cell("jax gradient, jax arrays", 1000, 1.05, on_rosenbrock("gradient", "jax")),
    Cell("jax hvp, jax arrays", 10, 1.15, on_rosenbrock("hvp", "jax")),
    Cell("jax hvp, jax arrays", 1000, 1.05, on_rosenbrock("hvp", "jax")),
    Cell("jax gradient, NumPy arrays", 10, 1.2, jax_gradient_numpy(np.asarray), x64=False),
    Cell("jax gradient, NumPy arrays", 1000, 1.1, jax_gradient_numpy(np.asarray), x64=False),
    # What np.asarray makes of a jax array is read-only, and was never touched by this core.
    Cell("jax gradient, writable NumPy arrays", 1000, 1.1, jax_gradient_numpy(np.array), x64=False),
    Cell("torch gradient", 10, 0.5, on_rosenbrock("gradient", "torch")),
    Cell("torch gradient", 1000, 0.5, on_rosenbrock("gradient", "torch")),
    Cell("torch gradient, compiled", 10, 0.05, on_rosenbrock("gradient", COMPILED)),
    Cell("torch gradient, compiled", 1000, 0.06, on_rosenbrock("gradient", COMPILED)),
    Cell("torch hvp, compiled", 10, 0.005, on_rosenbrock("hvp", COMPILED)),
    Cell("torch hvp, compiled", 1000, 0.006, on_rosenbrock("hvp", COMPILED)),
    Cell("autograd gradient", 10, 0.045, on_rosenbrock("gradient", "autograd")),
    Cell("autograd gradient", 1000, 0.045, on_rosenbrock("gradient", "autograd")),
    Cell("autograd hvp", 10, 0.045, on_rosenbrock("hvp", "autograd")),
    Cell("autograd hvp", 1000, 0.045, on_rosenbrock("hvp", "autograd")),
    Cell("numpy gradient, central", 10, 0.45, on_rosenbrock("gradient", "numpy")),
    Cell("numpy gradient, central", 1000, 0.6, on_rosenbrock("gradient", "numpy")),
    Cell("jax gradient, 100 leaves", 100, 1.2, on_tree("jax")),
    Cell("torch gradient, 100 leaves", 100, 1.2, on_tree("torch")),
    Cell("jax GMM gradient", 1000, 1.1, on_gmm("jax")),
    Cell("torch GMM gradient", 1000, 1.1, on_gmm("torch")),
    Cell("torch GMM gradient, compiled", 1000, 1.1, on_gmm(COMPILED)),
    Cell("autograd GMM gradient", 1000, 1.1, on_gmm("autograd")),
    Cell("autograd gradient / NumPy by hand", 10, 2.5, beside_numpy("autograd")),
    Cell("torch compiled gradient / NumPy by hand", 10, 1.0, beside_numpy(COMPILED)),
)
