"""Jacobians."""

from collections.abc import Callable
from typing import Any, Unpack, overload

from numpy.typing import NDArray

from diffface.backends.compiled import Arrays
from diffface.operators.calculus import jacobian as derive_jacobian
from diffface.operators.call import call, prepare_matrix
from diffface.operators.options import (
    Array,
    BareMatrixOptions,
    BarePrepareMatrixOptions,
    HasShape,
    MatrixOptions,
    Module,
    PrepareDenseOptions,
    PrepareOptions,
)
from diffface.prep.arguments.const import Const
from diffface.prep.operator import Operator, Part, Point
from diffface.prep.prepared import Prepared
from diffface.sparse.prepared import SparsePrepared


def _derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
    mode, holomorphic = at.settings.mode, at.settings.holomorphic
    y, blocks, aux = derive_jacobian(at.adapter, at.f, at, mode, holomorphic)
    return (y, blocks), aux


JACOBIAN = Operator(
    {(1,): "jacobian", (0, 1): "value_and_jacobian"},
    _derive,
    (Part.VALUE, Part.Y_BY_X),
    complex_arguments=False,
    keywords=MatrixOptions.__optional_keys__,
)


@overload
def jacobian(
    f: Callable[..., HasShape],
    x: NDArray[Any],
    /,
    *constants: Const[Any],
    **options: Unpack[BareMatrixOptions],
) -> NDArray[Any]: ...


@overload
def jacobian(
    f: Callable[..., Any],
    x: Module,
    /,
    *constants: Const[Any],
    **options: Unpack[BareMatrixOptions],
) -> dict[str, Any]: ...


@overload
def jacobian(
    f: Callable[..., HasShape],
    x: Array,
    /,
    *constants: Const[Any],
    **options: Unpack[BareMatrixOptions],
) -> Array: ...


@overload
def jacobian(f: Callable[..., Any], /, *args: Any, **options: Unpack[MatrixOptions]) -> Any: ...


def jacobian(f: Callable[..., Any], /, *args: Any, **options: Unpack[MatrixOptions]) -> Any:
    """Jacobian of a function with respect to its active arguments.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns an array or a tree of arrays ``y``.
    *args : array, number, or tree of them; Const
        Arguments of ``f``. Those not wrapped in ``Const`` are active and must be floating-point.
    **options : MatrixOptions
        ``backend``, ``argnums``, ``has_aux``, ``kwargs``, ``out``, ``mode``, ``chunk_size``,
        ``holomorphic``, ``sparsity``, ``format``, ``check``.

    Returns
    -------
    tree of arrays
        The tree of ``y``, with the tree of the active arguments in place of each leaf; the array
        for an output leaf ``y`` and an input leaf ``x`` has shape ``y.shape + x.shape`` and the
        dtype of ``x`` (complex, if ``y`` is). With ``has_aux``, ``(jacobian, aux)``.

    Raises
    ------
    NotDifferentiableError
        If an active argument has integers, or is complex without ``holomorphic=True``.
    UnsupportedOperatorError
        If the backend lacks the ``mode`` asked for.

    Notes
    -----
    By columns (``mode="forward"``) it takes one pushforward per input, by rows
    (``mode="reverse"``) one pullback per output; ``"auto"`` takes the fewer. See A. Griewank and
    A. Walther, Evaluating Derivatives, 2nd ed., SIAM 2008, sections 3.1 and 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> dif.jacobian(lambda x: x[:2] * x[2], np.array([1.0, 2.0, 3.0]), backend="autograd")
    array([[3., 0., 1.],
           [0., 3., 2.]])
    """
    return call(JACOBIAN, (1,), f, args, options)


@overload
def value_and_jacobian(
    f: Callable[..., HasShape],
    x: NDArray[Any],
    /,
    *constants: Const[Any],
    **options: Unpack[BareMatrixOptions],
) -> tuple[Any, NDArray[Any]]: ...


@overload
def value_and_jacobian(
    f: Callable[..., Any],
    x: Module,
    /,
    *constants: Const[Any],
    **options: Unpack[BareMatrixOptions],
) -> tuple[Any, dict[str, Any]]: ...


@overload
def value_and_jacobian(
    f: Callable[..., HasShape],
    x: Array,
    /,
    *constants: Const[Any],
    **options: Unpack[BareMatrixOptions],
) -> tuple[Any, Array]: ...


@overload
def value_and_jacobian(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[MatrixOptions]
) -> Any: ...


def value_and_jacobian(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[MatrixOptions]
) -> Any:
    """``(f(*args), jacobian)``, sharing the work; see :func:`jacobian`."""
    return call(JACOBIAN, (0, 1), f, args, options)


@overload
def prepare_jacobian(
    f: Callable[..., HasShape],
    x: NDArray[Any],
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[NDArray[Any]]: ...


@overload
def prepare_jacobian(
    f: Callable[..., Any],
    x: Module,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[dict[str, Any]]: ...


@overload
def prepare_jacobian(
    f: Callable[..., HasShape],
    x: Array,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[Array]: ...


@overload
def prepare_jacobian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareDenseOptions]
) -> Prepared[Any]: ...


@overload
def prepare_jacobian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> SparsePrepared: ...


def prepare_jacobian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any] | SparsePrepared:
    """Prepare :func:`jacobian` for repeated calls; see :class:`Prepared`."""
    return prepare_matrix(JACOBIAN, (1,), f, example_args, options)


@overload
def prepare_value_and_jacobian(
    f: Callable[..., HasShape],
    x: NDArray[Any],
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[tuple[Any, NDArray[Any]]]: ...


@overload
def prepare_value_and_jacobian(
    f: Callable[..., Any],
    x: Module,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[tuple[Any, dict[str, Any]]]: ...


@overload
def prepare_value_and_jacobian(
    f: Callable[..., HasShape],
    x: Array,
    /,
    *constants: Const[Any],
    **options: Unpack[BarePrepareMatrixOptions],
) -> Prepared[tuple[Any, Array]]: ...


@overload
def prepare_value_and_jacobian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareDenseOptions]
) -> Prepared[Any]: ...


@overload
def prepare_value_and_jacobian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> SparsePrepared: ...


def prepare_value_and_jacobian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any] | SparsePrepared:
    """Prepare :func:`value_and_jacobian` for repeated calls; see :class:`Prepared`."""
    return prepare_matrix(JACOBIAN, (0, 1), f, example_args, options)
