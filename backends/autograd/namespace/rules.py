"""What the files of the autograd namespace share: own primitives, broadcasting, choosing.

autograd keeps one global table from NumPy function to primitive, and an entry of ours would change
what the user's own ``autograd.numpy`` code computes: so `numpy_primitive` wraps a function of ours
around NumPy's, and says in ``fun`` which one it stands for.

Cotangents follow autograd's convention: the pairing is ``Re(g * dy)``, without a conjugate.
"""

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeAlias, cast

import autograd.numpy as anp
import numpy as np
from autograd.extend import (
    Box,
    JVPNode,
    VJPNode,
    defjvp,
    defjvp_argnums,
    defvjp,
    register_notrace,
)
from autograd.extend import primitive as _primitive

P = ParamSpec("P")

Array: TypeAlias = Any
"""A NumPy array, a scalar, or an autograd box around one."""

Axis: TypeAlias = int | Sequence[int] | None


def primitive(f: Callable[P, Array]) -> Callable[P, Array]:
    """Make `f`, a function of NumPy arrays, an autograd primitive, and keep its type."""
    wrapped: Callable[P, Array] = _primitive(f)
    return wrapped


def numpy_primitive(raw: Callable[..., Array]) -> Callable[..., Array]:
    """Make a primitive of our own that calls NumPy's `raw`; a recorder replays `raw` itself."""

    def call(*args: Any, **kwargs: Any) -> Array:
        return raw(*args, **kwargs)

    call.__name__ = call.__qualname__ = raw.__name__
    call.__doc__ = f"``{raw.__name__}`` of NumPy, with derivative rules of our own."
    wrapped: Any = _primitive(call)
    wrapped.fun = raw
    return cast("Callable[..., Array]", wrapped)


def constant(f: Callable[P, Array]) -> Callable[P, Array]:
    """Make `f` a primitive whose derivative is zero, so that autograd does not trace it."""
    wrapped = primitive(f)
    register_notrace(VJPNode, wrapped)
    register_notrace(JVPNode, wrapped)
    return wrapped


def is_box(x: object) -> bool:
    """Tell whether `x` is being differentiated."""
    return isinstance(x, Box)


def axis_of(axis: int, ndim: int) -> int:
    """Return `axis` as a number in ``range(ndim)``; raise NumPy's own error if there is none."""
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return int(axis) % ndim


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return `axis` as a tuple of numbers in ``range(ndim)``; ``None`` means all axes."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, Sequence) else (axis,)
    return tuple(axis_of(a, ndim) for a in axes)


def along(axis: int, ndim: int, index: Any) -> tuple[Any, ...]:
    """Return the index tuple that applies `index` to `axis` and takes all of the others."""
    return (*(slice(None),) * axis_of(axis, ndim), index)


# Broadcasting


# Unlike autograd's own, it allows new leading axes.
broadcast_to = numpy_primitive(np.broadcast_to)


def unbroadcast(g: Array, like: Array) -> Array:
    """Sum the cotangent `g` over the axes along which `like` was broadcast; ``like.shape``."""
    target, shape = anp.shape(like), anp.shape(g)
    if shape != target:
        extra = len(shape) - len(target)
        ones = (i + extra for i, n in enumerate(target) if n == 1)
        g = anp.reshape(anp.sum(g, axis=(*range(extra), *ones)), target)
    return match_real(g, like)


def match_real(g: Array, like: Array) -> Array:
    """Drop the imaginary part of the cotangent `g` of a real `like`."""
    return anp.real(g) if anp.iscomplexobj(g) and not anp.iscomplexobj(like) else g


defvjp(broadcast_to, lambda _ans, x, shape: lambda g: unbroadcast(g, x))
defjvp(broadcast_to, lambda g, _ans, x, shape: broadcast_to(g, shape))


# Choosing


# Unlike autograd's own, all three arguments broadcast, also in derivatives.
choose = numpy_primitive(np.where)


def _choose_jvp(
    argnums: Sequence[int], gs: Sequence[Array], ans: Array, args: Sequence[Array], _: object
) -> Array:
    tangents = dict(zip(argnums, gs, strict=True))
    chosen = choose(args[0], tangents.get(1, 0.0), tangents.get(2, 0.0))
    return broadcast_to(chosen, anp.shape(ans))


defvjp(
    choose,
    None,
    lambda _ans, c, x, y: lambda g: unbroadcast(choose(c, g, 0.0), x),
    lambda _ans, c, x, y: lambda g: unbroadcast(choose(c, 0.0, g), y),
)
defjvp_argnums(choose, _choose_jvp)
