"""Derivatives as an expert writes them with HIPS autograd, each operator built once."""

from collections.abc import Callable
from typing import Any

import autograd
import autograd.builtins
import autograd.numpy
from autograd.differential_operators import make_hvp, make_jvp

from diffface.benchmark.by_hand.library import Example, Library, by_block, flat, vector


def _gradient(example: Example) -> Callable[[], Any]:
    gradient = autograd.grad(example.f, example.argnums)
    return lambda: gradient(*example.args)


def _hvp(example: Example) -> Callable[[], Any]:
    args, v = example.args, _bare(example)
    if example.single:
        product = autograd.hessian_vector_product(example.f, example.argnums)
        return lambda: product(*args, v)
    # hessian_vector_product takes arrays only.
    at_point = make_hvp(example.f, example.argnums)
    return lambda: at_point(*args)[0](v)


def _jacobian(example: Example) -> Callable[[], Any]:
    # It takes one array at a time: of several, and of several results, it is that of one vector.
    if example.single and not isinstance(example.y, tuple):
        jacobian = autograd.jacobian(example.f, example.argnums)
        return lambda: jacobian(*example.args)
    f, x = flat(example, autograd.numpy)
    of_vector = autograd.jacobian(f)
    return lambda: by_block(example, of_vector(x))


def _hessian(example: Example) -> Callable[[], Any]:
    if example.single:
        hessian = autograd.hessian(example.f, example.argnums)
        return lambda: hessian(*example.args)
    f, x = flat(example, autograd.numpy)
    of_vector = autograd.hessian(f)
    return lambda: by_block(example, of_vector(x), square=True)


def _pushforward(example: Example) -> Callable[[], Any]:
    if not isinstance(example.y, tuple):
        at_point = make_jvp(example.f, example.argnums)
        dx = _bare(example)
        return lambda: at_point(*example.args)(dx)[1]
    f, x = flat(example, autograd.numpy)
    of_vector, dx = make_jvp(f), vector(example.seed, autograd.numpy)
    return lambda: of_vector(x)(dx)[1]


def _pullback(example: Example) -> Callable[[], Any]:
    f = example.f
    if isinstance(example.y, tuple):
        f = lambda *args: autograd.builtins.tuple(example.f(*args))
    at_point = autograd.make_vjp(f, example.argnums)
    return lambda: at_point(*example.args)[0](example.seed)


def _bare(example: Example) -> Any:
    return example.seed[0] if len(example.active) == 1 else example.seed


BY_HAND = {
    "gradient": _gradient,
    "hessian": _hessian,
    "hvp": _hvp,
    "jacobian": _jacobian,
    "pushforward": _pushforward,
    "pullback": _pullback,
}

LIBRARY = Library(lambda adapter: BY_HAND)
