"""Static constants: objects that are part of a signature by their present state."""

import copyreg
import hashlib
import inspect
import random
import weakref
from collections.abc import Hashable, Iterable
from struct import calcsize
from types import FunctionType
from typing import Any

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.libraries import library_of
from diffface.backends.recording.reachable import frozen, is_atom
from diffface.prep.arguments.tree import attributes

# They change whenever they are used; recorders look after random numbers themselves.
_GENERATORS = (np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random)
# Slots that have an offset of their own, and the size of one.
_POINTERS = ("__dict__", "__weakref__")
_POINTER = calcsize("P")
# Longer arrays are remembered by a digest.
_SHORT = 256


class Static:
    """A string, integer, flag, function or other object: part of the signature by its state.

    The state is that of the moment when it is first asked for.
    """

    __slots__ = ("_state", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self._state: Hashable = None

    @property
    def state(self) -> Hashable:
        """All that a function can see of the object."""
        if self._state is None:
            self._state = state_of(self.value)
        return self._state

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static):
            return False
        same = self.value is other.value and type(self.value) in frozen
        return same or self.state == other.state

    def __hash__(self) -> int:
        return hash(self.state)

    def __str__(self) -> str:
        return f"static {self.value!r}"


def state_of(value: object) -> Hashable:
    """What tells ``value`` from other objects, and from itself once it has changed.

    Where two states are equal, no function sees a difference, unless it asks for identity.
    """
    return _state(value, {})


class _Same:
    """An object of which no more is known than which one it is."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


# States by the identity of objects, which are kept so that no other gets the same.
_Seen = dict[int, tuple[Hashable, object]]


def _state(value: Any, seen: _Seen) -> Hashable:
    if is_atom(value):
        return type(value), value
    library = library_of(value)
    if library is not None:
        return type(value), _numbers(value, library, seen)
    if isinstance(value, _GENERATORS):
        return _Same(value)
    if type(value) in frozen and hasattr(value, "__wrapped__"):
        # A function that a library has wrapped: what is inside, and the rules that came with it.
        held = getattr(value, "__dict__", {}).values()
        functions = tuple(each for each in held if isinstance(each, FunctionType))
        return type(value), functions or inspect.unwrap(value)
    known = seen.get(id(value))
    if known is not None:
        return known[0]
    seen[id(value)] = ("holds itself", len(seen)), value
    try:
        state: Hashable = (type(value), *_contents(value, seen))
    except Exception:  # noqa: BLE001 - an object that cannot be taken apart is only itself
        state = _Same(value)
    seen[id(value)] = state, value
    return state


def _contents(value: Any, seen: _Seen) -> Iterable[Hashable]:
    """States of all that is in a container, and of an object's attributes."""
    held = attributes(value)  # first, since this may make a `__dict__`
    if isinstance(value, list | tuple):
        yield tuple([_state(each, seen) for each in value])
    elif isinstance(value, dict):
        yield tuple([(_state(k, seen), _state(v, seen)) for k, v in value.items()])
    elif isinstance(value, set | frozenset):
        yield frozenset([_state(each, seen) for each in value])
    elif isinstance(value, np.ndarray):  # of a class that means more than its numbers
        plain = np.asarray(value)
        yield plain.shape, plain.dtype, plain.tobytes()
        yield np.ma.getmaskarray(value).tobytes()
    elif isinstance(value, weakref.ref):
        yield _state(value(), seen)
    elif _is_opaque(type(value)):
        for part in _made_of(value):
            yield _state(part, seen)
    if held:
        yield tuple([(name, _state(at, seen)) for name, at in held.items()])


def _made_of(value: Any) -> Iterable[object]:
    """What `pickle` and `copy` would make ``value`` of."""
    registered = copyreg.dispatch_table.get(type(value))
    try:
        parts = registered(value) if registered else value.__reduce_ex__(4)
        made, args, state, items, pairs, _ = (*parts, *[None] * 4)[:6]
    except Exception:
        if _is_of_c(type(value)):
            raise
        return ()  # it refuses to be pickled; its attributes are all there is
    return made, args, state or None, list(items or ()), list(pairs or ())


def _is_of_c(cls: type) -> bool:
    """Whether an object of ``cls`` may hold what Python does not see."""
    heap = 1 << 9  # of all classes that are defined in Python, and of some of C
    if any(not base.__flags__ & heap and base is not object for base in cls.__mro__):
        return True
    names = [n for base in cls.__mro__ for n in _slots(base) if n not in _POINTERS]
    pointers = len(names) + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0)
    return cls.__basicsize__ > object.__basicsize__ + pointers * _POINTER or cls.__itemsize__ > 0


def _slots(cls: type) -> tuple[str, ...]:
    names = vars(cls).get("__slots__", ())
    return (names,) if isinstance(names, str) else tuple(names)


def _is_opaque(cls: type) -> bool:
    """Whether there may be more in an object of ``cls`` than its attributes."""
    if _is_of_c(cls):
        return True
    usual = ("__reduce__", "__reduce_ex__", "__getstate__")
    return any(getattr(cls, name) is not getattr(object, name) for name in usual)


def _numbers(value: Any, library: ArrayLibrary, seen: _Seen) -> Hashable:
    """Shape, dtype, device and bits of an array or number."""
    array = np.asarray(library.to_numpy(value))
    if array.dtype.hasobject:
        return library.describe(value), tuple([_state(each, seen) for each in array.flat])
    held = array.tobytes()
    return library.describe(value), held if len(held) < _SHORT else hashlib.sha256(held).digest()
