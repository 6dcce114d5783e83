"""Hessian-vector products."""

from collections.abc import Callable
from typing import Any, Unpack, overload

from diffface.backends.compiled import Arrays
from diffface.operators.calculus import gradient_function, push
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
    dx, hv, rest = push(at.outer, gradient_function(at), at)
    return (rest[:1], dx, hv), rest[1:]


HVP = Operator(
    {(2,): "hvp", (1, 2): "gradient_and_hvp"},
    _derive,
    (Part.VALUE, Part.LIKE_X, Part.LIKE_X),
    order=2,
    seeds=Seeds.TANGENTS,
    scalar=True,
    complex_arguments=False,
    keywords=SeededOptions.__optional_keys__,
)


@overload
def hvp(
    f: Callable[..., Any],
    x: Argument,
    /,
    *constants: Const[Any],
    tangents: Any,
    **options: Unpack[BareOptions],
) -> Argument: ...


@overload
def hvp(
    f: Callable[..., Any], /, *args: Any, tangents: Any, **options: Unpack[SeededOptions]
) -> Any: ...


def hvp(
    f: Callable[..., Any], /, *args: Any, tangents: Any, **options: Unpack[SeededOptions]
) -> Any:
    """Hessian-vector product of a scalar function, without the Hessian.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns one real number (shape ``()``).
    *args : array, number, or tree of them; Const
        Arguments of ``f``. Those not wrapped in ``Const`` are active and must be floating-point.
    tangents : tree of arrays
        Like the active argument (a tuple with one entry for each, if there are several); with
        ``batched``, every leaf has one leading axis more.
    **options : SeededOptions
        ``backend``, ``argnums``, ``has_aux``, ``kwargs``, ``out``, ``batched``, ``chunk_size``.

    Returns
    -------
    tree of arrays
        ``H v``, like ``tangents``. With ``has_aux``, ``(H v, aux)``.

    Raises
    ------
    NotDifferentiableError
        If an active argument has integers or is complex, or ``f`` does not return one real number.
    InvalidArgumentError
        If ``tangents`` do not fit the active arguments.

    Notes
    -----
    The directional derivative of the gradient, forward over reverse where the backend has both:
    B. A. Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6 (1994),
    147-160.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> x, v = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    >>> dif.hvp(lambda x: x[0] ** 2 * x[1], x, tangents=v, backend="autograd")
    array([4., 2.])
    """
    return call(HVP, (2,), f, args, options, tangents)


@overload
def gradient_and_hvp(
    f: Callable[..., Any],
    x: Argument,
    /,
    *constants: Const[Any],
    tangents: Any,
    **options: Unpack[BareOptions],
) -> tuple[Argument, Argument]: ...


@overload
def gradient_and_hvp(
    f: Callable[..., Any], /, *args: Any, tangents: Any, **options: Unpack[SeededOptions]
) -> Any: ...


def gradient_and_hvp(
    f: Callable[..., Any], /, *args: Any, tangents: Any, **options: Unpack[SeededOptions]
) -> Any:
    """``(gradient, H v)``, sharing the work; see :func:`hvp`."""
    return call(HVP, (1, 2), f, args, options, tangents)


@overload
def prepare_hvp(
    f: Callable[..., Any],
    x: Argument,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareOptions],
) -> Prepared[Argument]: ...


@overload
def prepare_hvp(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]: ...


def prepare_hvp(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`hvp` for repeated calls; see :class:`Prepared`."""
    return prepare(HVP, (2,), f, example_args, options)


@overload
def prepare_gradient_and_hvp(
    f: Callable[..., Any],
    x: Argument,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareOptions],
) -> Prepared[tuple[Argument, Argument]]: ...


@overload
def prepare_gradient_and_hvp(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]: ...


def prepare_gradient_and_hvp(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare :func:`gradient_and_hvp` for repeated calls; see :class:`Prepared`."""
    return prepare(HVP, (1, 2), f, example_args, options)
