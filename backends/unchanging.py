"""Objects that never change, so that a prepared call need not look into them."""

import types
from enum import Enum

import numpy as np

# Objects of these types never change, and are the same where they and their types are equal.
_ATOMS = {
    str, bytes, int, bool, type(None), type(...), type(NotImplemented), range,
    types.FunctionType, types.BuiltinFunctionType, types.ModuleType, np.ufunc,
}  # fmt: skip
# Types of other objects that never change, which libraries add to: such an object is as it was.
frozen: set[type] = set()


def is_atom(value: object) -> bool:
    """Whether ``value`` can never change."""
    return type(value) in _ATOMS or isinstance(value, type | Enum | np.dtype)
