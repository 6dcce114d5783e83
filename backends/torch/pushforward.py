"""Pushforwards: by dual numbers, by the transforms of torch.func, or of pullbacks transposed."""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import array_api_compat.torch as xp
import torch
from torch.autograd import forward_ad

from diffface.backends.adapter import Adapter, Function, Pull
from diffface.backends.compiled import Arrays
from diffface.backends.errors import MissingRuleError
from diffface.backends.generic import loop, push_of_rows, size
from diffface.backends.torch.attention import PlainAttention
from diffface.backends.torch.levels import captures, in_derivative, in_transform, uses_norms
from diffface.backends.torch.numbers import refuse_taken_numbers
from diffface.backends.torch.variables import FOLLOW, NESTED, Following, detach, evaluate, leaf

# torch counts levels of forward differentiation in globals that all threads share.
LEVELS = threading.RLock()

# Set inside a pushforward by dual numbers.
DUAL: ContextVar[bool] = ContextVar("dual", default=False)

# Outputs up to which a derivative that is differentiated again takes one pullback each.
_FEW = 32


def differentiated_again(x: Arrays, dx: Arrays) -> bool:
    """Whether a pushforward is a part of what is being differentiated."""
    if DUAL.get() or FOLLOW.get() or in_derivative():
        return True
    again = False
    for a in (*x, *dx):
        again |= a.requires_grad
    return again


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


def linearize_again(adapter: Adapter, f: Function, x: Arrays) -> tuple[Arrays, Pull, Arrays]:
    """`Adapter.linearize`, to be differentiated again.

    Of pushforwards, forward or transposed, torch's own derivatives are wrong for some functions
    (det, solve, norms of layers); those of pullbacks are right, one for each output.
    """
    y, pull, aux = adapter.pullback(f, x)
    few = sum(map(size, y)) <= _FEW or uses_norms(y)
    if not few:
        return y, transposed(adapter, x, y, pull), aux
    # One after the other: batched, some rules take another branch (NaN for det).
    return y, push_of_rows(adapter, x, y, pull, partial(loop, xp=xp)), aux


def transposed(adapter: Adapter, x: Arrays, y: Arrays, pull: Pull) -> Pull:
    """The pushforward, by the pullback of the pullback."""
    with Following(in_transform() or any(a.requires_grad for a in y)):
        ones = tuple(map(torch.ones_like, y))
        _, transpose, _ = adapter.pullback(lambda dy: (pull(dy), ()), ones)

    def push(dx: Arrays) -> Arrays:
        try:
            return transpose(dx)
        except MissingRuleError:  # of a function that can be differentiated once
            return push_of_rows(adapter, x, y, pull, adapter.batch)(dx)

    return push


def lacks_rule(error: Exception) -> bool:
    """Whether ``error`` says that a function has no forward rule."""
    text = str(error)
    return isinstance(error, NotImplementedError) or "setup_context" in text
