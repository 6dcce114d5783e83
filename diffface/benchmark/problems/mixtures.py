"""Gaussian mixtures, k-means, and the logarithm of a sum of exponentials."""

import math
from types import ModuleType
from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.benchmark.problems.problem import Array, Problem, Size
from diffface.prep.arguments.const import Const


def gmm_objective(
    alphas: Array, means: Array, icf: Array, points: Array, gamma: Array, m: int
) -> Array:
    """Log-likelihood of `points` under a mixture, plus a Wishart log prior.

    With ``Q_k`` lower triangular, of diagonal ``exp(q_k)`` and strictly lower entries ``l_k``,
    ``-n d/2 log(2 pi) + sum_i logsumexp_k(alpha_k + sum(q_k) - |Q_k (x_i - mu_k)|**2 / 2)
    - n logsumexp(alpha) + sum_k(gamma**2/2 (|exp q_k|**2 + |l_k|**2) - m sum(q_k)) - k C``.

    The products ``Q_k x_i`` of all components and all points are one matrix product.

    Parameters
    ----------
    alphas : array, shape (k,)
        Logarithms of the unnormalised weights.
    means : array, shape (k, d)
    icf : array, shape (k, d (d + 1) / 2)
        Inverse covariance factors: ``q_k``, then ``l_k`` column by column.
    points : array, shape (n, d)
    gamma : float, or array of shape ()
        Scale of the prior.
    m : int
        Degrees of freedom of the prior, beyond ``d + 1``.

    Returns
    -------
    array, shape ()
    """
    xp = namespace(alphas, means, icf, points)
    gamma = xp.asarray(gamma, dtype=icf.dtype)
    n, d = points.shape
    k = alphas.shape[0]
    log_diagonal, lower = icf[:, :d], icf[:, d:]
    diagonal = xp.exp(log_diagonal)
    log_determinant = xp.sum(log_diagonal, axis=1)

    factors = _triangular(xp, diagonal, lower, d)
    shifts = xp.sum(factors * means[:, None, :], axis=2)
    scaled = points @ xp.matrix_transpose(xp.reshape(factors, (k * d, d)))
    residuals = scaled - xp.reshape(shifts, (k * d,))
    distances = xp.sum(xp.reshape(residuals * residuals, (n, k, d)), axis=2)
    exponents = alphas + log_determinant - 0.5 * distances

    likelihood = xp.sum(logsumexp_along(xp, exponents, 1)) - n * logsumexp_along(xp, alphas, 0)
    squares = xp.sum(diagonal * diagonal) + xp.sum(lower * lower)
    prior = 0.5 * gamma**2 * squares - m * xp.sum(log_determinant)
    return likelihood + prior - _constant(xp.log(gamma), n, d, k, m)


def _triangular(xp: Any, diagonal: Array, lower: Array, d: int) -> Array:
    """Make the matrices ``Q_k``, shape (k, d, d), by one gather from a row of their entries."""
    entries = xp.concat([xp.zeros_like(diagonal[:, :1]), diagonal, lower], axis=1)
    # Which entry goes where; entry 0 is the zero of the upper triangle.
    where = np.zeros((d, d), dtype=np.int64)
    np.fill_diagonal(where, np.arange(1, d + 1))
    columns, rows = np.triu_indices(d, 1)
    where[rows, columns] = np.arange(d + 1, d + 1 + rows.size)
    return xp.reshape(entries[:, where.reshape(-1)], (diagonal.shape[0], d, d))


def _constant(log_gamma: Array, n: int, d: int, k: int, m: int) -> Array:
    """``n d/2 log(2 pi) + k C``, C the logarithm of the normaliser of the Wishart density."""
    freedom = d + m + 1
    log_gamma_d = 0.25 * d * (d - 1) * math.log(math.pi) + sum(
        math.lgamma(0.5 * (freedom - j)) for j in range(d)
    )
    normaliser = freedom * d * (log_gamma - 0.5 * math.log(2.0)) - log_gamma_d
    return 0.5 * n * d * math.log(2.0 * math.pi) + k * normaliser


def _make_gmm(size: Size, seed: int) -> tuple[Any, ...]:
    n, d, k = size
    rng = np.random.default_rng(seed)
    alphas, means = rng.standard_normal(k), rng.random((k, d))
    icf = rng.standard_normal((k, d * (d + 1) // 2))
    return alphas, means, icf, Const(rng.standard_normal((n, d))), Const(1.0), Const(0)


GMM = Problem(
    name="gmm",
    f=gmm_objective,
    make_args=_make_gmm,
    sizes=((20, 2, 3), (1_000, 2, 5), (1_000, 10, 25), (10_000, 32, 25)),
    dimensions="n points, d dimensions, k components",
    operator="gradient",
    source=(
        "ADBench `GMM` (github.com/microsoft/ADBench 38cb7931, MIT), arXiv:1807.10129; own code."
    ),
)


def kmeans_cost(centroids: Array, points: Array) -> Array:
    """Sum over the points of the squared distance to the nearest centroid.

    All distances come from one matrix product, ``|p - c|**2 = |p|**2 + |c|**2 - 2 p.c``.

    Parameters
    ----------
    centroids : array, shape (k, d)
    points : array, shape (n, d)

    Returns
    -------
    array, shape ()
    """
    xp = namespace(centroids, points)
    products = points @ xp.matrix_transpose(centroids)
    relative = xp.sum(centroids**2, axis=1) - 2.0 * products
    return xp.sum(points**2) + xp.sum(xp.min(relative, axis=1))


def _make_kmeans(size: Size, seed: int) -> tuple[Array, Const[Array]]:
    n, d, k = size
    points = np.random.default_rng(seed).random((n, d))
    # Points as centroids, so that no cluster is empty and the Hessian is regular.
    return points[-k:].copy(), Const(points)


KMEANS = Problem(
    name="kmeans",
    f=kmeans_cost,
    make_args=_make_kmeans,
    sizes=((50, 3, 4), (1_000, 8, 10), (10_000, 8, 100)),
    dimensions="n points, d dimensions, k centroids",
    operator="hvp",
    source="GradBench `kmeans` (github.com/gradbench/gradbench, MIT); own code.",
)


def logsumexp_along(xp: ModuleType, x: Array, axis: int) -> Array:
    """``log(sum(exp(x)))`` along `axis`, without overflow.

    Any shift near the maximum will do. A whole number has no derivative, so that none has to be
    taken of the maximum (where it would cancel), and no library-specific way to stop it is needed.
    """
    shift = xp.floor(xp.real(xp.max(x, axis=axis, keepdims=True)))
    return xp.log(xp.sum(xp.exp(x - shift), axis=axis)) + xp.squeeze(shift, axis=axis)


def logsumexp(x: Array) -> Array:
    """``log(sum(exp(x)))``.

    Parameters
    ----------
    x : array, shape (n,)

    Returns
    -------
    array, shape ()
    """
    return logsumexp_along(namespace(x), x, 0)


def _make_lse(size: Size, seed: int) -> tuple[Array]:
    (n,) = size
    return (np.random.default_rng(seed).random(n),)


LSE = Problem(
    name="lse",
    f=logsumexp,
    make_args=_make_lse,
    sizes=((10,), (2_500,), (10_000,), (160_000,)),
    dimensions="n",
    operator="gradient",
    source="GradBench `lse` (github.com/gradbench/gradbench, MIT); own code.",
)
