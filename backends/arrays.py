"""Array libraries: how the arrays of one library come in and go out.

This file imports no library. That of a value is found by the value's type, once per type.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.recording.names import Names
from diffface.backends.table import ROWS, found


class Subtree(NamedTuple):
    """A value that a library registers as a tree.

    Attributes
    ----------
    leaves : tuple
        What is in it.
    rebuild : callable
        ``rebuild(leaves)`` is such a value again; equal for equal structures.
    names : tuple of str
        How each leaf is written after the name of the value: ``.weight``, ``['a'][0]``.
    """

    leaves: tuple[object, ...]
    rebuild: Callable[[Any], object]
    names: tuple[str, ...]


class ArrayLibrary(ABC):
    """The arrays of one library, as the other libraries need to see them.

    A subclass must say three things: its `name`, `to_numpy` and `from_numpy`. The defaults of all
    else are right for arrays with a ``shape`` and a NumPy ``dtype``.

    Laws
    ----
    * ``to_numpy(from_numpy(a, d))`` equals ``a`` in value, shape and dtype.
    * ``fresh(a)`` equals ``a``, is C-contiguous and shares memory with nothing the caller holds.
    * ``describe(a)`` is equal for two arrays exactly when a compiled program may take either.

    Attributes
    ----------
    name : str
        What representations of signatures call it.
    backend : str
        The backend that ``backend=None`` takes for its arrays; empty for the default.
    noun : str
        What messages call one of its arrays.
    writable : bool
        Whether results can be written into an array of the caller's.
    asynchronous : bool
        Whether a call may return while it still reads arrays that it was given.
    """

    name: ClassVar[str]
    backend: ClassVar[str] = ""
    noun: ClassVar[str]
    writable: ClassVar[bool] = False
    asynchronous: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "noun") and hasattr(cls, "name"):
            cls.noun = f"a {cls.name} array"

    @abstractmethod
    def to_numpy(self, array: Array) -> Any:
        """``array`` as a writable NumPy array; shares its memory where the library allows."""

    @abstractmethod
    def from_numpy(self, array: Any, device: Hashable) -> Array:
        """A NumPy array as an array of this library; may share memory when nothing writes to it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_class, (type(self),)

    def describe(self, array: Array) -> tuple[tuple[int, ...], np.dtype[Any], Hashable]:
        """Shape, dtype (as NumPy calls it) and device of ``array``."""
        return tuple(array.shape), np.dtype(array.dtype), None

    def place(self, device: Hashable) -> str:
        """``device`` as messages show it."""
        return str(device)

    def takes(self, dtype: np.dtype[Any]) -> bool:
        """Whether arrays of other libraries that have ``dtype`` can become arrays of this one."""
        return dtype.kind in "biufc"

    def detach(self, array: Array) -> Array:
        """``array`` cut off from any derivative the caller is computing with it."""
        return self.fresh(array)

    def is_traced(self, array: Array) -> bool:
        """Whether ``array`` carries a derivative of the caller's, or stands for values to come.

        Such arrays are not detached, copied or given to programs.
        """
        return False

    def traced(self, array: Array) -> Array:
        """A traced array as adapters take it."""
        return array

    def fresh(self, array: Array) -> Array:
        """A C-contiguous copy of ``array`` (or itself, where arrays are immutable)."""
        _, _, device = self.describe(array)
        return self.from_numpy(np.array(self.to_numpy(array), order="C"), device)

    def why_read_only(self, array: Array) -> str:
        """What ``array`` is, in words, if results cannot be written to it; else empty."""
        return ""

    def overlap(self, array: Array, other: Array) -> bool:
        """Whether two arrays that can be written to have an element in common."""
        return bool(np.shares_memory(self.to_numpy(array), self.to_numpy(other)))

    def view_for_output(self, array: Any, others: Arrays) -> Array | None:
        """An array of this library in the memory of ``array``, for a program to write a result to.

        None where it may not, since it still reads ``others`` later, or where it cannot.
        """
        return None

    def sparse(
        self,
        rows: Any,
        cols: Any,
        shape: tuple[int, int],
        layout: str | None,
        device: Hashable,
    ) -> Callable[[Array], Any]:
        """From entries to a sparse matrix of this library; here, and by default, of SciPy's.

        ``rows`` and ``cols`` are int arrays of NumPy, sorted by rows (by columns for ``"csc"``).
        The matrices share no memory but that of the entries. ``layout`` is ``"csr"``, ``"csc"``,
        ``"coo"``, or None for what is usual.
        """
        return scipy_matrices(rows, cols, shape, layout or "csr", self.to_numpy)

    def wait(self, array: Array) -> None:
        """Return once ``array`` is computed."""
        return

    def subtree(self, value: object) -> Subtree | None:
        """``value`` taken apart, if the library registers it as a tree."""
        return None

    # Prepared calls run source that is emitted for their signature. These are its expressions;
    # an empty one says that only the general way will do.

    def untransformed(self, names: Names) -> str:
        """True only where no transformation of the caller's hides from `guard`; empty if none."""
        return ""

    def guard(self, a: str, example: Array, names: Names) -> str:
        """True only for an array like ``example`` that can be used as it is."""
        return ""

    def convert_in(self, a: str, source: "ArrayLibrary", names: Names) -> tuple[str, str]:
        """A guarded array of ``source`` as one of this library, and a condition for that."""
        if source is self:
            return a, ""
        array, condition = NUMPY.convert_in(a, source, names)
        return f"{names(self.from_numpy)}({array}, None)" if array else "", condition

    def convert_out(
        self, a: str, target: "ArrayLibrary", shape: tuple[int, ...], names: Names
    ) -> str:
        """A fresh array of this library, of ``shape``, as an array of ``target``."""
        if target is self:
            return a
        return NUMPY.convert_out(f"{names(self.to_numpy)}({a})", target, shape, names)


def scipy_matrices(
    rows: Any,
    cols: Any,
    shape: tuple[int, int],
    layout: str,
    to_numpy: Callable[[Any], Any],
) -> Callable[[Any], Any]:
    """From entries to a ``csr_array``, ``csc_array`` or ``coo_array`` of ``scipy.sparse``."""
    import scipy.sparse as sp

    m, n = shape
    # SciPy's solvers of linear equations take 32 bits alone.
    index = np.int32 if max(m, n, len(rows)) < 2**31 else np.int64
    rows, cols = rows.astype(index), cols.astype(index)
    if layout == "coo":
        return lambda data: sp.coo_array((to_numpy(data), (rows.copy(), cols.copy())), shape)
    outer, inner, length = (rows, cols, m) if layout == "csr" else (cols, rows, n)
    ends = np.searchsorted(outer, np.arange(length + 1)).astype(index)
    kind = sp.csr_array if layout == "csr" else sp.csc_array

    def build(data: Any) -> Any:
        # Copies, since methods like eliminate_zeros write to them.
        matrix = kind((to_numpy(data), inner.copy(), ends.copy()), shape)
        matrix.has_canonical_format = True
        return matrix

    return build


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
        return array if array.dtype.isnative else self.to_numpy(array)

    def fresh(self, array: Array) -> Array:
        return np.array(array, order="C")

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
    # What was met before was taken for something else.
    for known in [t for t in libraries if issubclass(t, array_type)]:
        del libraries[known]


def registered(value: object) -> tuple[ArrayLibrary, Any] | None:
    """What was registered for arrays like ``value``: their library and namespace."""
    for array_type, row in _registered.items():
        if isinstance(value, array_type):
            return row
    return None


def subtree_of(value: object) -> Subtree | None:
    """``value`` taken apart, if any library in use registers it as a tree."""
    used = [found(row.arrays) for row in ROWS.values() if row.arrays and row.is_imported()]
    for library in (*used, *(library for library, _ in _registered.values())):
        children = library.subtree(value)
        if children is not None:
            return children  # type: ignore[no-any-return]
    return None


def _of_class(cls: type[ArrayLibrary]) -> ArrayLibrary:
    """The library in use that is of this class, for pickles: others compare by identity."""
    candidates = [library for library, _ in _registered.values()]
    candidates += vars(sys.modules[cls.__module__]).values()
    return next((library for library in candidates if type(library) is cls), None) or cls()


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
