"""Hand tracking: a skeleton, its skin, and the distance to measured points."""

from itertools import pairwise
from typing import Any, TypedDict

import numpy as np

from diffface.backends.namespace import namespace
from diffface.benchmark.problems.bundle_adjustment import rotate
from diffface.benchmark.problems.problem import Array, Problem, Size
from diffface.prep.arguments.const import Const

_JOINTS = 4


class HandModel(TypedDict):
    """A skeleton of B bones (wrist, four bones a finger, forearm) and a skin of V vertices.

    The tree that the objectives take as a constant.
    """

    parents: tuple[int, ...]
    """Parent of each bone, -1 for the wrist; static, as it shapes the computation."""
    base_relatives: Array
    """Each bone's frame in that of its parent at rest, shape (B, 4, 4)."""
    inverse_base_absolutes: Array
    """Inverse of each bone's frame in space at rest, shape (B, 4, 4)."""
    base_positions: Array
    """Vertices at rest, homogeneous, shape (V, 4)."""
    weights: Array
    """How much each vertex follows each bone, shape (V, B); rows sum to one."""
    triangles: Array
    """Vertices of each triangle of the skin, int, shape (T, 3)."""


def finger_parents(fingers: int) -> tuple[int, ...]:
    """Return the parents of a wrist, `fingers` chains of four bones, and a forearm."""
    chains = (
        0 if joint == 0 else 1 + _JOINTS * finger + joint - 1
        for finger in range(fingers)
        for joint in range(_JOINTS)
    )
    return (-1, *chains, 0)


def synthetic_hand(fingers: int, vertices: int, rng: np.random.Generator) -> HandModel:
    """Make a random hand: bones of unit-like length, each vertex on up to two bones."""
    parents = finger_parents(fingers)
    bones = len(parents)
    relatives = np.tile(np.eye(4), (bones, 1, 1))
    relatives[:, :3, :3] = _random_rotations(bones, rng)
    relatives[:, :3, 3] = 0.1 * rng.standard_normal((bones, 3))
    absolutes = np.empty_like(relatives)
    for bone, parent in enumerate(parents):
        absolutes[bone] = relatives[bone] if parent < 0 else absolutes[parent] @ relatives[bone]

    weights = np.zeros((vertices, bones))
    share = rng.uniform(0.0, 1.0, vertices)
    everyone = np.arange(vertices)
    np.add.at(weights, (everyone, rng.integers(0, bones, vertices)), share)
    np.add.at(weights, (everyone, rng.integers(0, bones, vertices)), 1.0 - share)
    positions = np.ones((vertices, 4))
    positions[:, :3] = 0.1 * rng.standard_normal((vertices, 3))
    return HandModel(
        parents=parents,
        base_relatives=relatives,
        inverse_base_absolutes=np.linalg.inv(absolutes),
        base_positions=positions,
        weights=weights,
        triangles=rng.integers(0, vertices, (2 * vertices, 3)),
    )


def _random_rotations(count: int, rng: np.random.Generator) -> Any:
    orthogonal, upper = np.linalg.qr(rng.standard_normal((count, 3, 3)))
    orthogonal = orthogonal * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None, :]
    return orthogonal * np.sign(np.linalg.det(orthogonal))[:, None, None]


_SOURCE = (
    "ADBench `Hand` (github.com/microsoft/ADBench 38cb7931, MIT), arXiv:1807.10129; "
    "J. Taylor et al., CVPR 2014; own code."
)


def hand_simple(theta: Array, model: HandModel, points: Array, vertices: Array) -> Array:
    """Differences of measured points and their vertices.

    Parameters
    ----------
    theta : array, shape (6 + 4 F,)
        Global rotation (3), translation (3), and for each of F fingers the flexion and abduction
        of its second bone and the flexions of its third and fourth.
    model : HandModel
    points : array, shape (n, 3)
    vertices : array of int, shape (n,)

    Returns
    -------
    array, shape (3 n,)
    """
    xp = namespace(theta, points)
    return xp.reshape(points - posed_vertices(xp, theta, model, vertices), (-1,))


def hand_complicated(
    us: Array, theta: Array, model: HandModel, points: Array, triangles: Array
) -> Array:
    """Differences of measured points and points on triangles of the skin.

    Parameters
    ----------
    us : array, shape (n, 2)
        The first two barycentric coordinates of each point.
    theta : array, shape (6 + 4 F,)
        See `hand_simple`.
    model : HandModel
    points : array, shape (n, 3)
    triangles : array of int, shape (n,)

    Returns
    -------
    array, shape (3 n,)
    """
    xp = namespace(us, theta)
    corners = xp.take(model["triangles"], triangles, axis=0)
    vertices = posed_vertices(xp, theta, model, xp.reshape(corners, (-1,)))
    barycentric = xp.concat([us, 1.0 - xp.sum(us, axis=1, keepdims=True)], axis=1)
    on_skin = xp.sum(barycentric[:, :, None] * xp.reshape(vertices, (-1, 3, 3)), axis=1)
    return xp.reshape(points - on_skin, (-1,))


def posed_vertices(xp: Any, theta: Array, model: HandModel, vertices: Array) -> Array:
    """Pose the hand, and return the positions of some `vertices`, shape (n, 3).

    Linear blend skinning: a vertex moves with the weighted mean of the bones' transforms. Only
    the vertices asked for are moved.
    """
    transforms = _absolutes(xp, theta, model) @ model["inverse_base_absolutes"]
    weights = xp.take(model["weights"], vertices, axis=0)
    base = xp.take(model["base_positions"], vertices, axis=0)
    blended = weights @ xp.reshape(transforms[:, :3, :], (-1, 12))
    positions = xp.sum(xp.reshape(blended, (-1, 3, 4)) * base[:, None, :], axis=2)
    return rotate(xp, theta[None, :3], positions) + theta[3:6]


def _absolutes(xp: Any, theta: Array, model: HandModel) -> Array:
    """Frames of the bones in space, shape (B, 4, 4): one product for each depth of the tree."""
    parents = model["parents"]
    relatives = model["base_relatives"] @ _joint_rotations(xp, theta, len(parents))
    levels = _levels(parents)
    absolutes = [relatives[levels[0]]]
    for above, bones in pairwise(levels):
        rows = np.searchsorted(above, np.array(parents)[bones])
        absolutes.append(absolutes[-1][rows] @ relatives[bones])
    return xp.concat(absolutes)[np.argsort(np.concatenate(levels))]


def _levels(parents: tuple[int, ...]) -> list[Array]:
    """Group the bones by their depth in the tree, ascending in each group."""
    depth = np.zeros(len(parents), dtype=np.int64)
    for bone, parent in enumerate(parents):
        depth[bone] = 0 if parent < 0 else depth[parent] + 1
    return [np.flatnonzero(depth == d) for d in range(int(depth.max()) + 1)]


def _joint_rotations(xp: Any, theta: Array, bones: int) -> Array:
    """Rotation of each bone about its joint, homogeneous, shape (B, 4, 4).

    ``Rz(abduction) Rx(flexion)``; bones without angles have zeros.
    """
    fingers = (bones - 2) // 4
    flexion, abduction = np.zeros(bones, dtype=np.int64), np.zeros(bones, dtype=np.int64)
    for finger in range(fingers):
        second, first_angle = 2 + 4 * finger, 1 + 4 * finger
        flexion[second : second + 3] = first_angle, first_angle + 2, first_angle + 3
        abduction[second] = first_angle + 1
    angles = xp.concat([xp.zeros_like(theta[:1]), theta[6:]])
    x, z = angles[flexion], angles[abduction]
    sx, cx, sz, cz = xp.sin(x), xp.cos(x), xp.sin(z), xp.cos(z)
    zero, one = xp.zeros_like(x), xp.ones_like(x)
    entries = [
        *(cz, -sz * cx, sz * sx, zero),
        *(sz, cz * cx, -cz * sx, zero),
        *(zero, sx, cx, zero),
        *(zero, zero, zero, one),
    ]
    return xp.reshape(xp.stack(entries, axis=1), (bones, 4, 4))


def _make_args(size: Size, seed: int) -> tuple[Any, ...]:
    fingers, skin, n = size
    rng = np.random.default_rng(seed)
    model = synthetic_hand(fingers, skin, rng)
    theta = 0.3 * rng.standard_normal(6 + 4 * fingers)
    points, vertices = rng.standard_normal((n, 3)), rng.integers(0, skin, n)
    return theta, Const(model), Const(points), Const(vertices)


def _make_complicated_args(size: Size, seed: int) -> tuple[Any, ...]:
    theta, model, points, triangles = _make_args(size, seed)
    us = np.random.default_rng([seed, 1]).uniform(0.0, 0.5, (size[2], 2))
    return us, theta, model, points, triangles


HAND_SIMPLE = Problem(
    name="hand-simple",
    f=hand_simple,
    make_args=_make_args,
    sizes=((2, 20, 3), (5, 544, 100), (5, 10_000, 10_000)),
    dimensions="F fingers, V vertices, n points",
    operator="jacobian",
    source=_SOURCE,
)

HAND_COMPLICATED = Problem(
    name="hand-complicated",
    f=hand_complicated,
    make_args=_make_complicated_args,
    sizes=HAND_SIMPLE.sizes,
    dimensions=HAND_SIMPLE.dimensions,
    operator="jacobian",
    source=_SOURCE,
)
