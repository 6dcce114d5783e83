"""The few functions of our own that a recorded program may call besides NumPy's.

Each returns new memory, and the graph may fold it.
"""

from typing import Any

import numpy as np

Shape = tuple[int, ...]


def scatter(base: Any, shape: Shape, dtype: Any, *updates: Any) -> Any:
    """Return `base` (or zeros) with ``x`` added at ``index`` for each (index, x) of `updates`."""
    result = np.zeros(shape, dtype) if base is None else np.array(base)
    for index, x in updates:
        np.add.at(result, index, x)
    return result


def cast(x: Any, dtype: Any) -> Any:
    """Return a copy of `x` of another dtype."""
    return x.astype(dtype)


def total(x: Any, axes: Any, keepdims: Any) -> Any:
    """Return the sum of `x` over `axes`, as ``np.sum`` does without its detours."""
    return np.add.reduce(x, axes, keepdims=keepdims)


def expand(x: Any, shape: Shape, dtype: Any) -> Any:
    """Return a new array of `shape` filled with `x`: what ``np.broadcast_to`` promises."""
    result = np.empty(shape, dtype)
    result[...] = x
    return result


KERNELS = (scatter, cast, total, expand)
