"""Outputs of NumPy functions as arrays."""

import numpy as np

from diffface.backends._compiled import Array


def lift(value: object, like: Array) -> Array:
    """A copy of ``value`` as an array; Python numbers take the precision of ``like``.

    A copy, since a function may return the same buffer again at its next evaluation.
    """
    if isinstance(value, bool | int | float | complex) and not isinstance(value, np.generic):
        return np.asarray(value, np.result_type(like.dtype, type(value)))
    if isinstance(value, np.ndarray | np.number | np.bool_):
        return np.array(value)
    raise TypeError
