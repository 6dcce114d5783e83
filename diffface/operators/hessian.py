"""Hessians of scalar functions."""

from collections.abc import Callable
from typing import Any, Unpack, overload

from numpy.typing import NDArray

from diffface.backends.compiled import Arrays
from diffface.operators.calculus import gradient_function, jacobian
from diffface.operators.call import call, prepare_matrix
from diffface.operators.options import (
    Array,
    BareMatrixOptions,
    BarePrepareMatrixOptions,
    MatrixOptions,
    PrepareDenseOptions,
    PrepareOptions,
    Scalar,
)
from diffface.prep.arguments.const import Const
from diffface.prep.operator import Operator, Part, Point
from diffface.prep.prepared import Prepared
from diffface.sparse.prepared import SparsePrepared


def _derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
    mode = "forward" if at.settings.mode == "auto" and at.outer.forward else at.settings.mode
    dx, blocks, rest = jacobian(at.outer, gradient_function(at), at, mode)
    return (rest[:1], dx, blocks), rest[1:]


HESSIAN = Operator(
    {(2,): "hessian", (0, 1, 2): "value_gradient_and_hessian"},
    _derive,
    (Part.VALUE, Part.LIKE_X, Part.X_BY_X),
    order=2,
    scalar=True,
    complex_arguments=False,
    keywords=MatrixOptions.__optional_keys__ - {"holomorphic"},
)


@overload
def hessian(
    f: Callable[..., Any],
    x: NDArray[Scalar],
    /,
    *constants: Const[Any],
    **options: Unpack[BareMatrixOptions],
) -> NDArray[Scalar]: ...


@overload
def hessian(
    f: Callable[..., Any], x: float, /, *constants: Const[Any], **options: Unpack[BareMatrixOptions]
) -> float: ...


@overload
def hessian(
    f: Callable[..., Any], x: Array, /, *constants: Const[Any], **options: Unpack[BareMatrixOptions]
) -> Array: ...


@overload
def hessian(f: Callable[..., Any], /, *args: Any, **options: Unpack[MatrixOptions]) -> Any: ...


def hessian(f: Callable[..., Any], /, *args: Any, **options: Unpack[MatrixOptions]) -> Any:
    """Hessian of a scalar function with respect to its active arguments.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns one real number (shape ``()``).
    *args : array, number, or tree of them; Const
        Arguments of ``f``. Those not wrapped in ``Const`` are active and must be floating-point.
    **options : MatrixOptions
        ``backend``, ``argnums``, ``has_aux``, ``kwargs``, ``out``, ``mode``, ``chunk_size``,
        ``sparsity``, ``format``, ``check``.

    Returns
    -------
    array or tree of trees of arrays
        Shape ``x.shape + x.shape`` for one array. A tree gives its tree of its trees, several
        active arguments a tuple of tuples: ``H[i][j]`` has shape ``x_i.shape + x_j.shape``. With
        ``has_aux``, ``(hessian, aux)``.

    Raises
    ------
    NotDifferentiableError
        If an active argument has integers or is complex, or ``f`` does not return one real number.
    UnsupportedOperatorError
        If the backend lacks the ``mode`` asked for.

    Notes
    -----
    Columns are directional derivatives of the gradient. ``mode="auto"`` and ``"forward"`` push
    tangents forward through it (forward over reverse, where the backend has both),
    ``"reverse"`` pulls cotangents back.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> dif.hessian(lambda x: x[0] ** 2 * x[1], np.array([1.0, 2.0]), backend="autograd")
    array([[4., 2.],
           [2., 0.]])
    """
    return call(HESSIAN, (2,), f, args, options)


@overload
def value_gradient_and_hessian(
    f: Callable[..., Any],
    x: NDArray[Scalar],
    /,
    *constants: Const[Any],
    **options: Unpack[BareMatrixOptions],
) -> tuple[Any, NDArray[Scalar], NDArray[Scalar]]: ...


@overload
def value_gradient_and_hessian(
    f: Callable[..., Any], x: float, /, *constants: Const[Any], **options: Unpack[BareMatrixOptions]
) -> tuple[Any, float, float]: ...


@overload
def value_gradient_and_hessian(
    f: Callable[..., Any], x: Array, /, *constants: Const[Any], **options: Unpack[BareMatrixOptions]
) -> tuple[Any, Array, Array]: ...


@overload
def value_gradient_and_hessian(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[MatrixOptions]
) -> Any: ...


def value_gradient_and_hessian(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[MatrixOptions]
) -> Any:
    """``(f(*args), gradient, hessian)``, sharing the work; see :func:`hessian`."""
    return call(HESSIAN, (0, 1, 2), f, args, options)


@overload
def prepare_hessian(
    f: Callable[..., Any],
    x: NDArray[Scalar],
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[NDArray[Scalar]]: ...


@overload
def prepare_hessian(
    f: Callable[..., Any],
    x: float,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[float]: ...


@overload
def prepare_hessian(
    f: Callable[..., Any],
    x: Array,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[Array]: ...


@overload
def prepare_hessian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareDenseOptions]
) -> Prepared[Any]: ...


@overload
def prepare_hessian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> SparsePrepared: ...


def prepare_hessian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any] | SparsePrepared:
    """Prepare :func:`hessian` for repeated calls; see :class:`Prepared`."""
    return prepare_matrix(HESSIAN, (2,), f, example_args, options)


@overload
def prepare_value_gradient_and_hessian(
    f: Callable[..., Any],
    x: NDArray[Scalar],
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[tuple[Any, NDArray[Scalar], NDArray[Scalar]]]: ...


@overload
def prepare_value_gradient_and_hessian(
    f: Callable[..., Any],
    x: float,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[tuple[Any, float, float]]: ...


@overload
def prepare_value_gradient_and_hessian(
    f: Callable[..., Any],
    x: Array,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[tuple[Any, Array, Array]]: ...


@overload
def prepare_value_gradient_and_hessian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareDenseOptions]
) -> Prepared[Any]: ...


@overload
def prepare_value_gradient_and_hessian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> SparsePrepared: ...


def prepare_value_gradient_and_hessian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any] | SparsePrepared:
    """Prepare :func:`value_gradient_and_hessian` for repeated calls; see :class:`Prepared`."""
    return prepare_matrix(HESSIAN, (0, 1, 2), f, example_args, options)
