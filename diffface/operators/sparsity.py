"""The patterns of Jacobians and Hessians, without their values."""

from collections.abc import Callable
from typing import Any, Unpack

from diffface.operators.call import backend_for
from diffface.operators.hessian import HESSIAN
from diffface.operators.jacobian import JACOBIAN
from diffface.operators.options import MatrixOptions
from diffface.sparse.pattern import Sparsity
from diffface.sparse.prepared import pattern


def jacobian_sparsity(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[MatrixOptions]
) -> Sparsity:
    """Where the Jacobian of a function may be non-zero.

    That is traced, as by ``sparsity="trace"``, unless ``sparsity`` says otherwise.

    Parameters
    ----------
    f : callable
        ``f(*args)`` returns an array or a tree of arrays ``y``.
    *args : array, number, or tree of them; Const
        Arguments of ``f``; see :func:`jacobian`.
    **options : MatrixOptions
        Those of :func:`jacobian`.

    Returns
    -------
    Sparsity
        Of shape (elements of ``y``, elements of the active arguments): results and arguments of
        several arrays are laid side by side, each in C order.

    Raises
    ------
    SparsityError
        If the structure cannot be traced, or would be dense and large.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> dif.jacobian_sparsity(lambda x: x[1:] * x[:-1], np.ones(4), backend="autograd")
    <sparsity of shape (3, 4), 6 non-zeros, forward 2>
    """
    return pattern(JACOBIAN, (1,), f, args, {"sparsity": "trace", **options}, backend_for)


def hessian_sparsity(
    f: Callable[..., Any], /, *args: Any, **options: Unpack[MatrixOptions]
) -> Sparsity:
    """Where the Hessian of a scalar function may be non-zero; see :func:`jacobian_sparsity`.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> dif.hessian_sparsity(lambda x: (x**3).sum(), np.ones(4), backend="autograd")
    <sparsity of shape (4, 4), 4 non-zeros, forward 1>
    """
    return pattern(HESSIAN, (2,), f, args, {"sparsity": "trace", **options}, backend_for)
