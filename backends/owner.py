"""Which backend differentiates a value."""

import sys
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.registry import resolve

# A backend that evaluates functions at NumPy arrays of its own choice, and wants to see their
# rules. It is set while it does so.
evaluating: ContextVar[Adapter | None] = ContextVar("evaluating", default=None)

# (library, type of its values, backend)
_TYPES = (
    ("jax", "Array", "jax"),
    ("torch", "Tensor", "torch"),
    ("autograd.tracer", "Box", "autograd"),
)

_names: dict[type, str] = dict.fromkeys(
    (float, int, bool, complex, str, type(None), np.ndarray), ""
)


def owner_of(values: Iterable[object]) -> Adapter | None:
    """The backend that ``values`` belong to; None where they are NumPy's and nobody watches.

    Raises
    ------
    NotDifferentiableError
        If they belong to two.
    """
    found = {name for value in values if (name := _name(value))}
    if len(found) > 1:
        first, second = sorted(found)
        raise NotDifferentiableError(
            f"One call got arrays of both {first} and {second}; convert one of them, or make the "
            "function one of a single framework by `diffface.bridge`."
        )
    if not found:
        return evaluating.get()
    adapter: Any = resolve(found.pop())
    return adapter  # type: ignore[no-any-return]  # it has no SecondOrder under these names


def belongs_to_a_backend(value: object) -> bool:
    """Whether ``value`` is an array of a framework, or stands for one."""
    return bool(_name(value))


def _name(value: object) -> str:
    kind = type(value)
    try:
        return _names[kind]
    except KeyError:
        for library, cls, backend in _TYPES:
            # A value of a library's type means that the library is imported.
            # Tracers of JAX are its arrays by isinstance alone.
            if isinstance(value, getattr(sys.modules.get(library), cls, ())):
                _names[kind] = backend
                return backend
        _names[kind] = ""
        return ""
