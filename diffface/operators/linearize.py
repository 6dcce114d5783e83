"""A function's value and its pushforward at a fixed point."""

from collections.abc import Callable
from typing import Any, Unpack

from diffface.backends.adapter import Pull
from diffface.backends.compiled import Arrays
from diffface.operators.fixed_point import FixedPoint
from diffface.operators.options import Options
from diffface.operators.pushforward import PUSHFORWARD
from diffface.prep.arguments import seeds as _seeds
from diffface.prep.operator import Part


def linearize(f: Callable[..., Any], /, *args: Any, **options: Unpack[Options]) -> Any:
    """Value of a function, and its pushforward at that point for many directions.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns an array or a tree of arrays ``y``.
    *args : array, number, or tree of them; Const
        Arguments of ``f``. Those not wrapped in ``Const`` are active and must be floating-point.
        They are copied: the caller may overwrite them afterwards.
    **options : Options
        ``backend``, ``argnums``, ``has_aux``, ``kwargs``.

    Returns
    -------
    y : tree of arrays
        ``f(*args)``.
    pushforward : callable
        ``pushforward(tangents, batched=False, chunk_size=None)`` is ``J tangents``, like ``y``.
        Where the backend has a reverse mode, ``f`` is not evaluated again.
    aux : tree
        With ``has_aux`` only.

    Raises
    ------
    NotDifferentiableError
        If an active argument has integers.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> y, push = dif.linearize(lambda x: x**2, np.array([1.0, 2.0]), backend="autograd")
    >>> push(np.array([1.0, 0.0])), push(np.array([0.0, 1.0]))
    (array([2., 0.]), array([0., 4.]))
    """
    point = FixedPoint(PUSHFORWARD, "linearize", f, args, options)
    adapter = point.adapter
    push: Pull | None = None
    with point.scope():
        if adapter.reverse:
            y, push, aux = adapter.linearize(point.f, point.x)
        else:
            y, aux = point.f(point.x)

    def run(dx: Arrays, batched: bool, chunk_size: int | None) -> Arrays:
        if push is not None:
            return adapter.batch(push, dx, chunk_size) if batched else push(dx)
        if batched:
            pushed = adapter.pushforwards(point.f, point.x, dx, chunk_size=chunk_size, value=False)
            return pushed[1]
        return adapter.pushforward(point.f, point.x, dx, value=False)[1]

    def pushforward(tangents: Any, *, batched: bool = False, chunk_size: int | None = None) -> Any:
        """``J tangents`` at the point of linearisation; ``batched`` adds a leading axis."""
        with point.scope():
            dx = _seeds.tangents(tangents, point.signature, adapter, batched)
            dy = run(dx, batched, chunk_size)
            return point.result(Part.LIKE_Y, dy)

    return point.with_aux(y, pushforward, aux)
