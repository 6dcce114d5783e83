"""Derivatives as an expert writes them with HIPS autograd, each operator built once."""

from collections.abc import Callable
from typing import Any

import autograd
from autograd.differential_operators import make_hvp, make_jvp

from diffface.benchmark.by_hand.library import Example, Library


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
    jacobians = [autograd.jacobian(example.f, i) for i in example.active]
    return lambda: tuple([jacobian(*example.args) for jacobian in jacobians])


def _hessian(example: Example) -> Callable[[], Any]:
    hessian = autograd.hessian(example.f, example.argnums)
    return lambda: hessian(*example.args)


def _pushforward(example: Example) -> Callable[[], Any]:
    at_point = make_jvp(example.f, example.argnums)
    dx = _bare(example)
    return lambda: at_point(*example.args)(dx)[1]


def _pullback(example: Example) -> Callable[[], Any]:
    at_point = autograd.make_vjp(example.f, example.argnums)
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
