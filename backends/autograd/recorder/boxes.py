"""The boxes that stand for inputs and intermediate values while a program is recorded.

They sit on autograd's outermost trace, so the whole derivation runs on top of them. Their values
are out of reach: only autograd's own ``primitive`` wrapper gets them (to run the raw NumPy
function, which is then recorded); anybody else who asks gets a ``Shadow``, which knows shape and
dtype and refuses everything else. So a value cannot decide anything unnoticed: it *escapes*, and
the recording stops.
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

from diffface.backends.autograd.recorder.functions import METADATA


def code_inside(code: CodeType) -> set[CodeType]:
    """Return `code` and the code objects inside it: comprehensions, closures."""
    return {code}.union(*(code_inside(c) for c in code.co_consts if isinstance(c, CodeType)))


# Code that may see the value of a box: autograd's primitive wrapper. Indexing may, too, if a tuple
# of indices hides the box and the result is recorded.
_WRAPPER = code_inside(anp.sin.__code__)
_INDEXING = ArrayBox.__getitem__.fun.__code__


# What outsiders see


# NumPy's parser of einsum strings makes arrays of the operands, only to look at their shapes.
_PARSER = code_inside(numpy_wrapper._parse_einsum_input.__code__)


def refuse(reason: str) -> Callable[..., NoReturn]:
    """Return a method that stops the recording."""

    def method(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        escape(self, reason)

    return method


def escape(box: Any, reason: str) -> NoReturn:
    """Stop the recording to which a box or its shadow belongs."""
    box = box._box if type(box) is Shadow else box
    box._node.tape.escape(reason)
    raise AssertionError


class Shadow:
    """What an outsider sees of a recorded value: type, shape and dtype."""

    def __init__(self, box: Any) -> None:
        self._box = box

    def __array_function__(self, fn: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if fn not in METADATA:
            escape(self, f"`{getattr(fn, '__name__', fn)}` was called on the value inside a box")
        return fn(*[a._box._concrete if isinstance(a, Shadow) else a for a in args], **kwargs)

    def vspace(self) -> Any:
        """Return autograd's vector space of the value, which is made of its shape and dtype."""
        return vspace(self._box._concrete)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        if sys._getframe(1).f_code in _PARSER:
            concrete = self._box._concrete
            return np.broadcast_to(np.zeros((), np.result_type(concrete)), np.shape(concrete))
        escape(self, "NumPy asked for the value inside a box")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        escape(self, f"`.{name}` of the value inside a box was read")


for _name in ("bool", "float", "int", "index", "complex", "hash", "iter", "len"):
    setattr(Shadow, f"__{_name}__", refuse("the value inside a box was used"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Shadow, f"__{_name}__", refuse("the value inside a box was compared"))

VSpace.mappings[Shadow] = Shadow.vspace


# The boxes


class _Recorded:
    """What all recorded boxes share; mixed into subclasses of autograd's boxes."""

    __slots__ = ()
    _concrete: Any
    _node: Any
    _trace: float

    def __init__(self, value: Any, trace: float, node: Any) -> None:
        self._concrete = value
        self._trace = trace  # type: ignore[misc]  # a slot of autograd's Box
        self._node = node

    @property
    def _value(self) -> Any:
        return self._concrete if sys._getframe(1).f_code in _WRAPPER else self._shadow()

    def _shadow(self) -> Any:
        return Shadow(self)

    def _is_index(self, frame: Any) -> bool:
        """Whether `frame` indexes a recorded array by a tuple that hides this box."""
        if frame.f_code is not _INDEXING or frame.f_back.f_back.f_code not in _WRAPPER:
            return False
        return frame.f_back.f_back.f_locals.get("node_constructor") is type(self._node)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._is_index(sys._getframe(1)):
            escape(self, "a plain NumPy function asked for the values of an array")
        return np.asarray(self._concrete)

    def __index__(self) -> int:
        if not self._is_index(sys._getframe(1)):
            escape(self, "a value was turned into a Python integer")
        return operator.index(self._concrete)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(self._concrete, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        escape(self, f"`.{name}` of an array was read")

    def __str__(self) -> str:
        return escape(self, "an array was turned into text")

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return escape(self, "an array was turned into text")

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self


def _in_place(self: Any, other: Any) -> Any:
    """Decline ``x += y``: Python then does ``x = x + y``, the same unless `x` is shared."""
    caller = sys._getframe(1).f_globals.get("__name__", "")
    if isinstance(self._concrete, np.ndarray) and not caller.startswith("autograd."):
        escape(self, "an in-place operation changes an array")
    return NotImplemented


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
    # To isinstance, a lie: the user's function sees an array where autograd would hand it one.
    __class__ = property(lambda self: type(self._concrete))

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

    def __invert__(self) -> Any:
        return anp.invert(self)

    def __pos__(self) -> Any:
        return anp.positive(self)

    def __divmod__(self, other: Any) -> Any:
        return anp.floor_divide(self, other), anp.mod(self, other)

    def __rdivmod__(self, other: Any) -> Any:
        return anp.floor_divide(other, self), anp.mod(other, self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isbox(x) and not is_a(x, _Recorded) for x in inputs):
            return ArrayBox.__array_ufunc__(self, ufunc, method, *inputs, **kwargs)
        if kwargs.get("out") is not None:
            escape(self, "a NumPy function writes into an array (`out=`)")
        wrapper = trace_primitives_map.get(ufunc)
        if method == "__call__" and wrapper is not None and not kwargs:
            return wrapper(*inputs, called_by_autograd_dispatcher=True)
        fn = ufunc if method == "__call__" else getattr(ufunc, method)
        return self._node.tape.call(fn, inputs, kwargs)

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
        escape(self, "membership in a recorded sequence was tested")


class RecordedSparse(_Recorded, SparseBox):  # type: ignore[misc]  # autograd is untyped
    """A recorded sparse gradient: the value of ``untake``, consumed by ``sparse_add`` alone."""

    __slots__ = ("_concrete",)


def is_a(x: Any, kind: type) -> bool:
    """Return ``isinstance`` by true type, whatever the object says of itself."""
    return issubclass(type(x), kind)


_REFUSED = {
    "a branch depends on a value": "__bool__",
    "a value was turned into a Python number": "__float__ __int__ __complex__",
    "a value was used as a key": "__hash__",
    "a number was rounded by Python": "__round__ __trunc__ __floor__ __ceil__",
    "an array was pickled": "__reduce_ex__ __reduce__",
    "an array is written to": "__setitem__ __delitem__ fill put sort partition resize setflags",
    "a value was turned into a Python object": "tolist item tobytes",
}
for _reason, _methods in _REFUSED.items():
    for _name in _methods.split():
        setattr(_Recorded, _name, refuse(_reason))

# Arithmetic that autograd's boxes lack: it hands out arrays where a result has no derivative.
_MORE = {
    "floordiv": anp.floor_divide,
    "mod": anp.mod,
    "and": anp.bitwise_and,
    "or": anp.bitwise_or,
    "xor": anp.bitwise_xor,
    "lshift": anp.left_shift,
    "rshift": anp.right_shift,
}
for _name, _ufunc in _MORE.items():
    setattr(RecordedArray, f"__{_name}__", lambda self, other, f=_ufunc: f(self, other))
    setattr(RecordedArray, f"__r{_name}__", lambda self, other, f=_ufunc: f(other, self))
for _name in (*_MORE, "add", "sub", "mul", "truediv", "pow", "matmul"):
    setattr(RecordedArray, f"__i{_name}__", _in_place)

# autograd looks classes up by exact type; these rows concern nobody else's types.
for _class, _outer in (
    (RecordedArray, ArrayBox),
    (RecordedSequence, SequenceBox),
    (RecordedSparse, SparseBox),
):
    Box.types.add(_class)
    Box.type_mappings[_class] = _outer
sparse_object_types.add(RecordedSparse)
