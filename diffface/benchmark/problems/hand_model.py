"""The model of a hand: a skeleton and the skin on it."""

from typing import Any, TypedDict

import numpy as np

from diffface.benchmark.problems.problem import Array

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
