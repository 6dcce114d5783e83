"""Array libraries: how the arrays of one library come in and go out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.recording.names import Names


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
    constant : tuple of bool, optional
        Which leaves are constant wherever the value is an argument; none by default. A derivative
        is rebuilt with None in their places.
    static : object, optional
        What else can be seen of an argument, where equal structures may differ in it: it counts by
        its state at every call.
    """

    leaves: tuple[object, ...]
    rebuild: Callable[[Any], object]
    names: tuple[str, ...]
    constant: tuple[bool, ...] = ()
    static: object = None


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
    has_variables : bool
        Whether models may have variables of its own; see `variables`.
    asynchronous : bool
        Whether a call may return while it still reads arrays that it was given.
    index : dtype
        Which integers it indexes by at the least cost.
    """

    name: ClassVar[str]
    backend: ClassVar[str] = ""
    noun: ClassVar[str]
    writable: ClassVar[bool] = False
    has_variables: ClassVar[bool] = False
    asynchronous: ClassVar[bool] = False
    index: ClassVar[Any] = np.intp
    # The object of each class, since pickles must come out as the same: they compare by identity.
    in_use: ClassVar[dict[type, "ArrayLibrary"]] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        cls.in_use.setdefault(cls, made)
        return made

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "noun") and hasattr(cls, "name"):
            cls.noun = f"a {cls.name} array"

    @abstractmethod
    def to_numpy(self, array: Array) -> Any:
        """``array`` as a writable NumPy array; shares its memory where the library allows."""

    def read(self, array: Array) -> Any:
        """``array`` as a NumPy array that is only read from; shares its memory if it can."""
        return self.to_numpy(array)

    @abstractmethod
    def from_numpy(self, array: Any, device: Hashable) -> Array:
        """A NumPy array as an array of this library; may share memory when nothing writes to it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_class, (type(self),)

    def reduced(self, array: Array) -> tuple[Any, ...] | None:
        """What a pickle makes ``array`` of, where that goes by settings; None for its own way."""
        return None

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

    def without_variables(self) -> AbstractContextManager[object]:
        """Where no result carries derivatives with respect to variables."""
        return nullcontext()

    def is_model(self, cls: Any) -> bool:
        """Whether a tree of type ``cls`` may have variables of the caller's."""
        return False

    def variables(self, leaves: Sequence[Any]) -> dict[int, Array]:
        """By position, the variables of the caller's that ``leaves`` of a model are the values of.

        Results carry derivatives with respect to them, by `Adapter.deferred`.
        """
        return {}

    def depends(self, array: Array) -> bool:
        """False only if ``array``, from a function under way, depends on no active argument."""
        return True

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

    def table(self, shape: tuple[int, int], like: Array) -> Array | None:
        """An array for `put`, of the dtype and device of ``like``; None where there is no such."""
        return None

    def put(self, table: Array, where: tuple[slice, slice], block: Array) -> Array:
        """``table`` with ``block`` in it; the one that was given is not to be used any more."""
        table[where] = block
        return table

    def sparse(
        self, rows: Any, cols: Any, shape: tuple[int, int], layout: str | None, device: Hashable
    ) -> Callable[[Array], Any]:
        """From entries to a sparse matrix of this library; here, and by default, of SciPy's.

        ``rows`` and ``cols`` are int arrays of NumPy, sorted by rows (by columns for ``"csc"``).
        The matrices share no memory but that of the entries. ``layout`` is ``"csr"``, ``"csc"``,
        ``"coo"``, or None for what is usual.
        """
        return _scipy_matrices(rows, cols, shape, layout or "csr", self.to_numpy)

    def wait(self, array: Array) -> None:
        """Return once ``array`` is computed."""
        return

    def subtree(self, value: object) -> Subtree | None:
        """``value`` taken apart, if the library registers it as a tree."""
        return None

    def quick_leaves(self, cls: Any) -> Callable[[Any], Sequence[object] | None] | None:
        """A cheaper way to the leaves of ``subtree(value)``, ``value`` of type ``cls``, if any.

        It is a function of ``value``, which returns None where only the general way will do. The
        static part, which comes last, tells all structures apart; the other leaves are arrays that
        a compiled program may take, if they are `alike` the examples.
        """
        return None

    # Prepared calls run source that is emitted for their signature. These are its expressions;
    # an empty one says that only the general way will do.

    def follows(self, names: Names) -> str:
        """False only where there surely are no `variables`."""
        return "True"

    def untransformed(self, names: Names) -> str:
        """True only where no transformation of the caller's hides from `guard`; empty if none."""
        return ""

    def guard(self, a: str, example: Array, names: Names) -> str:
        """True only for an array like ``example`` that can be used as it is."""
        return ""

    def alike(self, a: str, example: Array, names: Names) -> str:
        """The same for a leaf of `quick_leaves`."""
        return self.guard(a, example, names)

    def as_numpy(self, a: str, names: Names) -> str:
        """A guarded array of this library as one of NumPy; may share its memory."""
        return ""

    def of_numpy(self, a: str, shape: tuple[int, ...], names: Names) -> str:
        """A fresh array of NumPy, of ``shape``, as one of this library."""
        return ""

    def convert_in(
        self, a: str, source: "ArrayLibrary", example: Array, names: Names
    ) -> tuple[str, str]:
        """An array of ``source``, guarded to be like ``example``, as one of this library.

        And a condition for that.
        """
        if source is self:
            return a, ""
        array = source.as_numpy(a, names)
        return f"{names(self.from_numpy)}({array}, None)" if array else "", ""

    def convert_out(
        self, a: str, target: "ArrayLibrary", shape: tuple[int, ...], names: Names
    ) -> str:
        """A fresh array of this library, of ``shape``, as an array of ``target``."""
        if target is self:
            return a
        return target.of_numpy(f"{names(self.to_numpy)}({a})", shape, names)


def _of_class(cls: type[ArrayLibrary]) -> ArrayLibrary:
    """The library that is of this class, for pickles."""
    return ArrayLibrary.in_use.get(cls) or cls()


def _scipy_matrices(
    rows: Any, cols: Any, shape: tuple[int, int], layout: str, to_numpy: Callable[[Any], Any]
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
