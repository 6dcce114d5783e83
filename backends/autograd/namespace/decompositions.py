"""Linear systems, and decompositions of matrices, of the autograd namespace.

A primitive returns one array, not a tuple: values as a row on top of the vectors. So all of the
rules are plain array code and work at every order. Matrices that must be symmetric are
differentiated as if by their symmetric part, as JAX and PyTorch do.

Formulas: I. Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527; M. Giles,
"An extended collection of matrix derivative results", Oxford NA-08/01, 2008; J. Townsend,
"Differentiating the singular value decomposition", 2016.
"""

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp

from diffface.backends.autograd.namespace.rules import (
    Array,
    broadcast_to,
    choose,
    is_box,
    numpy_primitive,
    primitive,
    unbroadcast,
)
from diffface.backends.autograd.namespace.shapes import concat, matrix_transpose

__all__ = ["cholesky", "eigh", "eigvalsh", "inv", "solve", "svd", "svdvals"]

_EighResult: Any = type(np.linalg.eigh(np.eye(1)))
_SVDResult: Any = type(np.linalg.svd(np.eye(1)))
_t = matrix_transpose


def _h(x: Array) -> Array:
    """Conjugate transpose."""
    return anp.conj(_t(x)) if anp.iscomplexobj(x) else _t(x)


def _symmetric(x: Array) -> Array:
    return 0.5 * (x + _h(x))


def _divide(x: Array, d: Array) -> Array:
    """``x / d``, but where `d` is zero: zero if `x` is zero, else NaN.

    Vectors that belong to equal values are not differentiable; a function that uses only the
    values sends zero here, and keeps its derivative.
    """
    equal = d == 0
    undefined = anp.logical_and(equal, x != 0)
    return choose(undefined, np.nan, choose(equal, 0.0, x / choose(equal, 1.0, d)))


# Linear systems and inverses


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


# Cholesky


_cholesky = numpy_primitive(np.linalg.cholesky)


def _half_lower(x: Array) -> Array:
    """Lower triangle with half of the diagonal: the map Phi of Murray."""
    return anp.tril(x) * (1.0 - 0.5 * np.eye(anp.shape(x)[-1]))


def _cholesky_vjp(ans: Array, x: Array) -> Callable[[Array], Array]:
    def vjp(g: Array) -> Array:
        inner = _half_lower(anp.matmul(_h(ans), anp.conj(g)))
        inverse = inv(ans)
        return anp.conj(_symmetric(anp.matmul(_h(inverse), anp.matmul(inner, inverse))))

    return vjp


def _cholesky_jvp(g: Array, ans: Array, x: Array) -> Array:
    half = solve(ans, _symmetric(g))
    return anp.matmul(ans, _half_lower(_h(solve(ans, _h(half)))))


defvjp(_cholesky, _cholesky_vjp)
defjvp(_cholesky, _cholesky_jvp)


def cholesky(x: Array, /, *, upper: bool = False) -> Array:
    """Lower triangular ``L`` with ``x = L L^H``, or ``L^H`` for `upper`."""
    lower = _cholesky(x)
    return _h(lower) if upper else lower


# Symmetric eigenvalues


@primitive
def _eigh(x: Array) -> Array:
    w, v = np.linalg.eigh(x)
    return np.concatenate([w[..., None, :], v], -2)


def _gaps(w: Array) -> Array:
    """``w[j] - w[i]`` at ``[i, j]``, and infinity on the diagonal."""
    n = anp.shape(w)[-1]
    gaps = w[..., None, :] - w[..., :, None]
    return choose(np.eye(n, dtype=bool), np.inf, gaps)


def _diagonal_matrix(x: Array) -> Array:
    return x[..., None, :] * np.eye(anp.shape(x)[-1])


def _eigh_vjp(ans: Array, x: Array) -> Callable[[Array], Array]:
    def vjp(g: Array) -> Array:
        w, v = anp.real(ans[..., 0, :]), ans[..., 1:, :]
        gw, gv = anp.real(g[..., 0, :]), anp.conj(g[..., 1:, :])
        inner = _diagonal_matrix(gw) + _divide(anp.matmul(_h(v), gv), _gaps(w))
        return anp.conj(_symmetric(anp.matmul(v, anp.matmul(inner, _h(v)))))

    return vjp


def _eigh_jvp(g: Array, ans: Array, x: Array) -> Array:
    w, v = anp.real(ans[..., 0, :]), ans[..., 1:, :]
    inner = anp.matmul(_h(v), anp.matmul(_symmetric(g), v))
    dw = anp.sum(inner * np.eye(anp.shape(w)[-1]), axis=-2)
    return concat([dw[..., None, :], anp.matmul(v, _divide(inner, _gaps(w)))], axis=-2)


defvjp(_eigh, _eigh_vjp)
defjvp(_eigh, _eigh_jvp)


def eigh(x: Array, /) -> Any:
    """Eigenvalues, ascending, and orthonormal eigenvectors in columns."""
    stacked = _eigh(x)
    return _EighResult(anp.real(stacked[..., 0, :]), stacked[..., 1:, :])


def eigvalsh(x: Array, /) -> Array:
    """Eigenvalues, ascending."""
    return eigh(x)[0]


# Singular values


@primitive
def _svd(x: Array) -> Array:
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return np.concatenate([s[..., None, :], u, np.swapaxes(vh, -1, -2)], -2)


def _parts(stacked: Array, x: Array) -> tuple[Array, Array, Array]:
    rows = anp.shape(x)[-2]
    return stacked[..., 0, :], stacked[..., 1 : rows + 1, :], stacked[..., rows + 1 :, :]


def _outside(basis: Array, x: Array) -> Array:
    """Part of `x` orthogonal to the columns of `basis`."""
    return x - anp.matmul(basis, anp.matmul(_t(basis), x))


def _svd_vjp(ans: Array, x: Array) -> Callable[[Array], Array]:
    def vjp(g: Array) -> Array:
        (s, u, v), (gs, gu, gv) = _parts(ans, x), _parts(g, x)
        row, column, gaps = s[..., None, :], s[..., :, None], _gaps(s * s)
        ugu, vgv = anp.matmul(_t(u), gu), anp.matmul(_t(v), gv)
        inner = (
            _divide(ugu - _t(ugu), gaps) * row
            + column * _divide(vgv - _t(vgv), gaps)
            + _diagonal_matrix(gs)
        )
        outside_u = anp.matmul(_divide(_outside(u, gu), row), _t(v))
        outside_v = anp.matmul(u, _t(_divide(_outside(v, gv), row)))
        return anp.matmul(u, anp.matmul(inner, _t(v))) + outside_u + outside_v

    return vjp


def _svd_jvp(g: Array, ans: Array, x: Array) -> Array:
    s, u, v = _parts(ans, x)
    row, column, gaps = s[..., None, :], s[..., :, None], _gaps(s * s)
    gv, gtu = anp.matmul(g, v), anp.matmul(_t(g), u)
    inner = anp.matmul(_t(u), gv)
    ds = anp.sum(inner * np.eye(anp.shape(s)[-1]), axis=-2)
    du = anp.matmul(u, _divide(inner * row + column * _t(inner), gaps))
    dv = anp.matmul(v, _divide(column * inner + _t(inner) * row, gaps))
    du = du + _divide(_outside(u, gv), row)
    dv = dv + _divide(_outside(v, gtu), row)
    return concat([ds[..., None, :], du, dv], axis=-2)


defvjp(_svd, _svd_vjp)
defjvp(_svd, _svd_jvp)


def svd(x: Array, /, *, full_matrices: bool = True) -> Any:
    """Singular value decomposition ``x = U diag(S) Vh``; derivatives of real, thin ones only."""
    rows, columns = anp.shape(x)[-2:]
    if not is_box(x):
        return np.linalg.svd(x, full_matrices=full_matrices)
    if anp.iscomplexobj(x):
        raise NotImplementedError("the derivative of a complex `svd` is not implemented")
    if full_matrices and rows != columns:
        raise NotImplementedError(
            "the derivative of `svd` needs `full_matrices=False`: "
            "the extra vectors of a full one are not unique"
        )
    s, u, v = _parts(_svd(x), x)
    return _SVDResult(u, s, _t(v))


def svdvals(x: Array, /) -> Array:
    """Singular values, descending."""
    return svd(x, full_matrices=False)[1]
