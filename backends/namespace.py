"""The array namespace that portable functions take their functions from."""

from types import FunctionType
from typing import Any

import numpy as np

from diffface.backends.libraries import library_of, registered
from diffface.backends.numpy_arrays import NUMPY
from diffface.backends.registry import computing
from diffface.backends.table import ROWS, found

_known: dict[type, Any] = {}


def namespace(*arrays: Any) -> Any:
    """The array namespace of ``arrays``, whose functions every backend differentiates.

    Parameters
    ----------
    *arrays : array or number
        Arguments of the function; the first that belongs to a framework decides, so that constants
        may be given as well.

    Returns
    -------
    module or namespace object
        ``jax.numpy``, ``array_api_compat.torch``, a differentiable namespace over
        ``autograd.numpy``, or ``numpy``. All of them follow the array API standard. Constants that
        its creation functions make have the precision of the arrays: float64 where one of them is.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> def f(x):
    ...     xp = dif.namespace(x)
    ...     return xp.sum(xp.sin(x))
    >>> dif.gradient(f, np.zeros(2), backend="autograd")
    array([1., 1.])
    """
    for array in arrays:
        kind = type(array)
        known = _known.get(kind)
        if known is None:
            known = _find(array)
            # Types that are not known yet may be registered later.
            if known is not np or library_of(array) is not None:
                _known[kind] = known
        if known is not np:
            # Some depend on more than the type.
            return known(*arrays) if isinstance(known, FunctionType) else known
    # A rule may get NumPy arrays beside what its backend is differentiating.
    adapter = computing.get()
    return np if adapter is None or adapter.arrays is not NUMPY else adapter.xp


def _find(array: Any) -> Any:
    if (row := registered(array)) is not None:
        return row[1]
    for own in ROWS.values():
        if own.has(array):
            return found(own.namespace)
    return np
