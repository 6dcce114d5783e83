"""Pushforwards of a function from its pullback alone."""

from diffface.backends.adapter import Adapter, Function, Pull
from diffface.backends.compiled import Arrays


def linearize_by_transposing(
    adapter: Adapter, f: Function, x: Arrays
) -> tuple[Arrays, Pull, Arrays]:
    """``(y, dx -> J dx, aux)``; ``f`` is evaluated once, however many directions follow.

    The pullback ``dy -> J^H dy`` is linear in ``dy``, so that its own pullback, at any ``dy``, is
    ``dx -> J dx``. See J. Townsend, A new trick for calculating Jacobian vector products, 2017.
    """
    y, pull, aux = adapter.pullback(f, x)
    zeros = tuple(map(adapter.xp.zeros_like, y))
    _, push, _ = adapter.pullback(lambda dy: (pull(dy), ()), zeros)
    return y, push, aux


def push_by_transposing(
    adapter: Adapter, f: Function, x: Arrays, dx: Arrays
) -> tuple[Arrays, Arrays, Arrays]:
    """``adapter.pushforward`` by two pullbacks."""
    y, push, aux = linearize_by_transposing(adapter, f, x)
    return y, push(dx), aux
