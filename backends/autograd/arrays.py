"""Boxes: autograd's arrays while it differentiates."""

from collections.abc import Hashable
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.tracer import getval

from diffface.backends.compiled import Array
from diffface.backends.mutable import Mutable
from diffface.backends.numpy_arrays import NumPyArrays
from diffface.backends.recording.names import Names


class Boxes(NumPyArrays):
    """``autograd.numpy.numpy_boxes.ArrayBox``: NumPy arrays and numbers that are being traced."""

    name = "autograd"
    backend = "autograd"
    noun = "an autograd box"
    writable = False

    def describe(self, array: Array) -> tuple[tuple[int, ...], np.dtype[Any], Hashable]:
        try:
            return array.shape, array.dtype, None
        except AttributeError:  # a Python number
            return (), np.asarray(_inside(array)).dtype, None

    def is_traced(self, array: Array) -> bool:
        return True

    def traced(self, array: Array) -> Array:
        if isinstance(array, Mutable):
            return array.value
        # Numbers become arrays, which have a shape and a dtype.
        try:
            _ = array.dtype
        except AttributeError:
            return anp.reshape(array, ())
        return array

    def guard(self, a: str, example: Array, names: Names) -> str:
        return ""

    def as_numpy(self, a: str, names: Names) -> str:
        return ""

    def of_numpy(self, a: str, shape: tuple[int, ...], names: Names) -> str:
        return ""


def _inside(array: Array) -> Any:
    """The value under all boxes."""
    value = getval(array)
    while value is not array:
        array, value = value, getval(value)
    return value


BOXES = Boxes()
