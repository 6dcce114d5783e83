"""Arrays in and out of a backend: the caller's kind to the backend's, and back."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from diffface.backends._compiled import Array, Arrays
from diffface.backends._kind import PYTHON, Kind
from diffface.prep._leaf import Leaf


def bring(values: Sequence[Any], leaves: Sequence[Leaf], kind: Kind, device: Hashable,
          copy: bool = False) -> Arrays:  # fmt: skip
    """Leaves of arguments as arrays of ``kind``; copies where the caller must be free to write."""
    return tuple(
        [
            _bring(value, leaf.kind, kind, device, copy)
            for value, leaf in zip(values, leaves, strict=True)
        ]
    )


def bring_constants(values: Sequence[Any], leaves: Sequence[Leaf], kind: Kind, device: Hashable,
                    copy: bool = False) -> Arrays:  # fmt: skip
    """Like ``bring``, but Python numbers stay what they are: frameworks promote them weakly."""
    return tuple(
        [
            value if leaf.kind is PYTHON else _bring(value, leaf.kind, kind, device, copy)
            for value, leaf in zip(values, leaves, strict=True)
        ]
    )


def _bring(value: Any, source: Kind, target: Kind, device: Hashable, copy: bool) -> Array:
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
