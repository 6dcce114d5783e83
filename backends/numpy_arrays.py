"""NumPy's arrays and scalars, and Python's numbers, as array libraries."""

from collections.abc import Hashable
from typing import Any

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Array, Arrays
from diffface.backends.recording.names import Names


class NumPyArrays(ArrayLibrary):
    """``numpy.ndarray``."""

    name = "numpy"
    noun = "a NumPy array"
    writable = True

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
        plain = type(array) is np.ndarray and array.dtype.isnative
        return array if plain else self.to_numpy(array)

    def fresh(self, array: Array) -> Array:
        return np.array(array, order="C")

    def table(self, shape: tuple[int, int], like: Array) -> Array | None:
        return np.empty(shape, like.dtype)

    def why_read_only(self, array: Array) -> str:
        if not array.flags.writeable:
            return "a read-only array"
        repeated = any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape, strict=True))
        return "an array whose elements share memory" if repeated else ""

    def view_for_output(self, array: Any, others: Arrays) -> Array | None:
        if type(array) is not np.ndarray or not array.flags.writeable:
            return None
        for a in others:
            if isinstance(a, np.ndarray) and np.may_share_memory(array, a):
                return None
        return array

    def guard(self, a: str, example: Array, names: Names) -> str:
        if not example.dtype.isnative or example.dtype.kind == "V":
            return ""
        dtype, shape = names(example.dtype), names(example.shape)
        return f"type({a}) is {names(np.ndarray)} and {a}.dtype is {dtype} and {a}.shape == {shape}"

    def as_numpy(self, a: str, names: Names) -> str:
        return a

    def of_numpy(self, a: str, shape: tuple[int, ...], names: Names) -> str:
        # A result of shape () may be a NumPy scalar.
        return a if shape else f"{names(np.asarray)}({a})"

    def convert_in(
        self, a: str, source: ArrayLibrary, example: Array, names: Names
    ) -> tuple[str, str]:
        return source.as_numpy(a, names), ""

    def convert_out(
        self, a: str, target: ArrayLibrary, shape: tuple[int, ...], names: Names
    ) -> str:
        return target.of_numpy(a, shape, names)


class NumPyScalars(NumPyArrays):
    """``numpy.float64(1.0)`` and the like: what NumPy's own functions return for shape ``()``."""

    name = "numpy scalar"

    def from_numpy(self, array: Any, device: Hashable) -> Array:
        return array[()] if array.ndim == 0 else array

    def guard(self, a: str, example: Array, names: Names) -> str:
        return f"type({a}) is {names(type(example))}"

    def as_numpy(self, a: str, names: Names) -> str:
        return f"{names(np.asarray)}({a})"

    def of_numpy(self, a: str, shape: tuple[int, ...], names: Names) -> str:
        return a if shape else f"{a}[()]"


class PythonScalars(NumPyScalars):
    """``float``, ``complex``, and the ``int`` and ``bool`` that have no derivative."""

    name = "python"
    noun = "a Python number"
    writable = False

    def describe(self, array: Array) -> tuple[tuple[int, ...], np.dtype[Any], Hashable]:
        return (), np.dtype(type(array)), None

    def from_numpy(self, array: Any, device: Hashable) -> Array:
        return array.item() if array.ndim == 0 else array

    def of_numpy(self, a: str, shape: tuple[int, ...], names: Names) -> str:
        return a if shape else f"{a}.item()"


NUMPY = NumPyArrays()
NUMPY_SCALAR = NumPyScalars()
PYTHON = PythonScalars()
