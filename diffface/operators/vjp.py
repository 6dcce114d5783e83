"""A function's value and its pullback at a fixed point."""

from collections.abc import Callable
from typing import Any, Unpack

from diffface.operators.fixed_point import FixedPoint
from diffface.operators.options import Options
from diffface.operators.pullback import PULLBACK
from diffface.prep.arguments import seeds as _seeds
from diffface.prep.operator import Part


def vjp(f: Callable[..., Any], /, *args: Any, **options: Unpack[Options]) -> Any:
    """Value of a function, and its pullback at that point for many cotangents.

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
    pullback : callable
        ``pullback(cotangents, batched=False, chunk_size=None)`` is ``J^H cotangents``, like the
        active arguments. Where the backend has a reverse mode, ``f`` is not evaluated again.
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
    >>> y, pull = dif.vjp(lambda x: x**2, np.array([1.0, 2.0]), backend="autograd")
    >>> pull(np.array([1.0, 0.0])), pull(np.array([0.0, 1.0]))
    (array([2., 0.]), array([0., 4.]))
    """
    point = FixedPoint(PULLBACK, "vjp", f, args, options)
    adapter = point.adapter
    with point.scope():
        y, pull, aux = adapter.pullback(point.f, point.x)
    # f may be evaluated again below, at stencil points; what it returned here is what counts.
    structure, leaves = point.trace.y, point.trace.y_leaves

    def pullback(cotangents: Any, *, batched: bool = False, chunk_size: int | None = None) -> Any:
        """``J^H cotangents`` at the fixed point; ``batched`` adds a leading axis."""
        with point.scope():
            dy = _seeds.cotangents(cotangents, structure, leaves, adapter, batched)
            dx = adapter.batch(pull, dy, chunk_size) if batched else pull(dy)
            return point.result(Part.LIKE_X, dx)

    return point.with_aux(y, pullback, aux)
