"""Which library a value is an array of.

This file imports none of them. The library is found by the value's type, once per type.
"""

from typing import Any

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.numpy_arrays import NUMPY, NUMPY_SCALAR, PYTHON
from diffface.backends.table import ROWS, found

libraries: dict[type, ArrayLibrary | None] = {
    float: PYTHON, complex: PYTHON, int: PYTHON, bool: PYTHON, np.ndarray: NUMPY,
}  # fmt: skip
# What third parties have registered: library and namespace, by the type of array.
_registered: dict[type, tuple[ArrayLibrary, Any]] = {}


def library_of(value: object) -> ArrayLibrary | None:
    """The library that ``value`` is an array of, or None when it is no array and no number."""
    try:
        return libraries[type(value)]
    except KeyError:
        library = libraries[type(value)] = _find(value)
        return library


def register_arrays(array_type: type, library: ArrayLibrary, namespace: object) -> None:
    """Let arrays of another library come in as arguments, and go out as results.

    Parameters
    ----------
    array_type : type
        The arrays; of its subclasses, too.
    library : ArrayLibrary
        How they become NumPy arrays, and are made of those.
    namespace : module or object
        What :func:`diffface.namespace` returns for them.

    Raises
    ------
    InvalidArgumentError
        If ``array_type`` is no type, or ``library`` no ArrayLibrary.
    """
    if not isinstance(array_type, type):
        shown = type(array_type).__name__
        raise InvalidArgumentError(f"`array_type` must be a type, got {shown}.")
    if not isinstance(library, ArrayLibrary):
        shown = type(library).__name__
        raise InvalidArgumentError(f"`library` must be an ArrayLibrary object, got {shown}.")
    _registered[array_type] = library, namespace
    ArrayLibrary.in_use[type(library)] = library
    # What was met before was taken for something else.
    for known in [t for t in libraries if issubclass(t, array_type)]:
        del libraries[known]


def registered(value: object) -> tuple[ArrayLibrary, Any] | None:
    """What was registered for arrays like ``value``: their library and namespace."""
    for array_type, row in _registered.items():
        if isinstance(value, array_type):
            return row
    return None


def library_of_tree(value: object) -> ArrayLibrary | None:
    """The library in use that registers ``value`` as a tree, if there is one."""
    used = [found(row.arrays) for row in ROWS.values() if row.arrays and row.is_imported()]
    libraries = (*used, *(library for library, _ in _registered.values()))
    return next((each for each in libraries if each.subtree(value) is not None), None)


def _is_more(cls: type[np.ndarray[Any, Any]]) -> bool:
    """Whether an array of this class means more than its numbers: a mask, a unit, a product."""
    if issubclass(cls, np.ma.MaskedArray | np.matrix):
        return True
    own = ("__array_ufunc__", "__array_function__")
    return any(getattr(cls, name) is not getattr(np.ndarray, name) for name in own)


def _find(value: object) -> ArrayLibrary | None:
    if isinstance(value, np.generic):
        return NUMPY_SCALAR if isinstance(value, np.number | np.bool_) else None
    if isinstance(value, np.ndarray):
        return None if _is_more(type(value)) else NUMPY
    if (row := registered(value)) is not None:
        return row[0]
    for own in ROWS.values():
        if own.arrays and own.has(value):
            library: ArrayLibrary = found(own.arrays)
            return library
    return None
