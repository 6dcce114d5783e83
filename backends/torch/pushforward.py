"""Pushforwards by dual numbers, and by the transforms of torch.func."""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch.autograd import forward_ad

from diffface.backends.adapter import Function, Pull
from diffface.backends.compiled import Arrays
from diffface.backends.torch.attention import PlainAttention
from diffface.backends.torch.levels import captures, in_transform
from diffface.backends.torch.numbers import refuse_taken_numbers
from diffface.backends.torch.variables import FOLLOW, NESTED, detach, evaluate, leaf

# torch counts levels of forward differentiation in globals that all threads share.
LEVELS = threading.RLock()

# Set inside a pushforward by dual numbers.
DUAL: ContextVar[bool] = ContextVar("dual", default=False)


def push_dual(f: Function, x: Arrays, dx: Arrays) -> tuple[Arrays, Arrays, Arrays] | None:
    """Pushforward by dual numbers, which cost less than the transforms of torch.func.

    None if ``f`` captures what is differentiated, too.
    """
    follow = FOLLOW.get()
    token = DUAL.set(True)
    try:
        with LEVELS, forward_ad.dual_level():
            # Variables, since NumPy functions would take other tensors and drop the tangent.
            leaves = tuple(map(leaf, x))
            points = tuple(map(forward_ad.make_dual, leaves, dx))
            y, aux = evaluate(f, points, again=True)
            if not any(a.requires_grad for a in y):
                refuse_taken_numbers(f, points)
            duals = [forward_ad.unpack_dual(a) for a in y]
            plain = tuple(forward_ad.unpack_dual(a).primal for a in aux)
    finally:
        DUAL.reset(token)
    values = tuple(d.primal for d in duals)
    dy = tuple(torch.zeros_like(d.primal) if d.tangent is None else d.tangent for d in duals)
    if follow is None and captures([*values, *dy], leaves):
        return None
    return detach(values), detach(dy), detach(plain)


def push_functional(
    f: Function, x: Arrays, run: Callable[[Pull], Arrays]
) -> tuple[Arrays, Arrays, Arrays]:
    """Pushforwards by the transforms of torch.func, which nest and can be batched."""
    shared: list[tuple[Arrays, Arrays]] = []

    def push(seed: Arrays) -> Arrays:
        pushed: Any = torch.func.jvp(lambda *a: f(a), x, seed, has_aux=True)
        dy: Arrays = pushed[1]
        shared[:] = [(pushed[0], pushed[2])]
        return dy

    token = NESTED.set(True)
    try:
        with LEVELS, PlainAttention():
            dy = run(push)
    finally:
        NESTED.reset(token)
    y, aux = shared[0]
    if FOLLOW.get() is False and not in_transform():
        return detach(y), detach(dy), detach(aux)
    return y, dy, aux


def lacks_rule(error: Exception) -> bool:
    """Whether ``error`` says that a function has no forward rule."""
    text = str(error)
    return isinstance(error, NotImplementedError) or "setup_context" in text
