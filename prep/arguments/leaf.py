"""What a preparation remembers of one leaf of an argument: never its value, unless static."""

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.arrays import NUMPY_SCALAR, PYTHON, ArrayLibrary, library_of


class Leaf(NamedTuple):
    """An array or number that may differ in value from call to call."""

    kind: ArrayLibrary
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: Hashable

    def __str__(self) -> str:
        if self.kind is PYTHON:
            return f"Python {self.dtype.name.rstrip('0123456789')}"
        place = "" if self.device is None else f" on {self.kind.place(self.device)}"
        return f"{self.kind.name} {self.dtype.name}{list(self.shape)}{place}"


class Static:
    """A string, integer, flag, function or other object: part of the signature by its value."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static):
            return False
        if self.value is other.value:
            return True
        if type(self.value) is not type(other.value):
            return False
        try:
            return bool(self.value == other.value)
        except Exception:  # noqa: BLE001 - an object that cannot be compared equals only itself
            return False

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return hash(type(self.value))

    def __str__(self) -> str:
        return f"static {self.value!r}"


def describe(value: object, constant: bool) -> Leaf | Static:
    """The signature of a leaf; integers and flags are static when they are constant numbers."""
    kind = library_of(value)
    if kind is None:
        return Static(value)
    leaf = Leaf(kind, *kind.describe(value))
    if constant and kind in (PYTHON, NUMPY_SCALAR) and leaf.dtype.kind not in "fc":
        return Static(value)
    return leaf
