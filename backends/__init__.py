"""The backends, and what a package that brings one needs: protocol, registration, errors.

A backend is a subclass of :class:`Adapter` that is registered by :func:`register_backend` or by an
entry point of the group ``diffface.backends``. If its library has arrays of its own, it is
described by an :class:`ArrayLibrary`, registered by :func:`register_arrays`.
"""

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import ArrayLibrary, Subtree
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import (
    BackendNotAvailableError,
    CannotRecord,
    DifffaceError,
    InvalidArgumentError,
    NotDifferentiableError,
    PreparationMismatchError,
    PreparationWarning,
    SparsityError,
    UnknownBackendError,
    UnsupportedOperatorError,
)
from diffface.backends.generic import Function, Pull
from diffface.backends.libraries import library_of, register_arrays
from diffface.backends.registry import register_backend, resolve
from diffface.backends.second_order import SecondOrder

__all__ = [
    "Adapter",
    "Array",
    "ArrayLibrary",
    "Arrays",
    "BackendNotAvailableError",
    "CannotRecord",
    "Compiled",
    "DifffaceError",
    "Function",
    "InvalidArgumentError",
    "NotDifferentiableError",
    "PreparationMismatchError",
    "PreparationWarning",
    "Program",
    "Pull",
    "SecondOrder",
    "SparsityError",
    "Subtree",
    "UnknownBackendError",
    "UnsupportedOperatorError",
    "library_of",
    "register_arrays",
    "register_backend",
    "resolve",
]


def __dir__() -> list[str]:
    return sorted(__all__)
