"""What a function can reach besides its arguments: its closure, its globals, and what they hold."""

import dis
import gc
import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import _lru_cache_wrapper, lru_cache, partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from diffface.backends.recording.user_frame import in_library

# Objects of these types never change, and are the same where they and their types are equal.
_UNCHANGING = {
    str, bytes, int, bool, type(None), type(...), type(NotImplemented), range,
    types.FunctionType, types.BuiltinFunctionType, types.ModuleType, np.ufunc,
}  # fmt: skip
# Types of other objects that never change, which libraries add to: such an object is as it was.
frozen: set[type] = set()


def is_atom(value: object) -> bool:
    """Whether ``value`` can never change."""
    return type(value) in _UNCHANGING or isinstance(value, type | Enum | np.dtype)


_MAKERS = {"RandomState", "Random", "SeedSequence", "default_rng"}
# What may stand between a name and its call.
_BETWEEN = {"CACHE", "EXTENDED_ARG", "PRECALL", "PUSH_NULL"}


def makes_unseeded(x: object) -> bool:
    """Whether ``x`` is a function of the user's with a call like ``default_rng()`` in its code."""
    return (
        isinstance(x, FunctionType)
        and not in_library(x.__code__.co_filename)
        and _calls_maker(x.__code__)
    )


@lru_cache(maxsize=1024)
def _calls_maker(code: CodeType) -> bool:
    before = just = None
    for instruction in dis.get_instructions(code):
        if instruction.opname in _BETWEEN:
            continue
        if instruction.opname == "CALL" and just is not None:
            by_none = just.opname == "LOAD_CONST" and just.argval is None
            maker = {0: just, 1: before if by_none else None}.get(instruction.arg or 0)
            if maker is not None and maker.argval in _MAKERS:
                return True
        before, just = just, instruction
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return any(map(_calls_maker, inner))


# Larger containers are data, and hold nothing of interest
_MANY = 10_000
_ATOMS = (bool, bytes, complex, float, int, np.generic, range, slice, str, type, type(None))
_EMPTY = type("Empty", (), {})
_CONTAINERS = (deque, dict, frozenset, list, set, tuple)


def reachable(start: object) -> Iterator[object]:
    """Yield ``start`` and what it refers to, as far as the user's own code can tell."""
    seen: dict[int, object] = {}
    pending = [start]
    while pending and len(seen) < 10 * _MANY:
        x = pending.pop()
        if isinstance(x, _ATOMS) or id(x) in seen:
            continue
        seen[id(x)] = x  # kept, so that no other gets its identity
        if not isinstance(x, ModuleType):
            yield x
        pending += _held(x)


def _held(x: object) -> Iterable[object]:
    """The objects that ``x`` holds itself."""
    if isinstance(x, FunctionType):
        return _held_by_function(x)
    if isinstance(x, MethodType):
        return x.__self__, x.__func__
    if isinstance(x, partial):
        return x.func, *x.args, *x.keywords.values()
    if isinstance(x, _lru_cache_wrapper):
        return gc.get_referents(x)
    held = _attributes(x)
    if isinstance(x, _CONTAINERS) and len(x) <= _MANY:
        held += x.values() if isinstance(x, dict) else x
    return held


def _attributes(x: object) -> list[object]:
    held = [*getattr(x, "__dict__", {}).values()] if not isinstance(x, ModuleType) else []
    for base in type(x).__mro__:
        ours, user = base.__module__.startswith("diffface"), _is_users(base)
        if user:
            held += vars(base).values()
        if user or ours:
            slots = vars(base).get("__slots__", ())
            names = (slots,) if isinstance(slots, str) else slots
            held += [getattr(x, name, None) for name in names if not name.startswith("__")]
    return held


def _is_users(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    return not in_library(getattr(module, "__file__", None) or "<")


def _held_by_function(f: FunctionType) -> list[object]:
    held = [*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values(), *vars(f).values()]
    held += map(_content, f.__closure__ or ())
    if not in_library(f.__code__.co_filename):
        names = set(_names(f.__code__))
        found = [f.__globals__[name] for name in names if name in f.__globals__]
        held += found
        for module in found:
            if isinstance(module, ModuleType) and not in_library(
                getattr(module, "__file__", None) or "<"
            ):
                held += [value for name, value in vars(module).items() if name in names]
    return held


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


class Generators:
    """The states of the random number generators that ``f`` can draw from.

    ``followed`` are types of those whose draws the recorder records.
    """

    def __init__(self, f: object, followed: tuple[type, ...] = ()) -> None:
        own = [*reachable(f)]
        found = [x for x in own if _is_generator(x) and not isinstance(x, followed)]
        self._unseeded = any(map(makes_unseeded, own))
        hidden: Any = (random._inst, np.random.mtrand._rand)
        self._before = [(x, _state(x)) for x in (*hidden, *found)]

    def have_drawn(self) -> bool:
        """Whether any state is another than it was, or may have been that of one made by ``f``."""
        return self._unseeded or any(repr(_state(x)) != repr(state) for x, state in self._before)

    def restore(self) -> None:
        """Put all states back."""
        for x, state in self._before:
            if isinstance(x, random.Random):
                x.setstate(state)
            elif isinstance(x, np.random.RandomState):
                x.set_state(state)
            elif isinstance(x, (np.random.BitGenerator, np.random.Generator)):
                _bits(x).state = state


def _is_generator(x: object) -> bool:
    known = (random.Random, np.random.BitGenerator, np.random.Generator, np.random.RandomState)
    # Of torch, which may not be installed
    return isinstance(x, known) or (type(x).__module__ == "torch._C" and hasattr(x, "get_state"))


def _state(x: Any) -> Any:
    if isinstance(x, random.Random):
        return x.getstate()
    if isinstance(x, np.random.RandomState):
        kind, keys, *rest = x.get_state()
        return kind, tuple(keys), *rest
    if isinstance(x, (np.random.BitGenerator, np.random.Generator)):
        return _plain(_bits(x).state)
    return x.get_state().tolist()


def _bits(x: Any) -> Any:
    return getattr(x, "bit_generator", x)


def _plain(state: Any) -> Any:
    """A state whose text shows all of it."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


@contextmanager
def undisturbed(f: object) -> Iterator[None]:
    """Put generators that ``f`` can reach back afterwards: to prepare ``f`` is no call of it."""
    generators = Generators(f)
    try:
        yield
    finally:
        generators.restore()


class Belongings:
    """The places that ``f`` can put things in, with what is there before it is recorded.

    A function that fills a cache while it is recorded leaves there what means nothing afterwards.
    """

    def __init__(self, f: object) -> None:
        self._places = [place for x in reachable(f) for place in _places(x)]

    def clear_out(self, is_foreign: Callable[[object], bool]) -> bool:
        """Put back what was where foreign objects are now; whether there were any."""
        found = False
        for content, put_back, before in self._places:
            known = set(map(id, before))
            new = [x for x in content() if id(x) not in known]
            if any(is_foreign(held) for x in new for held in reachable(x)):
                put_back()
                found = True
        return found


# What is there, how to put back what was there, and that
_Place = tuple[Callable[[], Iterable[object]], Callable[[], None], list[object]]


def _places(x: Any) -> Iterator[_Place]:
    if isinstance(x, _lru_cache_wrapper):
        yield partial(gc.get_referents, x), x.cache_clear, gc.get_referents(x)
    elif type(x) is dict:
        yield x.values, partial(_refill, x, dict(x)), [*x.values()]
    elif type(x) in (deque, list, set):
        yield partial(iter, x), partial(_refill, x, [*x]), [*x]
    elif isinstance(x, FunctionType):
        yield from _places_of_function(x)
    if isinstance(getattr(x, "__dict__", None), dict):
        own = vars(x)
        yield own.values, partial(_refill, own, dict(own)), [*own.values()]


def _places_of_function(f: FunctionType) -> Iterator[_Place]:
    for cell in f.__closure__ or ():
        if (before := _content(cell)) is not _EMPTY:
            put_back = partial(setattr, cell, "cell_contents", before)
            yield partial(_contents, cell), put_back, [before]
    if not in_library(f.__code__.co_filename):
        for name in set(_names(f.__code__)) & f.__globals__.keys():
            before = f.__globals__[name]
            put_back = partial(f.__globals__.__setitem__, name, before)
            yield partial(_named, f.__globals__, name), put_back, [before]


def _named(scope: dict[str, Any], name: str) -> list[object]:
    return [scope.get(name)]


def _contents(cell: CellType) -> list[object]:
    return [_content(cell)]


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return _EMPTY


def _refill(container: Any, before: Any) -> None:
    container.clear()
    container.extend(before) if hasattr(container, "extend") else container.update(before)
