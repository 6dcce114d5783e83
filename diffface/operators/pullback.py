"""Pullbacks: vector-Jacobian products (VJP)."""

from collections.abc import Callable
from typing import Any, Unpack, overload

from diffface.backends.compiled import Arrays
from diffface.operators import calculus
from diffface.operators.call import call, prepare
from diffface.operators.options import (
    Argument,
    BareOptions,
    BarePrepareOptions,
    PrepareOptions,
    SeededOptions,
)
from diffface.prep.arguments.const import Const
from diffface.prep.operator import Operator, Part, Point, Seeds
from diffface.prep.prepared import Prepared


def _derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
    y, pull, aux = calculus.pullback(at.adapter, at.f, at.x)
    dy, settings = at.seeds(), at.settings
    dx = at.adapter.batch(pull, dy, settings.chunk_size) if settings.batched else pull(dy)
    return (y, dx), aux


PULLBACK = Operator(
    {(1,): "pullback", (0, 1): "value_and_pullback"},
    _derive,
    (Part.VALUE, Part.LIKE_X),
    seeds=Seeds.COTANGENTS,
    keywords=SeededOptions.__optional_keys__,
)


@overload
def pullback(
    f: Callable[..., Any],
    x: Argument,
    /,
    *constants: Const[Any],
    cotangents: Any,
    **options: Unpack[BareOptions],
) -> Argument: ...


@overload
def pullback(
    f: Callable[..., Any], /, *args: Any, cotangents: Any, **options: Unpack[SeededOptions]
) -> Any: ...


def pullback(
    f: Callable[..., Any], /, *args: Any, cotangents: Any, **options: Unpack[SeededOptions]
) -> Any:
    """Pullback (vector-Jacobian product) of a function.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns an array or a tree of arrays ``y``.
    *args : array, number, or tree of them; Const
        Arguments of ``f``. Those not wrapped in ``Const`` are active and must be floating-point.
    cotangents : tree of arrays
        ``dy``, like ``y``; with ``batched``, every leaf has one leading axis more.
    **options : SeededOptions
        ``backend``, ``argnums``, ``has_aux``, ``kwargs``, ``out``, ``batched``, ``chunk_size``.

    Returns
    -------
    tree of arrays
        ``J^H dy``, like the active arguments; with ``batched``, one leading axis more. With
        ``has_aux``, ``(J^H dy, aux)``. It is the adjoint of the pushforward in the real inner
        product: ``Re<dy, J dx> == Re<J^H dy, dx>``.

    Raises
    ------
    NotDifferentiableError
        If an active argument has integers.
    InvalidArgumentError
        If ``cotangents`` do not fit the result of ``f``.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> x, dy = np.array([1.0, 2.0]), np.array([1.0, 0.5])
    >>> dif.pullback(lambda x: x**2, x, cotangents=dy, backend="autograd")
    array([2., 2.])
    """
    return call(PULLBACK, (1,), f, args, options, cotangents)


@overload
def value_and_pullback(
    f: Callable[..., Any],
    x: Argument,
    /,
    *constants: Const[Any],
    cotangents: Any,
    **options: Unpack[BareOptions],
) -> tuple[Any, Argument]: ...


@overload
def value_and_pullback(
    f: Callable[..., Any], /, *args: Any, cotangents: Any, **options: Unpack[SeededOptions]
) -> Any: ...


def value_and_pullback(
    f: Callable[..., Any], /, *args: Any, cotangents: Any, **options: Unpack[SeededOptions]
) -> Any:
    """``(f(*args), J^H dy)``, sharing the work; see :func:`pullback`."""
    return call(PULLBACK, (0, 1), f, args, options, cotangents)


@overload
def prepare_pullback(
    f: Callable[..., Any],
    x: Argument,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareOptions],
) -> Prepared[Argument]: ...


@overload
def prepare_pullback(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]: ...


def prepare_pullback(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`pullback` for repeated calls; see :class:`Prepared`."""
    return prepare(PULLBACK, (1,), f, example_args, options)


@overload
def prepare_value_and_pullback(
    f: Callable[..., Any],
    x: Argument,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareOptions],
) -> Prepared[tuple[Any, Argument]]: ...


@overload
def prepare_value_and_pullback(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]: ...


def prepare_value_and_pullback(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`value_and_pullback` for repeated calls; see :class:`Prepared`."""
    return prepare(PULLBACK, (0, 1), f, example_args, options)
