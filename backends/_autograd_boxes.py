"""The boxes that stand for inputs and intermediate values while a program is recorded.

They sit on autograd's outermost trace, so the whole derivation runs on top of them. Their values are
out of reach: only autograd's own ``primitive`` wrapper gets them (to run the raw NumPy function, which
is then recorded); anybody else who asks gets a ``Shadow``, which knows shape and dtype and refuses
everything else. So a value cannot decide anything unnoticed: it *escapes*, and the recording stops.
"""

import operator
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any, NoReturn

import autograd.numpy as anp
import numpy as np
from autograd.builtins import SequenceBox
from autograd.core import SparseBox, VSpace, sparse_object_types, vspace
from autograd.numpy import numpy_wrapper
from autograd.numpy.numpy_boxes import ArrayBox
from autograd.tracer import Box, isbox, trace_primitives_map

from diffface.backends._autograd_functions import METADATA


def _nested(code: CodeType) -> set[CodeType]:
    """Return `code` and the code objects inside it (comprehensions, closures)."""
    return {code}.union(*(_nested(c) for c in code.co_consts if isinstance(c, CodeType)))


# Code that may see the value of a box: autograd's primitive wrapper, and NumPy's parser of einsum
# strings, which looks at shapes only.
_WRAPPER = _nested(anp.sin.__code__)
_INDEXING = ArrayBox.__getitem__.fun.__code__
_PARSER = _nested(numpy_wrapper._parse_einsum_input.__code__)


class Shadow:
    """What an outsider sees of a recorded value: type, shape and dtype."""

    def __init__(self, box: Any) -> None:
        self._box = box

    def __array_function__(self, fn: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if fn not in METADATA:
            self._box._node.escape(f"`{getattr(fn, '__name__', fn)}` was called on the value inside a box")
        return fn(*(a._box._concrete if isinstance(a, Shadow) else a for a in args), **kwargs)

    def dummy(self) -> Any:
        """Return an array of the right shape and dtype, without memory or meaning."""
        return np.broadcast_to(np.zeros((), np.result_type(self._box._concrete)), np.shape(self._box._concrete))

    def vspace(self) -> Any:
        """Return autograd's vector space of the value."""
        concrete = self._box._concrete
        return vspace(self.dummy() if isinstance(concrete, (np.ndarray, np.generic)) else concrete)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        if sys._getframe(1).f_code in _PARSER:
            return self.dummy()
        self._box._node.escape("NumPy asked for the value inside a box")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._box._node.escape(f"`.{name}` of the value inside a box was read")


class _Recorded:
    """What all recorded boxes share; mixed into subclasses of autograd's boxes."""

    __slots__ = ()
    _node: Any
    _trace: int
    _concrete: Any

    def __init__(self, value: Any, trace: int, node: Any) -> None:
        self._concrete = value
        self._trace = trace
        self._node = node

    @property
    def _value(self) -> Any:
        return self._concrete if sys._getframe(1).f_code in _WRAPPER else self._shadow()

    def _shadow(self) -> Any:
        return Shadow(self)

    def _is_index(self, frame: Any) -> bool:
        """Whether `frame` indexes a recorded array, by a tuple that hides this box; that gets recorded."""
        if frame.f_code is not _INDEXING or frame.f_back.f_back.f_code not in _WRAPPER:
            return False
        return frame.f_back.f_back.f_locals.get("node_constructor") is type(self._node)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_index(sys._getframe(1)):
            return np.asarray(self._concrete)
        self._node.escape("a plain NumPy function asked for the values of an array")

    def __index__(self) -> int:
        if not self._is_index(sys._getframe(1)):
            self._node.escape("a value was turned into a Python integer")
        return operator.index(self._concrete)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(self._concrete, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        self._node.escape(f"`.{name}` of an array was read")

    def __str__(self) -> str:
        return f"<recorded {np.result_type(self._concrete)} of shape {np.shape(self._concrete)}>"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return str(self) if not spec else self._node.escape("a number was formatted")

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self


def _refuse(reason: str) -> Callable[..., NoReturn]:
    def method(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        node = self._box._node if isinstance(self, Shadow) else self._node
        node.escape(reason)
        raise AssertionError

    return method


def _in_place(self: Any, other: Any) -> Any:
    """Decline ``x += y``: Python then rebinds ``x = x + y``, which is the same unless `x` is shared."""
    caller = sys._getframe(1).f_globals.get("__name__", "")
    if isinstance(self._concrete, np.ndarray) and not caller.startswith("autograd."):
        self._node.escape("an in-place operation changes an array")
    return NotImplemented


def _binary(ufunc: Any) -> tuple[Any, Any]:
    return (lambda self, other: ufunc(self, other)), (lambda self, other: ufunc(other, self))


class RecordedArray(_Recorded, ArrayBox):  # type: ignore[misc]  # autograd is untyped
    """A recorded array or scalar."""

    __slots__ = ("_concrete",)

    shape = property(lambda self: np.shape(self._concrete))
    ndim = property(lambda self: np.ndim(self._concrete))
    size = property(lambda self: np.size(self._concrete))
    dtype = property(lambda self: np.result_type(self._concrete))
    real = property(lambda self: anp.real(self))
    imag = property(lambda self: anp.imag(self))
    nbytes = property(lambda self: self._concrete.nbytes)
    itemsize = property(lambda self: self._concrete.itemsize)
    # The user's function sees an array where autograd would hand it one.
    __class__ = property(lambda self: type(self._concrete))  # type: ignore[assignment]  # a lie, on purpose

    def __len__(self) -> int:
        return len(self._concrete)

    def copy(self, order: str = "C") -> Any:
        """Return the box itself: recorded values never change."""
        return self

    def dot(self, other: Any) -> Any:
        """Return the dot product."""
        return anp.dot(self, other)

    def conj(self) -> Any:
        """Return the complex conjugate."""
        return anp.conj(self)

    conjugate = conj

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isbox(x) and not isinstance_(x, _Recorded) for x in inputs):
            return ArrayBox.__array_ufunc__(self, ufunc, method, *inputs, **kwargs)
        if kwargs.get("out") is not None:
            self._node.escape("a NumPy function writes into an array (`out=`)")
        wrapper = trace_primitives_map.get(ufunc)
        if method == "__call__" and wrapper is not None and not kwargs:
            return wrapper(*inputs, called_by_autograd_dispatcher=True)
        return self._node.tape.call(ufunc if method == "__call__" else getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, fn: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self._node.tape.call(fn, args, kwargs)


class RecordedSequence(_Recorded, SequenceBox):  # type: ignore[misc]  # autograd is untyped
    """A recorded tuple, list or named tuple of arrays."""

    __slots__ = ("_concrete",)

    def _shadow(self) -> Any:
        parts = [self[i] for i in range(len(self))]
        kind = type(self._concrete)
        return kind(*parts) if hasattr(kind, "_fields") else kind(parts)

    def __len__(self) -> int:
        return len(self._concrete)

    def __contains__(self, item: Any) -> bool:
        return self._node.escape("membership in a recorded sequence was tested")  # type: ignore[no-any-return]


class RecordedSparse(_Recorded, SparseBox):  # type: ignore[misc]  # autograd is untyped
    """A recorded sparse gradient: the value of ``untake``, consumed by ``sparse_add`` alone."""

    __slots__ = ("_concrete",)


def isinstance_(x: Any, kind: type) -> bool:
    """Return ``isinstance`` by true type, whatever the object says of itself."""
    return issubclass(type(x), kind)


_ESCAPES = {
    "a branch depends on a value": ["__bool__"],
    "a value was turned into a Python number": ["__float__", "__int__", "__complex__"],
    "a value was used as a key": ["__hash__"],
    "an array was rounded or split by Python": ["__round__", "__trunc__", "__floor__", "__ceil__"],
    "an array was pickled": ["__reduce_ex__", "__reduce__"],
}
_UFUNCS = {
    "floordiv": anp.floor_divide, "and": anp.bitwise_and, "or": anp.bitwise_or, "xor": anp.bitwise_xor,
    "lshift": anp.left_shift, "rshift": anp.right_shift, "mod": anp.mod,
}  # fmt: skip

for _reason, _names in _ESCAPES.items():
    for _name in _names:
        for _class in (_Recorded, Shadow):
            setattr(_class, _name, _refuse(_reason))
for _name in ("__index__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__iter__", "__len__"):
    setattr(Shadow, _name, _refuse("the value inside a box was used"))
for _name in ("tolist", "item", "tobytes", "fill", "put", "sort", "partition", "resize", "itemset", "setflags"):
    setattr(RecordedArray, _name, _refuse(f"`.{_name}()` was called on an array"))
RecordedArray.__setitem__ = _refuse("an array is written to")
RecordedArray.__delitem__ = _refuse("an array is written to")
RecordedArray.__invert__ = lambda self: anp.invert(self)
RecordedArray.__pos__ = lambda self: anp.positive(self)
RecordedArray.__divmod__ = lambda self, other: (anp.floor_divide(self, other), anp.mod(self, other))
RecordedArray.__rdivmod__ = lambda self, other: (anp.floor_divide(other, self), anp.mod(other, self))
for _name, _ufunc in _UFUNCS.items():
    _left, _right = _binary(_ufunc)
    setattr(RecordedArray, f"__{_name}__", _left)
    setattr(RecordedArray, f"__r{_name}__", _right)
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"):
    setattr(RecordedArray, f"__i{_name}__", _in_place)

# autograd looks classes up by exact type; these rows concern nobody else's types.
for _class, _outer in ((RecordedArray, ArrayBox), (RecordedSequence, SequenceBox), (RecordedSparse, SparseBox)):
    Box.types.add(_class)
    Box.type_mappings[_class] = _outer
sparse_object_types.add(RecordedSparse)
VSpace.mappings[Shadow] = Shadow.vspace
