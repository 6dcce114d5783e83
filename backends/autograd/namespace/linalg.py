"""Linear algebra of the autograd namespace, ``namespace.linalg``, but for the decompositions.

Formulas: M. Giles, "An extended collection of matrix derivative results for forward and reverse
mode algorithmic differentiation", Oxford NA-08/01, 2008.
"""

from collections.abc import Sequence
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp

from diffface.backends.autograd.namespace.decompositions import (
    cholesky,
    eigh,
    eigvalsh,
    inv,
    solve,
    svd,
    svdvals,
)
from diffface.backends.autograd.namespace.reductions import max as _max
from diffface.backends.autograd.namespace.reductions import min as _min
from diffface.backends.autograd.namespace.reductions import sum as _sum
from diffface.backends.autograd.namespace.reductions import vecdot
from diffface.backends.autograd.namespace.rules import (
    Array,
    Axis,
    axes_of,
    broadcast_to,
    choose,
    constant,
    numpy_primitive,
    primitive,
)
from diffface.backends.autograd.namespace.shapes import matrix_transpose, roll

__all__ = [
    "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm",
    "matrix_power", "matrix_rank", "matrix_transpose", "norm", "outer", "pinv", "slogdet", "solve",
    "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip

matmul, tensordot = anp.matmul, anp.tensordot
matrix_rank = constant(lambda x, *args, **kwargs: np.linalg.matrix_rank(x, *args, **kwargs))
_t = matrix_transpose
_SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))


# Inverses and powers


def pinv(x: Array, /, *, rtol: Any = None) -> Array:
    """Moore-Penrose inverse; `rtol` is relative to the largest singular value."""
    u, s, vh = svd(x, full_matrices=False)
    if rtol is None:
        rtol = max(anp.shape(x)[-2:]) * np.finfo(anp.result_type(s)).eps
    kept = s > rtol * _max(s, -1, keepdims=True)
    inverse = choose(kept, 1.0 / choose(kept, s, 1.0), 0.0)
    return matmul(_t(anp.conj(vh)) * inverse[..., None, :], _t(anp.conj(u)))


def matrix_power(x: Array, n: int, /) -> Array:
    """Product of `n` times the same matrix, by squaring."""
    x = inv(x) if n < 0 else x
    power, n = broadcast_to(np.eye(anp.shape(x)[-1]), anp.shape(x)), abs(n)
    while n:
        power = matmul(power, x) if n % 2 else power
        n //= 2
        x = matmul(x, x) if n else x
    return power


# Determinants


# The derivative inverts the matrix, which must not be singular.
det = numpy_primitive(np.linalg.det)


@primitive
def _logabsdet(x: Array) -> Array:
    return np.linalg.slogdet(x)[1]


@primitive
def _phase(x: Array) -> Array:
    return np.linalg.slogdet(x)[0]


def _trace_solve(x: Array, g: Array) -> Array:
    """Derivative of ``log det x`` along `g`: ``tr(x^-1 g)``."""
    return trace(solve(x, g))


def _matrix(g: Array) -> Array:
    """Let scalars in ``(...)`` broadcast against matrices in ``(..., n, n)``."""
    return anp.reshape(g, (*anp.shape(g), 1, 1))


defvjp(det, lambda ans, x: lambda g: _matrix(g * ans) * _t(inv(x)))
defjvp(det, lambda g, ans, x: ans * _trace_solve(x, g))
defvjp(_logabsdet, lambda ans, x: lambda g: _matrix(g) * _t(inv(x)))
defjvp(_logabsdet, lambda g, ans, x: anp.real(_trace_solve(x, g)))
# Only for complex matrices: along g the phase turns by the imaginary part of the trace.
defvjp(_phase, lambda ans, x: lambda g: _matrix(1j * anp.imag(g * ans)) * _t(inv(x)))
defjvp(_phase, lambda g, ans, x: ans * 1j * anp.imag(_trace_solve(x, g)))

_sign = constant(lambda x: np.linalg.slogdet(x)[0])


def slogdet(x: Array, /) -> Any:
    """Sign (for complex `x` the phase) and logarithm of the absolute value of ``det x``."""
    sign = _phase(x) if anp.iscomplexobj(x) else _sign(x)
    return _SlogdetResult(sign, _logabsdet(x))


# Products and diagonals


def outer(x1: Array, x2: Array, /) -> Array:
    """``x1[i] * x2[j]``."""
    return x1[:, None] * x2[None, :]


def cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Cross product of vectors of length three."""
    next1, next2 = (roll(x, -1, axis=axis) for x in (x1, x2))
    last1, last2 = (roll(x, -2, axis=axis) for x in (x1, x2))
    return next1 * last2 - last1 * next2


def diagonal(x: Array, /, *, offset: int = 0) -> Array:
    """Diagonal `offset` of the last two axes."""
    rows, columns = anp.shape(x)[-2:]
    start, n = max(-offset, 0), max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    i = np.arange(start, start + n)
    return x[..., i, i + offset]


def trace(x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """Sum of the diagonal `offset` of the last two axes."""
    return _sum(diagonal(x, offset=offset), -1, dtype=dtype)


# Norms


@primitive
def _norm2(x: Array, axis: tuple[int, ...]) -> Array:
    return np.sqrt(np.sum(np.real(x * np.conj(x)), axis=axis, keepdims=True))


def _direction(x: Array, ans: Array) -> Array:
    """Gradient of the 2-norm, with zero (a subgradient) where the norm is zero."""
    return anp.conj(x) / choose(ans == 0, 1.0, ans)


defvjp(_norm2, lambda ans, x, axis: lambda g: g * _direction(x, ans))
defjvp(_norm2, lambda g, ans, x, axis: anp.real(_sum(g * _direction(x, ans), axis, keepdims=True)))


def _drop(x: Array, axes: Sequence[int], keepdims: bool) -> Array:
    """Remove the `axes` of length one, unless they are to be kept."""
    shape = tuple(n for i, n in enumerate(anp.shape(x)) if i not in axes)
    return x if keepdims else anp.reshape(x, shape)


def vector_norm(
    x: Array,
    /,
    *,
    axis: Axis = None,
    keepdims: bool = False,
    ord: Any = 2,  # the standard's name
) -> Array:
    """`ord`-norm of the elements along `axis`; at zero the 2-norm has derivative zero."""
    axes = axes_of(axis, anp.ndim(x))
    if ord == 2:
        return _drop(_norm2(x, axes), axes, keepdims)
    if ord == 0:
        return _sum(anp.not_equal(x, 0) * 1.0, axes, keepdims=keepdims)
    size = anp.abs(x)
    if ord in (np.inf, -np.inf):
        return (_max if ord > 0 else _min)(size, axes, keepdims=keepdims)
    if ord == 1:
        return _sum(size, axes, keepdims=keepdims)
    return _sum(size**ord, axes, keepdims=keepdims) ** (1.0 / ord)


def matrix_norm(
    x: Array, /, *, keepdims: bool = False, ord: Any = "fro"
) -> Array:  # the standard's name
    """`ord`-norm of the matrices in the last two axes."""
    ndim = anp.ndim(x)
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    extreme = _min if ord in (-1, -2, -np.inf) else _max
    if ord == "nuc":
        value = _sum(svdvals(x), -1)
    elif ord in (2, -2):
        value = extreme(svdvals(x), -1)
    elif ord in (1, -1, np.inf, -np.inf):
        summed = -2 if ord in (1, -1) else -1
        value = extreme(_sum(anp.abs(x), summed), -1)
    else:
        raise ValueError(f"`ord` must be 1, 2, inf, their negatives, 'fro' or 'nuc', got {ord!r}")
    return anp.reshape(value, (*anp.shape(x)[: ndim - 2], 1, 1)) if keepdims else value


def norm(
    x: Array,
    ord: Any = None,
    axis: Axis = None,
    keepdims: bool = False,  # NumPy's name
) -> Array:
    """NumPy's norm: of vectors, or of matrices where `axis` is a pair."""
    if ord is None or (axis is None and anp.ndim(x) == 1) or isinstance(axis, int):
        return vector_norm(x, axis=axis, keepdims=keepdims, ord=2 if ord is None else ord)
    axes = axes_of(axis, anp.ndim(x))
    value = matrix_norm(anp.moveaxis(x, axes, (-2, -1)), ord=ord)
    kept = tuple(1 if i in axes else n for i, n in enumerate(anp.shape(x)))
    return anp.reshape(value, kept) if keepdims else value
