"""The array namespace that portable functions take their functions from."""

import importlib
import sys
from typing import Any

import numpy as np

# First match wins: (library, type, module that holds the namespace, attribute in it).
_NAMESPACES = (
    ("autograd.tracer", "Box", "diffface.backends.autograd.namespace.namespace", "namespace"),
    ("jax", "Array", "jax.numpy", ""),
    ("torch", "Tensor", "array_api_compat.torch", ""),
)

_found: dict[type, Any] = {}


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
        ``autograd.numpy``, or ``numpy``. All of them follow the array API standard.

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
        found = _found.get(kind)
        if found is None:
            found = _found[kind] = _find(array)
        if found is not np:
            return found
    return np


def _find(array: Any) -> Any:
    for library, name, module, attribute in _NAMESPACES:
        if isinstance(array, getattr(sys.modules.get(library), name, ())):
            found = importlib.import_module(module)
            return getattr(found, attribute) if attribute else found
    return np
