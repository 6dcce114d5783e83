"""The ways into a prepared callable that do not depend on a signature."""

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

from diffface.prep.writer import Entry

# What a call takes by keyword; the function's own keywords come in `kwargs`.
_OPTIONS = ("tangents", "cotangents", "out", "kwargs")


def weakly(method: Callable[..., Any], name: str) -> Entry:
    """``method``, without keeping its object alive, which may hold this; errors call it ``name``.

    Raises
    ------
    ReferenceError
        When it is called and the object is gone.
    """
    weak = WeakMethod(method)

    def call(*args: Any, **options: Any) -> Any:
        general = weak()
        if general is None:
            raise ReferenceError("The prepared callable that this belongs to is gone; keep it.")
        for key in options:
            if key not in _OPTIONS:
                raise TypeError(f"{name}() got an unexpected keyword argument {key!r}")
        return general(*args, **options)

    return call


class ShownSignature:
    """What ``inspect.signature`` shows: the parameters of ``f``; of the class, those of a call."""

    def __init__(self, method: Callable[..., Any]) -> None:
        _, *parameters = inspect.signature(method).parameters.values()
        self._of_calls = inspect.Signature(parameters)

    def __get__(self, prepared: Any, cls: type) -> inspect.Signature:
        if prepared is None:
            return self._of_calls
        try:
            return inspect.signature(prepared.function)
        except (TypeError, ValueError):  # some functions in C have none
            return self._of_calls
