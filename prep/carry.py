"""Arrays in and out of a backend: the caller's kind to the backend's, and back."""

from collections.abc import Hashable
from typing import Any

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Array


def to_backend(
    value: Any, source: ArrayLibrary, target: ArrayLibrary, device: Hashable, copy: bool = False
) -> Array:
    """An argument as an array of ``target``; a copy where the caller must be free to write."""
    if copy:
        value = source.fresh(value)
    if source is target:
        return target.detach(value)
    return target.from_numpy(source.to_numpy(value), device)


def to_caller(array: Array, source: ArrayLibrary, target: ArrayLibrary, device: Hashable) -> Any:
    """A result as an array of the caller's kind; ``array`` must be fresh."""
    if source is target and not isinstance(array, np.generic):
        return array
    return target.from_numpy(source.to_numpy(array), device)
