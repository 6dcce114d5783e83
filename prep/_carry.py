"""Arrays in and out of a backend: the caller's kind to the backend's, and back."""

from collections.abc import Hashable
from typing import Any

import numpy as np

from diffface.backends._compiled import Array
from diffface.backends._kind import Kind


def bring(value: Any, source: Kind, target: Kind, device: Hashable, copy: bool = False) -> Array:
    """An argument as an array of ``target``; a copy where the caller must be free to write."""
    if copy:
        value = source.fresh(value)
    if source is target:
        return target.detach(value)
    return target.from_numpy(source.to_numpy(value), device)


def take(array: Array, source: Kind, target: Kind, device: Hashable) -> Any:
    """A result as an array of the caller's kind; ``array`` must be fresh."""
    if source is target and not isinstance(array, np.generic):
        return array
    return target.from_numpy(source.to_numpy(array), device)
