"""Derivatives as an expert writes them with PyTorch."""

from collections.abc import Callable
from typing import Any

import optree
import torch

from diffface.benchmark.by_hand.library import Example, Library, of_active, put


def _gradient(example: Example) -> Callable[[], Any]:
    if not example.single:
        return _gradient_of_tree(example)
    f, (x,) = example.f, example.x
    i = example.active[0]
    before, after = example.args[:i], example.args[i + 1 :]

    def gradient() -> Any:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(f(*before, leaf, *after), leaf)[0]

    return gradient


def _gradient_of_tree(example: Example) -> Callable[[], Any]:
    tensors, tree = optree.tree_flatten(example.x)

    def gradient() -> Any:
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        y = example.f(*put(example.args, example.active, optree.tree_unflatten(tree, leaves)))
        return optree.tree_unflatten(tree, torch.autograd.grad(y, leaves, materialize_grads=True))

    return gradient


def _pullback(example: Example) -> Callable[[], Any]:
    tensors, tree = optree.tree_flatten(example.x)
    dy = optree.tree_leaves(example.seed)

    def pullback() -> Any:
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        y = example.f(*put(example.args, example.active, optree.tree_unflatten(tree, leaves)))
        return torch.autograd.grad(optree.tree_leaves(y), leaves, dy, materialize_grads=True)

    return pullback


def _pushforward(example: Example) -> Callable[[], Any]:
    f = of_active(example)
    return lambda: torch.func.jvp(f, example.x, example.seed)[1]


def _hvp(example: Example) -> Callable[[], Any]:
    f = of_active(example)
    gradient = torch.func.grad(f, tuple(range(len(example.x))) if len(example.x) > 1 else 0)
    return lambda: torch.func.jvp(gradient, example.x, example.seed)[1]


def _jacobian(example: Example) -> Callable[[], Any]:
    transform = torch.func.jacfwd if example.tall else torch.func.jacrev
    jacobian = transform(example.f, example.argnums)
    return lambda: jacobian(*example.args)


def _hessian(example: Example) -> Callable[[], Any]:
    hessian = torch.func.hessian(example.f, example.argnums)
    return lambda: hessian(*example.args)


BY_HAND = {
    "gradient": _gradient,
    "hessian": _hessian,
    "hvp": _hvp,
    "jacobian": _jacobian,
    "pushforward": _pushforward,
    "pullback": _pullback,
}


def devices() -> tuple[str, ...]:
    """The processor, and the accelerators that PyTorch finds."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = torch.accelerator.device_count() if found is not None else 0
    return ("cpu", *(f"{found}:{i}" for i in range(count)))


LIBRARY = Library(lambda adapter: BY_HAND, devices=devices)
