"""Functions in pickles: by name, or by value where they have none and cloudpickle is there."""

import pickle
import sys
from collections.abc import Callable
from contextvars import ContextVar
from copy import deepcopy
from functools import partial
from types import FunctionType
from typing import Any, TypeVar

T = TypeVar("T")

# Functions that are being pickled by value: one that refers to itself is met again inside.
_under_way: ContextVar[frozenset[int]] = ContextVar("under_way", default=frozenset())


class Portable:
    """A function on its way into a pickle, out of which comes the function itself.

    ``pickle`` knows functions by name alone. Lambdas, and those defined inside of others, are
    pickled by value, with the package cloudpickle.
    """

    __slots__ = ("_f",)

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = f

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        nameless, under_way = _nameless(self._f), _under_way.get()
        if nameless is None or id(self._f) in under_way:
            return _itself, (self._f,)
        token = _under_way.set(under_way | {id(self._f)})
        try:
            return pickle.loads, (_by_value(self._f, nameless),)
        finally:
            _under_way.reset(token)

    def __deepcopy__(self, memo: dict[int, object]) -> Callable[..., Any]:
        return deepcopy(self._f, memo)


def _itself(f: T) -> T:
    return f


def _nameless(f: Any) -> FunctionType | None:
    """The function in ``f`` that cannot be imported by name, if there is one."""
    if isinstance(f, partial):
        return _nameless(f.func)
    if not isinstance(f, FunctionType):
        return None
    found: Any = sys.modules.get(f.__module__)
    for name in f.__qualname__.split("."):
        found = getattr(found, name, None)
    return None if found is f else f


def _by_value(f: Callable[..., Any], nameless: FunctionType) -> bytes:
    code = nameless.__code__
    which = f"`{nameless.__qualname__}` ({code.co_filename}, line {code.co_firstlineno})"
    try:
        import cloudpickle
    except ImportError:
        raise pickle.PicklingError(
            f"{which} cannot be pickled: it has no name that another process could import it by; "
            "define it at the top of a module, or install cloudpickle."
        ) from None
    try:
        data: bytes = cloudpickle.dumps(f)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise pickle.PicklingError(
            f"{which} cannot be pickled, for what it refers to: {error}. Pass that as an argument."
        ) from error
    return data
