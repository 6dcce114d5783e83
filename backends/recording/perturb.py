"""Perturb inputs, to tell agreement from coincidence."""

from typing import Any

import numpy as np

from diffface.backends.bfloat16 import EPS, is_bfloat16, kind_of, narrowed, widened


def perturb(x: Any) -> Any:
    """An array or number with every floating-point element moved by some thousandths.

    Each moves differently, zeros as well; what is not a number becomes one.
    """
    dtype = np.result_type(x)
    if kind_of(dtype) not in "fc":
        return x
    if is_bfloat16(dtype):
        return narrowed(_moved(widened(x), 16 * EPS), dtype)
    moved = np.asarray(_moved(x, 1e-3), dtype)
    if isinstance(x, np.ndarray):
        return moved
    return moved[()] if isinstance(x, np.generic) else moved.item()


def _moved(x: Any, size: float) -> Any:
    steps = size * np.cos(1 + np.arange(np.size(x))).reshape(np.shape(x))
    finite = np.where(np.isfinite(x), x, 1.0)
    return finite + steps * (1 + np.abs(finite))
