"""Generators of random numbers that a function can reach, and the states that they are in.

A recorded program repeats the numbers that were drawn when it was recorded. Two runs of the
function may agree by chance, so recorders compare the states of the generators instead.
"""

import random
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

# So many objects are looked at, so that a function over a large program stays cheap to prepare.
_MOST = 20_000
_LIBRARIES = {*sys.stdlib_module_names, "numpy", "scipy", "autograd", "jax", "jaxlib", "torch"}
_LEAVES = (str, bytes, int, float, complex, np.ndarray, np.generic, np.dtype, CodeType, type(None))


def random_states(*roots: object) -> tuple[object, ...]:
    """Return the states of the global generators, and of those that `roots` can reach.

    Reached is what closures, globals that are named, defaults, bound objects, attributes, and
    containers hold. Two results are equal if nothing was drawn in between.
    """
    # The states that users may still draw from, not one of ours
    found = [_frozen(np.random.get_state(legacy=False)), random.getstate()]  # noqa: NPY002
    found += [_state(generator) for generator in _generators(roots)]
    return tuple(found)


def _generators(roots: Iterable[object]) -> Iterator[object]:
    seen: dict[int, object] = {}
    pending = deque(roots)
    while pending and len(seen) < _MOST:
        item = pending.popleft()
        if isinstance(item, _LEAVES) or id(item) in seen:
            continue
        seen[id(item)] = item
        if _is_generator(item):
            yield item
        else:
            pending.extend(_parts(item))


def _is_generator(x: object) -> bool:
    if isinstance(x, (np.random.Generator, np.random.BitGenerator, np.random.RandomState)):
        return True
    # Of torch, which may not be installed
    of_torch = type(x).__module__ == "torch._C" and hasattr(x, "get_state")
    return isinstance(x, random.Random) or of_torch


def _state(x: Any) -> object:
    if isinstance(x, np.random.Generator):
        return _frozen(x.bit_generator.state)
    if isinstance(x, np.random.BitGenerator):
        return _frozen(x.state)
    if isinstance(x, np.random.RandomState):
        return _frozen(x.get_state(legacy=False))
    return x.getstate() if isinstance(x, random.Random) else _frozen(np.asarray(x.get_state()))


def _frozen(state: Any) -> object:
    """Return `state` as something that is compared by value and never changes."""
    if isinstance(state, Mapping):
        return tuple((key, _frozen(value)) for key, value in state.items())
    return (state.dtype.str, state.tobytes()) if isinstance(state, np.ndarray) else state


def _parts(x: Any) -> Iterable[object]:
    """Return the objects that `x` holds, as far as a function would reach into it."""
    if isinstance(x, Mapping):
        return x.values() if type(x).__module__ in ("builtins", "collections") else ()
    if isinstance(x, (list, tuple, set, frozenset)):
        return x
    if isinstance(x, MethodType):
        return x.__self__, x.__func__
    if isinstance(x, partial):
        return x.func, x.args, x.keywords
    if isinstance(x, FunctionType):
        return _parts_of_function(x)
    if isinstance(x, (ModuleType, type)):
        return ()
    return [*getattr(x, "__dict__", {}).values(), *_slots(x), *_class_attributes(x)]


def _is_library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _LIBRARIES


def _slots(x: object) -> Iterator[object]:
    for owner in type(x).__mro__:
        names = owner.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            yield getattr(x, name, None)


def _class_attributes(x: object) -> Iterator[object]:
    for owner in type(x).__mro__:
        if not _is_library(owner.__module__):
            yield from owner.__dict__.values()


def _parts_of_function(f: FunctionType) -> Iterator[object]:
    if _is_library(f.__module__):
        return
    yield from (f.__defaults__, f.__kwdefaults__, f.__dict__)
    for cell in f.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # still empty
            continue
    names = set(_names(f.__code__))
    for name in names & f.__globals__.keys():
        value = f.__globals__[name]
        yield value
        if isinstance(value, ModuleType) and not _is_library(value.__name__):
            yield from (vars(value)[attribute] for attribute in names & vars(value).keys())


def _names(code: CodeType) -> Iterator[str]:
    """Return the names of globals and attributes in `code`, and in the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
