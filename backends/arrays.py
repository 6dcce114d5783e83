"""Array kinds: how the arrays of one library come in and go out.

This file knows no library. A kind is found by the type of a value, once per type.
"""

import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, ClassVar

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.recording.names import Names


class ArrayLibrary(ABC):
    """The arrays of one library, as the other libraries need to see them.

    Laws
    ----
    * ``to_numpy(from_numpy(a, d))`` equals ``a`` in value, shape and dtype.
    * ``fresh(a)`` equals ``a``, is C-contiguous and shares memory with nothing the caller holds.
    * ``describe(a)`` is equal for two arrays exactly when a compiled program may take either.
    """

    name: ClassVar[str]
    # The backend that `backend=None` takes for arrays of this kind; empty for the default.
    backend: ClassVar[str]
    # What messages call one of them.
    noun: ClassVar[str]
    # Whether results of this kind can be written into an array of the caller's.
    writable: ClassVar[bool]
    # Whether a call may return while it still reads arrays that it was given.
    asynchronous: ClassVar[bool]

    @abstractmethod
    def describe(self, array: Array) -> tuple[tuple[int, ...], np.dtype[Any], Hashable]:
        """Shape, dtype (as NumPy calls it) and device of ``array``."""

    def place(self, device: Hashable) -> str:
        """``device`` as messages show it."""
        return str(device)

    @abstractmethod
    def takes(self, dtype: np.dtype[Any]) -> bool:
        """Whether arrays of other kinds that have ``dtype`` can become arrays of this kind."""

    @abstractmethod
    def to_numpy(self, array: Array) -> Any:
        """``array`` as a writable NumPy array; shares its memory where the library allows."""

    @abstractmethod
    def from_numpy(self, array: Any, device: Hashable) -> Array:
        """A NumPy array as an array of this kind; may share memory when nothing writes to it."""

    @abstractmethod
    def detach(self, array: Array) -> Array:
        """``array`` cut off from any derivative the caller is computing with it."""

    @abstractmethod
    def fresh(self, array: Array) -> Array:
        """A C-contiguous copy of ``array`` (or itself, where arrays are immutable)."""

    def why_read_only(self, array: Array) -> str:
        """What ``array`` is, in words, if results cannot be written to it; else empty."""
        return ""

    def view_for_output(self, array: Any, others: Arrays) -> Array | None:
        """An array of this kind in the memory of ``array``, for a program to write a result to.

        None where it may not, since it still reads ``others`` later, or where it cannot.
        """
        return None

    def wait(self, array: Array) -> None:
        """Return once ``array`` is computed."""
        return

    # Prepared calls run source that is emitted for their signature. These are its expressions;
    # an empty one says that only the general way will do.

    @abstractmethod
    def guard(self, a: str, example: Array, names: Names) -> str:
        """True only for an array like ``example`` that can be used as it is."""

    @abstractmethod
    def convert_in(self, a: str, source: "ArrayLibrary", names: Names) -> tuple[str, str]:
        """A guarded array of ``source`` as an array of this kind, and a condition for that."""

    @abstractmethod
    def convert_out(
        self, a: str, target: "ArrayLibrary", shape: tuple[int, ...], names: Names
    ) -> str:
        """A fresh array of this kind, of ``shape``, as an array of ``target``."""


class NumPyArrays(ArrayLibrary):
    """``numpy.ndarray``."""

    name = "numpy"
    backend = ""
    noun = "a NumPy array"
    writable = True
    asynchronous = False

    def describe(self, array: Array) -> tuple[tuple[int, ...], np.dtype[Any], Hashable]:
        dtype = array.dtype
        return array.shape, dtype if dtype.isnative else dtype.newbyteorder("="), None

    def takes(self, dtype: np.dtype[Any]) -> bool:
        return dtype.kind != "V"

    def to_numpy(self, array: Array) -> Any:
        plain = np.asarray(array)
        return plain if plain.dtype.isnative else plain.astype(plain.dtype.newbyteorder("="))

    def from_numpy(self, array: Any, device: Hashable) -> Array:
        return np.asarray(array)

    def detach(self, array: Array) -> Array:
        return array if array.dtype.isnative else self.to_numpy(array)

    def fresh(self, array: Array) -> Array:
        return np.array(array, order="C")

    def why_read_only(self, array: Array) -> str:
        return "" if array.flags.writeable else "a read-only array"

    def view_for_output(self, array: Any, others: Arrays) -> Array | None:
        if type(array) is not np.ndarray or not array.flags.writeable:
            return None
        for a in others:
            if isinstance(a, np.ndarray) and np.may_share_memory(array, a):
                return None
        return array

    def guard(self, a: str, example: Array, names: Names) -> str:
        if not example.dtype.isnative:
            return ""
        dtype, shape = names(example.dtype), names(example.shape)
        return f"type({a}) is {names(np.ndarray)} and {a}.dtype is {dtype} and {a}.shape == {shape}"

    def convert_in(self, a: str, source: ArrayLibrary, names: Names) -> tuple[str, str]:
        if source is NUMPY:
            return a, ""
        return (f"{names(np.asarray)}({a})" if source in (NUMPY_SCALAR, PYTHON) else ""), ""

    def convert_out(
        self, a: str, target: ArrayLibrary, shape: tuple[int, ...], names: Names
    ) -> str:
        # A result of shape () may be a NumPy scalar.
        if target is NUMPY:
            return a if shape else f"{names(np.asarray)}({a})"
        if target is NUMPY_SCALAR:
            return a if shape else f"{a}[()]"
        return (a if shape else f"{a}.item()") if target is PYTHON else ""


class NumPyScalars(NumPyArrays):
    """``numpy.float64(1.0)`` and the like: what NumPy's own functions return for shape ``()``."""

    name = "numpy scalar"

    def from_numpy(self, array: Any, device: Hashable) -> Array:
        return array[()] if array.ndim == 0 else array

    def guard(self, a: str, example: Array, names: Names) -> str:
        return f"type({a}) is {names(type(example))}"


class PythonScalars(NumPyArrays):
    """``float``, ``complex``, and the ``int`` and ``bool`` that have no derivative."""

    name = "python"
    noun = "a Python number"
    writable = False

    def describe(self, array: Array) -> tuple[tuple[int, ...], np.dtype[Any], Hashable]:
        return (), np.dtype(type(array)), None

    def from_numpy(self, array: Any, device: Hashable) -> Array:
        return array.item() if array.ndim == 0 else array

    def guard(self, a: str, example: Array, names: Names) -> str:
        return f"type({a}) is {names(type(example))}"


NUMPY = NumPyArrays()
NUMPY_SCALAR = NumPyScalars()
PYTHON = PythonScalars()

_kinds: dict[type, ArrayLibrary | None] = {
    float: PYTHON, complex: PYTHON, int: PYTHON, bool: PYTHON, np.ndarray: NUMPY,
}  # fmt: skip
# Which type of which library belongs to the kind at "module:attribute", imported when first met.
_libraries: dict[tuple[str, str], str] = {
    ("jax", "Array"): "diffface.backends.jax.arrays:JAX_ARRAYS",
    ("torch", "Tensor"): "diffface.backends.torch.arrays:TORCH",
}


def library_of(value: object) -> ArrayLibrary | None:
    """The kind that owns ``value``, or None when it is no array and no number."""
    try:
        return _kinds[type(value)]
    except KeyError:
        found = _kinds[type(value)] = _find(value)
        return found


def _find(value: object) -> ArrayLibrary | None:
    if isinstance(value, np.generic):
        return NUMPY_SCALAR if isinstance(value, np.number | np.bool_) else None
    if isinstance(value, np.ndarray):
        return NUMPY
    for (library, name), where in _libraries.items():
        # A value of a library's type means that the library is imported (or about to be).
        if isinstance(value, getattr(sys.modules.get(library), name, ())):
            module, attribute = where.split(":")
            kind: ArrayLibrary = getattr(importlib.import_module(module), attribute)
            return kind
    return None
