"""An array without values that knows which inputs each of its elements depends on.

NumPy functions that are given one return one: they are dispatched through NumPy's own protocols.
Functions that only move elements about run on arrays of positions, others are known by name, and
what is not known makes everything depend on everything. A look at values is refused.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Maybe
from diffface.backends.recording.index_sets.elements import NOTHING, Elements, position, united
from diffface.backends.recording.index_sets.functions import BY_NAME, KEYWORDS
from diffface.backends.recording.index_sets.hidden import (
    ValuesNeededError,
    by_values,
    here,
    leaves,
    refuse,
    unknown,
)
from diffface.backends.recording.index_sets.ufuncs import cumulated, elementwise, matmul, reduced
from diffface.backends.recording.report import Report

# Methods of arrays that change them.
WRITING = dep.words("put resize itemset setfield partition")


class IndexSets(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of sets of inputs.

    Parameters
    ----------
    shape : tuple of int
    deps : Dependence or None
        What its elements depend on; None for nothing.
    report : Report
        Where operations that are not known are noted.
    dtype : numpy.dtype
        Of the array that it stands for.
    """

    __array_priority__ = 1e6
    # What an adapter that lifts results knows it by.
    is_index_sets = True

    def __init__(self, shape: Any, deps: Maybe, report: Report, dtype: Any = float) -> None:
        self._shape = tuple(shape)
        self.report = report
        self.dtype = np.dtype(dtype)
        self._elements = Elements(self._shape, deps, report.inputs)
        # Of a view: whose elements they are, at which positions, and as of which dependence.
        self._base: IndexSets | None = None
        self._at: Any = None
        self._seen: object = self
        self._viewed = False

    @property
    def deps(self) -> Maybe:
        """What its elements depend on."""
        base = self._base
        if base is None:
            return self._elements.whole
        if self.size <= dep.FEW:
            return self._elements.rows([base._elements[k] for k in self._at.flat], self.shape)
        whole = base._elements.whole
        if self._seen is not whole:
            self._elements.whole = dep.select([(whole, base.size)], self._at)
            self._seen = whole
        return self._elements.whole

    @deps.setter
    def deps(self, deps: Maybe) -> None:
        base = self._base
        if base is not None:
            # Whether NumPy would have made a view or a copy, nothing is lost.
            elements = base._elements
            elements.whole = dep.scatter(
                elements.whole, deps, self._at, base.shape, overwrite=False
            )
        elif self._viewed:
            self._elements.whole = dep.union([self._elements.whole, deps], self.shape)
        else:
            self._elements.whole = deps

    def element(self, position: int = 0) -> Any:
        """The inputs that one element depends on."""
        if self._base is not None:
            return self._base._elements[int(self._at.flat[position])]
        return self._elements[position]

    def set_element(self, position: int, columns: Any, overwrite: bool) -> None:
        """Write one element; what it depended on before is kept where a view may see it."""
        base = self if self._base is None else self._base
        at = position if base is self else int(self._at.flat[position])
        if base._viewed or not overwrite:
            columns = united(base._elements[at], columns)
        base._elements[at] = columns

    def of_columns(self, columns: Any, dtype: Any = None) -> "IndexSets":
        """A number that depends on these inputs."""
        found = self.new((), None, dtype)
        found._elements[0] = columns
        return found

    shape = property(lambda self: self._shape)
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: prod(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.dtype.itemsize)
    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))  # noqa: N815 - NumPy's name
    real = property(lambda self: np.real(self))
    imag = property(lambda self: np.imag(self))
    flat = property(lambda self: np.ravel(self))

    __bool__ = refuse("a branch depends on a value")
    __float__ = __complex__ = item = refuse("a value was turned into a Python number")
    __int__ = __index__ = refuse("a value was turned into a Python integer")
    __array__ = refuse("values were written into an array of NumPy, or read by other code")
    tolist = tobytes = refuse("values were turned into Python objects")
    nonzero = refuse("a shape depends on values")
    __hash__ = None  # type: ignore[assignment]  # as that of an array

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        raise ValuesNeededError("an array was turned into text")

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        raise ValuesNeededError("an array was turned into text")

    def new(self, shape: Any, deps: Maybe, dtype: Any = None) -> "IndexSets":
        return IndexSets(shape, deps, self.report, self.dtype if dtype is None else dtype)

    def view(self, positions: Any, dtype: Any = None) -> "IndexSets":
        """An array of these elements of it; what is written to one of the two is in both."""
        found = self.new(np.shape(positions), None, dtype)
        found._base = self if self._base is None else self._base
        found._at = positions if self._base is None else np.ravel(self._at)[positions]
        found._base._viewed = True
        return found

    def __getitem__(self, index: Any) -> "IndexSets":
        if by_values(index):
            return _index_by_values(self, index)
        if (at := position(index, self.shape)) is not None:
            return self.of_columns(self.element(at))
        numbers = np.arange(self.size)
        positions = numbers.reshape(self.shape)[index]
        if isinstance(positions, np.ndarray) and np.may_share_memory(positions, numbers):
            return self.view(positions)
        return self.new(np.shape(positions), dep.select([(self.deps, self.size)], positions))

    def __setitem__(self, index: Any, value: Any) -> None:
        if by_values(index):
            self._write_by_values(value)
        else:
            self._write(index, value, overwrite=True)

    def _write(self, index: Any, value: Any, overwrite: bool) -> None:
        if np.shape(value) == () and (at := position(index, self.shape)) is not None:
            columns = value.element() if isinstance(value, IndexSets) else NOTHING
            self.set_element(at, columns, overwrite)
            return
        target = np.arange(self.size).reshape(self.shape)[index]
        deps = value.deps if isinstance(value, IndexSets) else None
        deps = dep.broadcast(_trimmed(deps, np.shape(target)), np.shape(target))
        if target.size <= dep.FEW and len(set(target.flat)) == target.size:
            each = dep.columns_of(deps, target.size)
            for place, columns in zip(target.flat, each, strict=True):
                self.set_element(int(place), columns, overwrite)
            return
        self.deps = dep.scatter(self.deps, deps, target, self.shape, overwrite)

    def _write_by_values(self, value: Any) -> None:
        """A number that is written to some elements, of which it is not known where they are."""
        if np.size(value) != 1:
            raise ValuesNeededError("the place that is written to depends on values")
        number: Any = np.reshape(value, ())
        deps = number.deps if isinstance(number, IndexSets) else None
        self.deps = dep.union([self.deps, deps], self.shape)

    def __getattr__(self, name: str) -> Any:
        function = None if name.startswith("_") else getattr(np, name, None)
        if name in WRITING:
            raise ValuesNeededError(f"`{name}` wrote into an array")
        if function is None or not hasattr(np.ndarray, name):
            raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    def astype(self, dtype: Any, *_: Any, **__: Any) -> "IndexSets":
        dtype = np.dtype(dtype)
        return self.new(self.shape, self.deps if dtype.kind in "fc" else None, dtype)

    def copy(self, *_: Any) -> "IndexSets":
        return self.new(self.shape, self.deps)

    def flatten(self, *_: Any) -> "IndexSets":
        return np.ravel(self.copy())  # type: ignore[return-value]  # dispatched

    def fill(self, value: Any) -> None:
        self[...] = value

    def sort(self, axis: int = -1) -> None:
        self.deps = np.sort(self, axis).deps  # type: ignore[attr-defined]  # dispatched

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **kwargs)

    def transpose(self, *axes: Any) -> Any:
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any
    ) -> Any:
        if out is not None:
            result = self.__array_ufunc__(ufunc, method, *inputs, **kwargs)
            if not isinstance(out[0], IndexSets):
                raise ValuesNeededError("values were written into an array of NumPy (`out=`)")
            if out[0].shape == ():
                # Of NumPy's numbers, `+=` makes another one, and who has the old one keeps it.
                out[0].set_element(0, result.element(), overwrite=False)
                return out[0]
            out[0].deps = dep.broadcast(result.deps, out[0].shape)
            return out[0]
        if kwargs.pop("where", True) is not True or any(True for _ in leaves(kwargs)):
            raise ValuesNeededError("a ufunc was called with `where=`")
        if method == "reduce":
            axis = kwargs.get("axis", 0)
            return reduced(inputs[0], axis, bool(kwargs.get("keepdims")), ufunc.__name__)
        if method == "accumulate":
            a = inputs[0]
            return cumulated(a, kwargs.get("axis", 0), ufunc.__name__)
        if method == "outer":
            a, b = inputs
            return ufunc(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)
        if method == "at":
            target, index, *values = inputs
            if ufunc not in (np.add, np.subtract) or target is not self or by_values(index):
                raise ValuesNeededError("a ufunc wrote into an array (`.at`)")
            return self._write(index, *values, overwrite=False)
        if method != "__call__":
            return unknown(self, ufunc, inputs, kwargs, getattr(ufunc, method))
        if ufunc is np.matmul:
            return matmul(self, *inputs)
        if ufunc.signature is not None:
            return unknown(self, ufunc, inputs, kwargs, ufunc)
        return elementwise(self, ufunc, inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.get("out") is not None:
            raise ValuesNeededError("values were written into an array of NumPy (`out=`)")
        name = function.__name__
        handler = BY_NAME.get(name)
        in_keywords = any(True for _ in leaves(kwargs))
        if handler is not None and (name in KEYWORDS or not in_keywords):
            found = handler(self, function, args, kwargs)
            if found is not NotImplemented:
                return found
        return unknown(self, function, args, kwargs, function)


def _trimmed(deps: Maybe, shape: Any) -> Maybe:
    """Without leading axes of length 1, which assignment ignores."""
    if deps is None or len(deps.shape) <= len(shape):
        return deps
    return deps._replace(shape=deps.shape[len(deps.shape) - len(shape) :])


def _index_by_values(a: IndexSets, index: Any) -> IndexSets:
    parts = index if isinstance(index, tuple) else (index,)
    plain = []
    for p in parts:
        if isinstance(p, IndexSets):
            if p.dtype.kind not in "iu":
                raise ValuesNeededError("a shape depends on values")
            p = np.zeros(p.shape, int)
        plain.append(p)
    shape = np.empty(a.shape)[tuple(plain)].shape
    return a.new(shape, a.report.everything("indexing by values", here, [a.deps], shape))
