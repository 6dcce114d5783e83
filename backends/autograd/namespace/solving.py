"""Linear systems and inverses of the autograd namespace.

Formulas: M. Giles, "An extended collection of matrix derivative results for forward and reverse
mode algorithmic differentiation", Oxford NA-08/01, 2008.
"""

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp

from diffface.backends.autograd.namespace.rules import (
    Array,
    broadcast_to,
    numpy_primitive,
    unbroadcast,
)
from diffface.backends.autograd.namespace.shapes import matrix_transpose as _t

__all__ = ["inv", "solve"]


_solve = numpy_primitive(np.linalg.solve)
defvjp(
    _solve,
    lambda ans, a, b: lambda g: unbroadcast(-anp.matmul(_solve(_t(a), g), _t(ans)), a),
    lambda ans, a, b: lambda g: unbroadcast(_solve(_t(a), g), b),
)
defjvp(
    _solve,
    lambda g, ans, a, b: -_solve(a, anp.matmul(g, ans)),
    lambda g, ans, a, b: _solve(a, broadcast_to(g, anp.shape(ans))),
)


def solve(a: Array, b: Array, /) -> Array:
    """Solve ``a x = b``; `b` is a vector if it has one dimension, else matrices."""
    return _solve(a, b[:, None])[..., 0] if anp.ndim(b) == 1 else _solve(a, b)


inv = numpy_primitive(np.linalg.inv)
defvjp(inv, lambda ans, x: lambda g: -anp.matmul(anp.matmul(_t(ans), g), _t(ans)))
defjvp(inv, lambda g, ans, x: -anp.matmul(anp.matmul(ans, g), ans))
