"""Readers of ADBench's text files: the arguments of its problems, ready for their functions.

Formats: github.com/microsoft/ADBench 38cb7931 (MIT), ``data/`` and ``src/python/shared``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diffface.benchmark.problems.bundle_adjustment import replicate
from diffface.benchmark.problems.hand import HandModel
from diffface.benchmark.problems.problem import Array
from diffface.prep.arguments.const import Const


class _Tokens:
    """The numbers of a file, one after the other."""

    def __init__(self, path: Path) -> None:
        self._tokens: Iterator[str] = iter(path.read_text().split())

    def ints(self, count: int) -> tuple[int, ...]:
        return tuple(int(next(self._tokens)) for _ in range(count))

    def array(self, *shape: int) -> Array:
        count = int(np.prod(shape))
        return np.array([float(next(self._tokens)) for _ in range(count)]).reshape(shape)


def read_gmm(path: Path, *, replicate_point: bool = False) -> tuple[Any, ...]:
    """Read the arguments of `gmm_objective`; with `replicate_point` the file has one point only."""
    tokens = _Tokens(path)
    d, k, n = tokens.ints(3)
    alphas, means = tokens.array(k), tokens.array(k, d)
    icf = tokens.array(k, d * (d + 1) // 2)
    points = np.tile(tokens.array(1, d), (n, 1)) if replicate_point else tokens.array(n, d)
    gamma = float(tokens.array())
    (m,) = tokens.ints(1)
    return alphas, means, icf, Const(points), Const(gamma), Const(m)


def read_bundle_adjustment(path: Path) -> tuple[Any, ...]:
    """Read the arguments of `bundle_adjustment`."""
    tokens = _Tokens(path)
    size = tokens.ints(3)
    camera, point = tokens.array(11), tokens.array(3)
    weight, feature = float(tokens.array()), tokens.array(2)
    return replicate(camera, point, weight, feature, size)


def read_lstm(path: Path) -> tuple[Any, ...]:
    """Read the arguments of `lstm_loss`."""
    tokens = _Tokens(path)
    layers, n, bits = tokens.ints(3)
    main, extra = tokens.array(2 * layers, 4 * bits), tokens.array(3, bits)
    state, sequence = tokens.array(2 * layers, bits), tokens.array(n, bits)
    return main, extra, Const(state), Const(sequence)


def read_hand_simple(model_folder: Path, path: Path) -> tuple[Any, ...]:
    """Read the arguments of `hand_simple`."""
    _, theta, *constants = _read_hand(model_folder, path, with_us=False)
    return theta, *constants


def read_hand_complicated(model_folder: Path, path: Path) -> tuple[Any, ...]:
    """Read the arguments of `hand_complicated`."""
    return _read_hand(model_folder, path, with_us=True)


def _read_hand(model_folder: Path, path: Path, *, with_us: bool) -> tuple[Any, ...]:
    tokens = _Tokens(path)
    n, parameters = tokens.ints(2)
    measured = tokens.array(n, 4)
    us = tokens.array(n, 2) if with_us else None
    theta = tokens.array(parameters)
    found = measured[:, 0].astype(np.int64)
    return us, theta, Const(read_hand_model(model_folder)), Const(measured[:, 1:]), Const(found)


def read_hand_model(folder: Path) -> HandModel:
    """Read the hand of the folder ``model``: its bones, vertices and triangles."""
    bones = [line.split(":") for line in (folder / "bones.txt").read_text().split()]
    # Name, parent, then two matrices of 16 numbers.
    frames = np.array([[float(number) for number in bone[2:34]] for bone in bones])
    vertices = [line.split(":") for line in (folder / "vertices.txt").read_text().split()]
    positions = np.ones((len(vertices), 4))
    weights = np.zeros((len(vertices), len(bones)))
    for i, vertex in enumerate(vertices):
        # Position, normal and texture coordinates (8 numbers), then pairs of bone and weight.
        positions[i, :3] = [float(number) for number in vertex[:3]]
        for j in range(int(vertex[8])):
            weights[i, int(vertex[9 + 2 * j])] = float(vertex[10 + 2 * j])
    return HandModel(
        parents=tuple(int(bone[1]) for bone in bones),
        base_relatives=frames[:, :16].reshape(-1, 4, 4),
        inverse_base_absolutes=frames[:, 16:].reshape(-1, 4, 4),
        base_positions=positions,
        weights=weights,
        triangles=np.loadtxt(folder / "triangles.txt", dtype=np.int64, delimiter=":"),
    )
