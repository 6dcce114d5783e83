"""What functions of index sets may not look at: values."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from diffface.backends.recording.user_frame import line_of_call


class ValuesNeededError(Exception):
    """A function looked at values, or wrote where no index set can be kept."""


def refuse(what: str) -> Callable[..., NoReturn]:
    """A method that looks at values."""

    def method(*_: Any, **__: Any) -> NoReturn:
        raise ValuesNeededError(what)

    return method


def here() -> str:
    """The line of the user's that is running."""
    line = line_of_call()
    return f", at {line}" if line else ""


def is_sets(value: object) -> bool:
    """Whether a value is an array of index sets."""
    return getattr(type(value), "is_index_sets", False)


def leaves(value: Any) -> Iterator[Any]:
    """The index sets in nested tuples, lists and dicts."""
    if is_sets(value):
        yield value
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)


def by_values(index: Any) -> bool:
    """Whether an index depends on values."""
    parts = index if isinstance(index, tuple | list) else (index,)
    return any(map(is_sets, parts))
