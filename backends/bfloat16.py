"""bfloat16, a floating-point dtype that NumPy itself lacks."""

from typing import Any

import numpy as np

# Distance from 1 to the next number: there are 8 bits.
EPS = 2.0**-7


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether ``dtype`` is bfloat16: that of `ml_dtypes`, or sixteen bits by that name."""
    return dtype.kind == "V" and "bfloat16" in (dtype.names or (dtype.name,))


def kind_of(dtype: np.dtype[Any]) -> str:
    """``dtype.kind``, where bfloat16 is floating-point."""
    return "f" if is_bfloat16(dtype) else dtype.kind


def eps_of(dtype: np.dtype[Any]) -> float:
    """Distance from 1 to the next number of a floating-point or complex dtype."""
    return EPS if is_bfloat16(dtype) else float(np.finfo(dtype).eps)


def widened(array: Any) -> Any:
    """``array`` in float32 where it is of bfloat16, whose numbers are those of float32 cut off."""
    if not is_bfloat16(array.dtype):
        return array
    bits = np.ascontiguousarray(array).view(np.uint16).astype(np.uint32) << 16
    return bits.view(np.float32).reshape(array.shape)


def narrowed(array: Any, dtype: np.dtype[Any]) -> Any:
    """Numbers of float32 in ``dtype``, which may be bfloat16; rounded to the nearest, even ones."""
    if not is_bfloat16(dtype):
        return np.asarray(array, dtype)
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded.view(dtype).reshape(np.shape(array))
