"""What is compared: prepared calls, each beside the best code that one would write by hand.

A cell makes two callables that take nothing, do the same work and block until it is done.
"""

import functools
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import diffface as dif
from diffface.testing import problems

Pair = tuple[Callable[[], Any], Callable[[], Any]]


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
    """

    name: str
    size: int
    target: float
    make: Callable[[int], Pair]


def rosenbrock(x: Any) -> Any:
    """Chained Rosenbrock function; one source for every framework, as an expert would write it."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def _point(size: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=size), generator.normal(size=size)


@contextmanager
def one_thread():
    """torch on one thread, and JAX with 64 bits, while a pair is measured."""
    import jax
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with jax.enable_x64(True):
            yield
    finally:
        torch.set_num_threads(threads)


def jax_gradient(size: int) -> Pair:
    import jax

    x = jax.numpy.asarray(_point(size)[0])
    hand = jax.jit(jax.grad(rosenbrock))
    ours = dif.prepare_gradient(rosenbrock, x, backend="jax")
    return lambda: ours(x).block_until_ready(), lambda: hand(x).block_until_ready()


def jax_hvp(size: int) -> Pair:
    import jax

    x, v = map(jax.numpy.asarray, _point(size))
    hand = jax.jit(lambda x, v: jax.jvp(jax.grad(rosenbrock), (x,), (v,))[1])
    ours = dif.prepare_hvp(rosenbrock, x, backend="jax")
    return (
        lambda: ours(x, tangents=v).block_until_ready(),
        lambda: hand(x, v).block_until_ready(),
    )


def jax_gradient_numpy(size: int) -> Pair:
    import jax

    x = _point(size)[0]
    jitted = jax.jit(jax.grad(rosenbrock))

    def hand() -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(jitted(x))

    ours = dif.prepare_gradient(rosenbrock, x, backend="jax")
    return lambda: ours(x), hand


def torch_gradient_by_hand(x: Any) -> Callable[[], Any]:
    import torch

    def hand() -> Any:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(rosenbrock(leaf), leaf)[0]

    return hand


def torch_gradient(size: int, compile: bool = False) -> Pair:
    import torch

    x = torch.tensor(_point(size)[0])
    ours = dif.prepare_gradient(rosenbrock, x, backend=dif.Torch(compile=compile))
    return lambda: ours(x), torch_gradient_by_hand(x)


def torch_hvp(size: int, compile: bool = False) -> Pair:
    import torch

    x, v = map(torch.tensor, _point(size))
    ours = dif.prepare_hvp(rosenbrock, x, backend=dif.Torch(compile=compile))
    hand = torch.func.grad(rosenbrock)
    return lambda: ours(x, tangents=v), lambda: torch.func.jvp(hand, (x,), (v,))[1]


def autograd_gradient(size: int) -> Pair:
    import autograd

    x = _point(size)[0]
    ours = dif.prepare_gradient(rosenbrock, x, backend="autograd")
    hand = autograd.grad(rosenbrock)
    return lambda: ours(x), lambda: hand(x)


def autograd_hvp(size: int) -> Pair:
    import autograd

    x, v = _point(size)
    ours = dif.prepare_hvp(rosenbrock, x, backend="autograd")
    hand = autograd.hessian_vector_product(rosenbrock)
    return lambda: ours(x, tangents=v), lambda: hand(x, v)


def numpy_gradient(size: int) -> Pair:
    from scipy.optimize._numdiff import approx_derivative

    x = _point(size)[0]
    ours = dif.prepare_gradient(rosenbrock, x, backend="numpy")
    return lambda: ours(x), lambda: approx_derivative(rosenbrock, x, method="3-point")


def gradient_by_hand(x: np.ndarray) -> np.ndarray:
    """Gradient of :func:`rosenbrock` in NumPy, written by hand."""
    head, tail = x[:-1], x[1:]
    error = tail - head * head
    out = np.empty_like(x)
    out[0] = 0.0
    np.multiply(error, 200.0, out=out[1:])
    out[:-1] -= 400.0 * head * error + 2.0 * (1.0 - head)
    return out


def autograd_limit(size: int) -> Pair:
    x = _point(size)[0]
    ours = dif.prepare_gradient(rosenbrock, x, backend="autograd")
    return lambda: ours(x), lambda: gradient_by_hand(x)


def torch_limit(size: int) -> Pair:
    import torch

    x, array = torch.tensor(_point(size)[0]), _point(size)[0]
    ours = dif.prepare_gradient(rosenbrock, x, backend=dif.Torch(compile=True))
    return lambda: ours(x), lambda: gradient_by_hand(array)


def _tree(asarray: Callable[[Any], Any]) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {f"w{i}": asarray(generator.normal(size=3)) for i in range(100)}


def _tree_loss(tree: dict[str, Any]) -> Any:
    return functools.reduce(lambda a, b: a + b, [(leaf**2).sum() for leaf in tree.values()])


def jax_tree(size: int) -> Pair:
    import jax

    tree = _tree(jax.numpy.asarray)
    ours, hand = (
        dif.prepare_gradient(_tree_loss, tree, backend="jax"),
        jax.jit(jax.grad(_tree_loss)),
    )
    return lambda: jax.block_until_ready(ours(tree)), lambda: jax.block_until_ready(hand(tree))


def torch_tree(size: int) -> Pair:
    import torch

    tree = _tree(torch.tensor)
    ours = dif.prepare_gradient(_tree_loss, tree, backend="torch")

    def hand() -> Any:
        leaves = {k: v.detach().requires_grad_() for k, v in tree.items()}
        grads = torch.autograd.grad(_tree_loss(leaves), list(leaves.values()))
        return dict(zip(leaves, grads, strict=True))

    return lambda: ours(tree), hand


def gmm(
    size: int, asarray: Callable[[Any], Any], d: int = 10, k: int = 5
) -> tuple[tuple[Any, ...], tuple[Any, ...], Callable[..., Any]]:
    """ADBench's GMM: parameters, constants, and the function."""
    *parameters, points, gamma, m = problems.plain(problems.GMM.make_args((size, d, k), 0))
    return tuple(map(asarray, parameters)), (asarray(points), float(gamma), m), problems.GMM.f


def prepared_gmm(x: Any, data: Any, f: Callable[..., Any], backend: Any) -> Callable[[], Any]:
    ours = dif.prepare_gradient(f, *x, *map(dif.Const, data), backend=backend)
    return lambda: ours(*x, *data)


def jax_gmm(size: int) -> Pair:
    import jax

    x, data, f = gmm(size, jax.numpy.asarray)
    ours = prepared_gmm(x, data, f, "jax")
    hand = jax.jit(jax.grad(f, argnums=(0, 1, 2)), static_argnums=(5,))
    return lambda: jax.block_until_ready(ours()), lambda: jax.block_until_ready(hand(*x, *data))


def torch_gmm(size: int, compile: bool = False) -> Pair:
    import torch

    x, data, f = gmm(size, torch.tensor)

    def hand() -> Any:
        leaves = [a.detach().requires_grad_() for a in x]
        return torch.autograd.grad(f(*leaves, *data), leaves)

    return prepared_gmm(x, data, f, dif.Torch(compile=compile)), hand


def autograd_gmm(size: int) -> Pair:
    import autograd

    x, data, f = gmm(size, np.asarray)
    hand = autograd.grad(f, argnum=(0, 1, 2))
    return prepared_gmm(x, data, f, "autograd"), lambda: hand(*x, *data)


def _compiled(make: Callable[..., Pair]) -> Callable[[int], Pair]:
    return functools.partial(make, compile=True)


CELLS = (
    Cell("jax gradient, jax arrays", 10, 1.15, jax_gradient),
    Cell("jax gradient, jax arrays", 1000, 1.05, jax_gradient),
    Cell("jax hvp, jax arrays", 10, 1.15, jax_hvp),
    Cell("jax hvp, jax arrays", 1000, 1.05, jax_hvp),
    Cell("jax gradient, NumPy arrays", 10, 1.2, jax_gradient_numpy),
    Cell("jax gradient, NumPy arrays", 1000, 1.1, jax_gradient_numpy),
    Cell("torch gradient", 10, 0.5, torch_gradient),
    Cell("torch gradient", 1000, 0.5, torch_gradient),
    Cell("torch gradient, compiled", 10, 0.05, _compiled(torch_gradient)),
    Cell("torch gradient, compiled", 1000, 0.06, _compiled(torch_gradient)),
    Cell("torch hvp, compiled", 10, 0.005, _compiled(torch_hvp)),
    Cell("torch hvp, compiled", 1000, 0.006, _compiled(torch_hvp)),
    Cell("autograd gradient", 10, 0.045, autograd_gradient),
    Cell("autograd gradient", 1000, 0.045, autograd_gradient),
    Cell("autograd hvp", 10, 0.045, autograd_hvp),
    Cell("autograd hvp", 1000, 0.045, autograd_hvp),
    Cell("numpy gradient, central", 10, 0.45, numpy_gradient),
    Cell("numpy gradient, central", 1000, 0.6, numpy_gradient),
    Cell("jax gradient, 100 leaves", 100, 1.2, jax_tree),
    Cell("torch gradient, 100 leaves", 100, 1.2, torch_tree),
    Cell("jax GMM gradient", 1000, 1.1, jax_gmm),
    Cell("torch GMM gradient", 1000, 1.1, torch_gmm),
    Cell("torch GMM gradient, compiled", 1000, 1.1, _compiled(torch_gmm)),
    Cell("autograd GMM gradient", 1000, 1.1, autograd_gmm),
    Cell("autograd gradient / NumPy by hand", 10, 2.5, autograd_limit),
    Cell("torch compiled gradient / NumPy by hand", 10, 1.0, torch_limit),
)
