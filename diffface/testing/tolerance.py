"""How far a right answer may be from the closed form: the one place that says so."""

from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.registry import Backend

# Automatic differentiation and the complex step make rounding errors only. Relative to the largest
# entry of the result.
EXACT = {"float64": 1e-12, "float32": 1e-5}

# Central differences have an error of epsilon ** (2/3) at the best step (W. H. Press et al.,
# Numerical Recipes, 3rd ed., section 5.7); so have second derivatives by differences of order 4.
# The factor stands for the higher derivatives of the scenarios' functions.
DIFFERENCES, FACTOR = 2 / 3, 3e3


def adapter_of(backend: Backend, order: int) -> Adapter:
    """Whose arithmetic decides about the accuracy of derivatives of ``order`` 1 or 2."""
    return backend.first_order() if order == 1 else backend.second_order()[0]


def relative(backend: Backend, order: int, dtype: np.dtype[Any]) -> float:
    """Largest relative error of a right derivative."""
    real = np.zeros((), dtype).real.dtype
    if order and adapter_of(backend, order).black_box:
        epsilon = float(np.finfo(real).eps)
        return float(FACTOR * epsilon**DIFFERENCES)
    return EXACT[real.name]


def agreement(backend: Backend, order: int, dtype: np.dtype[Any]) -> float:
    """Largest relative difference between right derivatives of functions that nothing is known of.

    More than the rounding errors of long computations, and less than those of float32 within
    float64; for differences, that of their default steps where higher derivatives are large.
    """
    if order and adapter_of(backend, order).black_box:
        return float(np.finfo(dtype).eps ** (1 / 3 if order == 1 else 1 / 4))
    return rounding(dtype)


def rounding(dtype: np.dtype[Any]) -> float:
    """What is left of a dtype's precision after long computations: 4e-10 for float64."""
    return float(np.finfo(dtype).eps ** 0.6)
