"""Which backend differentiates a value."""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.libraries import registered
from diffface.backends.registry import resolve
from diffface.backends.table import ROWS

# A backend that evaluates functions at NumPy arrays of its own choice, and wants to see their
# rules. It is set while it does so.
evaluating: ContextVar[Adapter | None] = ContextVar("evaluating", default=None)

# The backend for which a rule computes: it may hand it plain NumPy arrays, as autograd does.
computing: ContextVar[Adapter | None] = ContextVar("computing", default=None)

_PLAIN = (float, int, bool, complex, str, type(None), np.ndarray)
_names: dict[type, str] = dict.fromkeys(_PLAIN, "")


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
    return adapter  # type: ignore[no-any-return]  # no SecondOrder has arrays of its own


def belongs_to_a_backend(value: object) -> bool:
    """Whether ``value`` is an array of a framework, or stands for one."""
    return bool(_name(value))


def _name(value: object) -> str:
    kind = type(value)
    known = _names.get(kind)
    if known is not None:
        return known
    name = next((name for name, row in ROWS.items() if row.has(value)), "")
    if not name and (row := registered(value)) is not None:
        name = row[0].backend
    if name:
        # Types that are not known yet may be registered later.
        _names[kind] = name
    return name
