"""Sparse matrices of SciPy, made of entries."""

from collections.abc import Callable
from typing import Any

import numpy as np


def scipy_matrices(
    rows: Any, cols: Any, shape: tuple[int, int], layout: str, to_numpy: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """From entries to a ``csr_array``, ``csc_array`` or ``coo_array`` of ``scipy.sparse``."""
    import scipy.sparse as sp

    m, n = shape
    # SciPy's solvers of linear equations take 32 bits alone.
    index = np.int32 if max(m, n, len(rows)) < 2**31 else np.int64
    rows, cols = rows.astype(index), cols.astype(index)
    if layout == "coo":
        return lambda data: sp.coo_array((to_numpy(data), (rows.copy(), cols.copy())), shape)
    outer, inner, length = (rows, cols, m) if layout == "csr" else (cols, rows, n)
    ends = np.searchsorted(outer, np.arange(length + 1)).astype(index)
    kind = sp.csr_array if layout == "csr" else sp.csc_array

    def build(data: Any) -> Any:
        # Copies, since methods like eliminate_zeros write to them.
        matrix = kind((to_numpy(data), inner.copy(), ends.copy()), shape)
        matrix.has_canonical_format = True
        return matrix

    return build
