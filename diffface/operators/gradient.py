"""Gradients of scalar functions."""

from collections.abc import Callable
from typing import Any, Unpack, overload

from diffface.backends.compiled import Arrays
from diffface.backends.errors import MissingRuleError
from diffface.backends.generic import gradient_by_basis
from diffface.operators.call import call, prepare
from diffface.operators.options import (
    Argument,
    BareOptions,
    BarePrepareOptions,
    Module,
    Options,
    PrepareOptions,
)
from diffface.prep.arguments.const import Const
from diffface.prep.operator import Operator, Part, Point
from diffface.prep.prepared import Prepared


def _derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
    try:
        y, dx, aux = at.adapter.gradient(at.f, at.x, value=at.value)
    except MissingRuleError:
        y, dx, aux = gradient_by_basis(at.adapter, at.f, at.x, at.value)
    return (y, dx), aux


GRADIENT = Operator(
    {(1,): "gradient", (0, 1): "value_and_gradient"},
    _derive,
    (Part.VALUE, Part.LIKE_X),
    scalar=True,
    keywords=Options.__optional_keys__,
)


@overload
def gradient(
    f: Callable[..., Any], x: Module, /, *constants: Const[Any], **options: Unpack[BareOptions]
) -> dict[str, Any]: ...


@overload
def gradient(
    f: Callable[..., Any], x: Argument, /, *constants: Const[Any], **options: Unpack[BareOptions]
) -> Argument: ...


@overload
def gradient(f: Callable[..., Any], /, *args: Any, **options: Unpack[Options]) -> Any: ...


def gradient(f: Callable[..., Any], /, *args: Any, **options: Unpack[Options]) -> Any:
    """Gradient of a scalar function with respect to its active arguments.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns one real number (shape ``()``).
    *args : array, number, or tree of them; Const
        Arguments of ``f``. Those not wrapped in ``Const`` are active and must be floating-point.
    **options : Options
        ``backend``, ``argnums``, ``has_aux``, ``kwargs``, ``out``.

    Returns
    -------
    tree of arrays
        Like the active argument: same structure, kinds of array, shapes and dtypes. Several active
        arguments (or a sequence as ``argnums``) give a tuple with one entry for each. With
        ``has_aux``, the pair ``(gradient, aux)``. For a complex argument ``a + ib`` it is
        ``df/da + i df/db``.

    Raises
    ------
    NotDifferentiableError
        If an active argument has integers, or ``f`` does not return one real number.
    UnknownBackendError, BackendNotAvailableError
        If the backend does not exist, or is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> dif.gradient(lambda x: (x**3).sum(), np.array([1.0, 2.0]), backend="autograd")
    array([ 3., 12.])
    """
    return call(GRADIENT, (1,), f, args, options)


@overload
def value_and_gradient(
    f: Callable[..., Any], x: Module, /, *constants: Const[Any], **options: Unpack[BareOptions]
) -> tuple[Any, dict[str, Any]]: ...


@overload
def value_and_gradient(
    f: Callable[..., Any], x: Argument, /, *constants: Const[Any], **options: Unpack[BareOptions]
) -> tuple[Any, Argument]: ...


@overload
def value_and_gradient(f: Callable[..., Any], /, *args: Any, **options: Unpack[Options]) -> Any: ...


def value_and_gradient(f: Callable[..., Any], /, *args: Any, **options: Unpack[Options]) -> Any:
    """``(f(*args), gradient)``, sharing the work; see :func:`gradient`."""
    return call(GRADIENT, (0, 1), f, args, options)


@overload
def prepare_gradient(
    f: Callable[..., Any],
    x: Module,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareOptions],
) -> Prepared[dict[str, Any]]: ...


@overload
def prepare_gradient(
    f: Callable[..., Any],
    x: Argument,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareOptions],
) -> Prepared[Argument]: ...


@overload
def prepare_gradient(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]: ...


def prepare_gradient(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`gradient` for repeated calls; see :class:`Prepared`."""
    return prepare(GRADIENT, (1,), f, example_args, options)


@overload
def prepare_value_and_gradient(
    f: Callable[..., Any],
    x: Module,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareOptions],
) -> Prepared[tuple[Any, dict[str, Any]]]: ...


@overload
def prepare_value_and_gradient(
    f: Callable[..., Any],
    x: Argument,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareOptions],
) -> Prepared[tuple[Any, Argument]]: ...


@overload
def prepare_value_and_gradient(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]: ...


def prepare_value_and_gradient(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`value_and_gradient` for repeated calls; see :class:`Prepared`."""
    return prepare(GRADIENT, (0, 1), f, example_args, options)
