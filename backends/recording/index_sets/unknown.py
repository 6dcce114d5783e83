"""Functions that are not known: each result depends on all that went in."""

from typing import Any

import numpy as np

from diffface.backends.recording.index_sets.hidden import ValuesNeededError, here, is_sets, leaves

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
