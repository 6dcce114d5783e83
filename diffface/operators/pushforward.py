"""Pushforwards: Jacobian-vector products (JVP)."""

from collections.abc import Callable
from typing import Any, Unpack, overload

from diffface.backends.compiled import Arrays
from diffface.operators.calculus import push
from diffface.operators.call import call, prepare
from diffface.operators.options import (
    BareOptions,
    BarePrepareOptions,
    PrepareOptions,
    SeededOptions,
)
from diffface.prep.arguments.const import Const
from diffface.prep.operator import Operator, Part, Point, Seeds
from diffface.prep.prepared import Prepared


def _derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
    y, dy, aux = push(at.adapter, at.f, at)
    return (y, dy), aux


PUSHFORWARD = Operator(
    {(1,): "pushforward", (0, 1): "value_and_pushforward"},
    _derive,
    (Part.VALUE, Part.LIKE_Y),
    seeds=Seeds.TANGENTS,
    keywords=SeededOptions.__optional_keys__,
)


def pushforward(
    f: Callable[..., Any], /, *args: Any, tangents: Any, **options: Unpack[SeededOptions]
) -> Any:
    """Pushforward (Jacobian-vector product) of a function.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns an array or a tree of arrays ``y``.
    *args : array, number, or tree of them; Const
        Arguments of ``f``. Those not wrapped in ``Const`` are active and must be floating-point.
    tangents : tree of arrays
        ``dx``, like the active argument (a tuple with one entry for each, if there are several);
        with ``batched``, every leaf has one leading axis more.
    **options : SeededOptions
        ``backend``, ``argnums``, ``has_aux``, ``kwargs``, ``out``, ``batched``, ``chunk_size``.

    Returns
    -------
    tree of arrays
        ``J dx``, like ``y``; with ``batched``, one leading axis more. With ``has_aux``,
        ``(J dx, aux)``.

    Raises
    ------
    NotDifferentiableError
        If an active argument has integers.
    InvalidArgumentError
        If ``tangents`` do not fit the active arguments.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> x, dx = np.array([1.0, 2.0]), np.array([1.0, 0.5])
    >>> dif.pushforward(lambda x: x**2, x, tangents=dx, backend="autograd")
    array([2., 2.])
    """
    return call(PUSHFORWARD, (1,), f, args, options, tangents)


@overload
def value_and_pushforward(
    f: Callable[..., Any],
    x: Any,
    /,
    *constants: Const[Any],
    tangents: Any,
    **options: Unpack[BareOptions],
) -> tuple[Any, Any]: ...


@overload
def value_and_pushforward(
    f: Callable[..., Any], /, *args: Any, tangents: Any, **options: Unpack[SeededOptions]
) -> Any: ...


def value_and_pushforward(
    f: Callable[..., Any], /, *args: Any, tangents: Any, **options: Unpack[SeededOptions]
) -> Any:
    """``(f(*args), J dx)``, sharing the work; see :func:`pushforward`."""
    return call(PUSHFORWARD, (0, 1), f, args, options, tangents)


def prepare_pushforward(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`pushforward` for repeated calls; see :class:`Prepared`."""
    return prepare(PUSHFORWARD, (1,), f, example_args, options)


@overload
def prepare_value_and_pushforward(
    f: Callable[..., Any], x: Any, /, *constants: Const[Any], **options: Unpack[BarePrepareOptions]
) -> Prepared[tuple[Any, Any]]: ...


@overload
def prepare_value_and_pushforward(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]: ...


def prepare_value_and_pushforward(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`value_and_pushforward` for repeated calls; see :class:`Prepared`."""
    return prepare(PUSHFORWARD, (0, 1), f, example_args, options)
