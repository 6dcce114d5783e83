"""Bundle adjustment, and the rotation of points that it needs."""

from types import ModuleType
from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.benchmark.problems.problem import Array, Problem, Size
from diffface.prep.arguments.const import Const


def rotate(xp: ModuleType, rotation: Array, vectors: Array) -> Array:
    """Rotate `vectors` by the angle ``|rotation|`` about `rotation` (Rodrigues' formula).

    ``v cos(t) + (r x v) sin(t)/t + r (r.v) (1 - cos(t))/t**2`` with ``t = |r|``. Where the angle
    is zero, the series of the three factors in ``t**2`` takes over, so that derivatives of first
    and second order are right there as well; the other branch then gets a harmless angle, as a
    NaN in the branch not taken would still spoil the derivative.

    Parameters
    ----------
    rotation : array, shape (..., 3)
    vectors : array, shape (..., 3)

    Returns
    -------
    array, shape (..., 3)
    """
    square = xp.sum(rotation * rotation, axis=-1, keepdims=True)
    zero = square == 0.0
    angle = xp.sqrt(xp.where(zero, 1.0, square))
    half_sine = xp.sin(0.5 * angle)
    cosine = xp.where(zero, 1.0 - square / 2.0, xp.cos(angle))
    sine = xp.where(zero, 1.0 - square / 6.0, xp.sin(angle) / angle)
    # 1 - cos(t) = 2 sin(t/2)**2, without the cancellation.
    versine = xp.where(zero, 0.5 - square / 24.0, 2.0 * (half_sine / angle) ** 2)
    along = xp.sum(rotation * vectors, axis=-1, keepdims=True)
    return cosine * vectors + sine * xp.linalg.cross(rotation, vectors) + versine * along * rotation


def bundle_adjustment(
    cameras: Array,
    points: Array,
    weights: Array,
    camera_index: Array,
    point_index: Array,
    features: Array,
) -> Array:
    """Weighted reprojection errors, then the weights' own errors ``1 - w**2``.

    A camera is rotation (3), centre (3), focal length, principal point (2) and radial distortion
    (2). A point ``X`` becomes ``Y = rotate(r, X - C)``, then ``z = Y[:2] / Y[2]``, then
    ``f z (1 + k1 |z|**2 + k2 |z|**4) + x0``.

    Parameters
    ----------
    cameras : array, shape (n, 11)
    points : array, shape (m, 3)
    weights : array, shape (p,)
    camera_index, point_index : array of int, shape (p,)
        Which camera saw which point.
    features : array, shape (p, 2)
        Where it was seen.

    Returns
    -------
    array, shape (3 p,)
    """
    xp = namespace(cameras, points, weights)
    camera = xp.take(cameras, camera_index, axis=0)
    offset = xp.take(points, point_index, axis=0) - camera[:, 3:6]
    seen = rotate(xp, camera[:, 0:3], offset)
    projected = seen[:, :2] / seen[:, 2:]
    square = xp.sum(projected * projected, axis=1, keepdims=True)
    distortion = 1.0 + square * (camera[:, 9:10] + square * camera[:, 10:11])
    image = camera[:, 6:7] * distortion * projected + camera[:, 7:9]
    errors = weights[:, None] * (image - features)
    return xp.concat([xp.reshape(errors, (-1,)), 1.0 - weights * weights])


def replicate(
    camera: Array, point: Array, weight: float, feature: Array, size: Size
) -> tuple[Any, ...]:
    """Repeat one of each, as ADBench does: observation i is of camera i mod n, point i mod m."""
    n, m, p = size
    observations = np.arange(p)
    return (
        np.tile(camera, (n, 1)),
        np.tile(point, (m, 1)),
        np.full(p, weight),
        Const(observations % n),
        Const(observations % m),
        Const(np.tile(feature, (p, 1))),
    )


def _make_args(size: Size, seed: int) -> tuple[Any, ...]:
    n, m, p = size
    rng = np.random.default_rng(seed)
    # Cameras near the origin that look at points in front of them, with pixel-like lengths.
    intrinsics = np.array([800.0, 320.0, 240.0, -0.1, 0.01])
    cameras = np.concatenate(
        [0.3 * rng.standard_normal((n, 6)), intrinsics * rng.uniform(0.9, 1.1, (n, 5))], axis=1
    )
    points = rng.uniform((-2.0, -2.0, 4.0), (2.0, 2.0, 8.0), (m, 3))
    seen = Const(np.arange(p) % n), Const(np.arange(p) % m)
    features = rng.uniform((0.0, 0.0), (640.0, 480.0), (p, 2))
    return cameras, points, rng.uniform(0.5, 1.5, p), *seen, Const(features)


# github.com/microsoft/ADBench 38cb7931 (MIT), data/ba/ba1_n49_m7776_p31843.txt: the one camera,
# point, weight and feature that all observations share.
BA1 = (
    np.array([
        -0.758453, -1.109613, -0.845551, 34.556073, 39.676747, 53.881673, 419.194514, 5.864426,
        -8.518870, 0.087812, 0.002739,
    ]),
    np.array([7.203245, 0.001144, 3.023326]), 0.417022, np.array([271.760969, 834.209256]),
    (49, 7_776, 31_843),
)  # fmt: skip

BUNDLE_ADJUSTMENT = Problem(
    name="ba",
    f=bundle_adjustment,
    make_args=_make_args,
    sizes=((2, 10, 10), (49, 7_776, 31_843)),
    dimensions="n cameras, m points, p observations",
    operator="jacobian",
    source="ADBench `BA` (github.com/microsoft/ADBench 38cb7931, MIT), arXiv:1807.10129; own code.",
)
