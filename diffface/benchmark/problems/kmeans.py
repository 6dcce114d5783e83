"""The k-means objective, whose Hessian-vector product gives Newton steps for the centroids."""

import numpy as np

from diffface.backends.namespace import namespace
from diffface.benchmark.problems.problem import Array, Problem, Size
from diffface.prep.arguments.const import Const


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


def _make_args(size: Size, seed: int) -> tuple[Array, Const[Array]]:
    n, d, k = size
    points = np.random.default_rng(seed).random((n, d))
    # Points as centroids, so that no cluster is empty and the Hessian is regular.
    return points[-k:].copy(), Const(points)


KMEANS = Problem(
    name="kmeans",
    f=kmeans_cost,
    make_args=_make_args,
    sizes=((50, 3, 4), (1_000, 8, 10), (10_000, 8, 100)),
    dimensions="n points, d dimensions, k centroids",
    operator="hvp",
    source="GradBench `kmeans` (github.com/gradbench/gradbench, MIT); own code.",
)
