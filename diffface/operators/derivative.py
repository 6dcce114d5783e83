"""First and second derivatives with respect to one number."""

from collections.abc import Callable
from typing import Any, Unpack, overload

from diffface.backends.adapter import Function
from diffface.backends.compiled import Arrays
from diffface.operators import calculus
from diffface.operators.calculus import pushforward, to_differentiate
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


def _derive_twice(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
    # What is compiled must not keep the arrays of the point.
    adapter, value = at.adapter, at.value

    def first(f: Function, x: Arrays) -> tuple[Arrays, Arrays]:
        y, dy, aux = pushforward(adapter, f, x, (adapter.xp.ones_like(x[0]),), value)
        return dy, y + aux

    one = at.outer.xp.ones_like(at.x[0])
    dy, ddy, rest = pushforward(at.outer, to_differentiate(at, first), at.x, (one,), at.value)
    return (rest[: len(ddy)], dy, ddy), rest[len(ddy) :]


SECOND_DERIVATIVE = Operator(
    {(2,): "second_derivative", (0, 1, 2): "value_derivative_and_second_derivative"},
    _derive_twice,
    (Part.VALUE, Part.LIKE_Y, Part.LIKE_Y),
    order=2,
    scalar_argument=True,
    complex_arguments=False,
    keywords=ScalarOptions.__optional_keys__,
)


def second_derivative(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[ScalarOptions]
) -> Any:
    """Second derivative of a function of one number.

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
        d²y/dt², like ``y`` in structure, shapes and dtypes. With ``has_aux``, ``(d²y/dt², aux)``.

    Raises
    ------
    InvalidArgumentError
        If there is not exactly one active number.
    NotDifferentiableError
        If it is an integer, or complex without ``holomorphic=True``.

    Examples
    --------
    >>> import diffface as dif
    >>> dif.second_derivative(lambda t: t**3, 2.0, backend="autograd")
    12.0
    """
    return call(SECOND_DERIVATIVE, (2,), f, args, options)


@overload
def value_derivative_and_second_derivative(
    f: Callable[..., Any], x: Any, /, *constants: Const[Any], **options: Unpack[BareOptions]
) -> tuple[Any, Any, Any]: ...


@overload
def value_derivative_and_second_derivative(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[ScalarOptions]
) -> Any: ...


def value_derivative_and_second_derivative(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[ScalarOptions]
) -> Any:
    """``(f(*args), dy/dt, d²y/dt²)``, sharing the work; see :func:`second_derivative`."""
    return call(SECOND_DERIVATIVE, (0, 1, 2), f, args, options)


def prepare_second_derivative(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`second_derivative` for repeated calls; see :class:`Prepared`."""
    return prepare(SECOND_DERIVATIVE, (2,), f, example_args, options)


@overload
def prepare_value_derivative_and_second_derivative(
    f: Callable[..., Any], x: Any, /, *constants: Const[Any], **options: Unpack[BarePrepareOptions]
) -> Prepared[tuple[Any, Any, Any]]: ...


@overload
def prepare_value_derivative_and_second_derivative(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]: ...


def prepare_value_derivative_and_second_derivative(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`value_derivative_and_second_derivative`; see :class:`Prepared`."""
    return prepare(SECOND_DERIVATIVE, (0, 1, 2), f, example_args, options)
