"""Base class of the black-box NumPy backends."""

from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.numpy_arrays import NUMPY


class NumPyAdapter(Adapter):
    """An adapter that evaluates ``f`` at points of its choice: it has no reverse mode."""

    arrays = NUMPY
    library = "numpy"

    @property
    def xp(self) -> Any:
        return np

    def build(self, program: Program, examples: Arrays) -> Compiled:
        def run(*inputs: Array) -> Arrays:
            return tuple(
                [
                    a
                    if isinstance(a, np.generic) or a.flags.c_contiguous
                    else np.array(a, order="C")
                    for a in program(*inputs)
                ]
            )

        return Compiled(run, "stencil", program)

    def lift(self, value: object, like: Array) -> Array:
        # A copy, since a function may return the same buffer again at its next evaluation.
        if isinstance(value, np.ndarray):
            return np.array(value)
        if isinstance(value, np.number | np.bool_):
            return value
        if isinstance(value, bool | int | float | complex):
            return np.asarray(value, np.result_type(like.dtype, value))
        if getattr(type(value), "is_index_sets", False):
            return value
        raise TypeError

    def dependence(self, program: Program, examples: Arrays, primals: int, order: int) -> Any:
        from diffface.backends.numpy.dependence import dependence

        return dependence(program, examples, primals, order)
