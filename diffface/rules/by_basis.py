"""One mode of a NumPy rule from the other, along one unit vector after the other."""

from collections.abc import Callable
from typing import Any

import numpy as np

from diffface.backends.compiled import Arrays


def transpose_by_basis(linear: Callable[[Arrays], Arrays], domain: Arrays, given: Arrays) -> Arrays:
    """``L^H given`` for the linear function ``L``, which takes arrays like ``domain``.

    By the real inner product ``Re<a, b>``: complex arrays have two real dimensions an element.
    """
    found = []
    for i, array in enumerate(domain):
        result = np.zeros(array.shape, array.dtype)
        for k in range(array.size):
            for unit in (1.0, 1j) if array.dtype.kind == "c" else (1.0,):
                seeds = [np.zeros(a.shape, a.dtype) for a in domain]
                seeds[i].reshape(-1)[k] = unit
                result.reshape(-1)[k] += unit * _inner(linear(tuple(seeds)), given)
        found.append(result)
    return tuple(found)


def _inner(x: Arrays, y: Arrays) -> Any:
    return sum(float(np.real(np.vdot(a, b))) for a, b in zip(x, y, strict=True))
