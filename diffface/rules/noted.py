"""Calls of functions with rules, noted while a function runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# Functions with rules, and one value for each of their parameters.
Calls = list[tuple[Any, tuple[Any, ...]]]

# Where to note them; None as long as nobody wants to know.
notes: ContextVar[Calls | None] = ContextVar("notes", default=None)


@contextmanager
def noted_calls() -> Iterator[Calls]:
    """The calls that are made inside, in order."""
    calls: Calls = []
    token = notes.set(calls)
    try:
        yield calls
    finally:
        notes.reset(token)
