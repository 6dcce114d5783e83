"""What index sets hide: values, and how functions that are not known depend on them."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

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


# An array of index sets.
Sets = Any


def unknown(like: Sets, named: Any, args: Any, kwargs: Any, function: Any) -> Any:
    """Any other function: its shape is found by values that are made up."""
    random = np.random.default_rng(0)

    def made_up(value: Any) -> Any:
        if is_sets(value):
            if value.dtype.kind in "iub":
                return np.zeros(value.shape, value.dtype)
            found = random.uniform(1, 2, value.shape)
            square = value.ndim > 1 and value.shape[-1] == value.shape[-2]
            # Definite, so that factorisations exist.
            found = found @ found.mT + np.eye(value.shape[-1]) if square else found
            return found.astype(value.dtype)
        if isinstance(value, tuple | list):
            return type(value)(map(made_up, value))
        return value

    try:
        result = function(*map(made_up, args), **{k: made_up(v) for k, v in kwargs.items()})
    except Exception as error:
        name = named.__name__
        raise ValuesNeededError(f"the shape of what `{name}` returns is not known") from error
    if result is None:
        raise ValuesNeededError(f"`{named.__name__}` wrote into an array")
    deps = [a.deps for a in leaves([*args, kwargs])]

    def sets(value: Any) -> Any:
        if isinstance(value, tuple | list):
            parts = [sets(v) for v in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        shape, dtype = np.shape(value), np.result_type(value)
        if dtype.kind not in "fc":
            return like.new(shape, None, dtype)
        found = like.report.everything(named.__name__, here, deps, shape)
        like.report.product(found, found, shape)
        return like.new(shape, found, dtype)

    return sets(result)
