"""Derivatives with respect to one number."""

from collections.abc import Callable
from typing import Any, Unpack, overload

from diffface.backends.compiled import Arrays
from diffface.operators import calculus
from diffface.operators.call import call, prepare
from diffface.operators.options import (
    BareOptions,
    BarePrepareOptions,
    PrepareOptions,
    ScalarOptions,
)
from diffface.prep.arguments.const import Const
from diffface.prep.operator import Operator, Part, Point
from diffface.prep.prepared import Prepared


def _derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
    one = at.adapter.xp.ones_like(at.x[0])
    y, dy, aux = calculus.pushforward(at.adapter, at.f, at.x, (one,), at.value)
    return (y, dy), aux


DERIVATIVE = Operator(
    {(1,): "derivative", (0, 1): "value_and_derivative"},
    _derive,
    (Part.VALUE, Part.LIKE_Y),
    scalar_argument=True,
    complex_arguments=False,
    keywords=ScalarOptions.__optional_keys__,
)


def derivative(f: Callable[..., Any], /, *args: Any, **options: Unpack[ScalarOptions]) -> Any:
    """Derivative of a function of one number.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns an array or a tree of arrays ``y``.
    *args : float, array of shape (), Const
        Arguments of ``f``: one active number ``t``, the others in ``Const``.
    **options : ScalarOptions
        ``backend``, ``argnums``, ``has_aux``, ``kwargs``, ``out``, ``holomorphic``.

    Returns
    -------
    tree of arrays
        dy/dt, like ``y`` in structure, shapes and dtypes. With ``has_aux``, ``(dy/dt, aux)``.

    Raises
    ------
    InvalidArgumentError
        If there is not exactly one active number.
    NotDifferentiableError
        If it is an integer, or complex without ``holomorphic=True``.

    Examples
    --------
    >>> import diffface as dif
    >>> dif.derivative(lambda t: t**3, 2.0, backend="autograd")
    12.0
    """
    return call(DERIVATIVE, (1,), f, args, options)


@overload
def value_and_derivative(
    f: Callable[..., Any], x: Any, /, *constants: Const[Any], **options: Unpack[BareOptions]
) -> tuple[Any, Any]: ...


@overload
def value_and_derivative(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[ScalarOptions]
) -> Any: ...


def value_and_derivative(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[ScalarOptions]
) -> Any:
    """``(f(*args), dy/dt)``, sharing the work; see :func:`derivative`."""
    return call(DERIVATIVE, (0, 1), f, args, options)


def prepare_derivative(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`derivative` for repeated calls; see :class:`Prepared`."""
    return prepare(DERIVATIVE, (1,), f, example_args, options)


@overload
def prepare_value_and_derivative(
    f: Callable[..., Any], x: Any, /, *constants: Const[Any], **options: Unpack[BarePrepareOptions]
) -> Prepared[tuple[Any, Any]]: ...


@overload
def prepare_value_and_derivative(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]: ...


def prepare_value_and_derivative(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`value_and_derivative` for repeated calls; see :class:`Prepared`."""
    return prepare(DERIVATIVE, (0, 1), f, example_args, options)
