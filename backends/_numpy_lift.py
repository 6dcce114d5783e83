"""Outputs of NumPy functions and programs as arrays."""

import numpy as np

from diffface.backends._compiled import Array, Arrays, Program


def lift(value: object, like: Array) -> Array:
    """A copy of ``value`` as an array; Python numbers take the precision of ``like``.

    A copy, since a function may return the same buffer again at its next evaluation.
    """
    if isinstance(value, np.ndarray):
        return np.array(value)
    if isinstance(value, np.number | np.bool_):
        return value
    if isinstance(value, bool | int | float | complex):
        return np.asarray(value, np.result_type(like.dtype, value))
    raise TypeError


def contiguous(program: Program) -> Program:
    """``program`` with C-contiguous outputs."""

    def run(*inputs: Array) -> Arrays:
        return tuple(
            [
                a if isinstance(a, np.generic) or a.flags.c_contiguous else np.array(a, order="C")
                for a in program(*inputs)
            ]
        )

    return run
