"""Perturb inputs, to tell agreement from coincidence."""

from typing import Any

import numpy as np


def perturb(x: Any) -> Any:
    """An array or number with every floating-point element moved by some thousandths.

    Each moves differently, zeros as well; what is not a number becomes one.
    """
    if np.result_type(x).kind not in "fc":
        return x
    steps = 1e-3 * np.cos(1 + np.arange(np.size(x))).reshape(np.shape(x))
    finite = np.where(np.isfinite(x), x, 1.0)
    moved = np.asarray(finite + steps * (1 + np.abs(finite)), np.result_type(x))
    if isinstance(x, np.ndarray):
        return moved
    return moved[()] if isinstance(x, np.generic) else moved.item()
