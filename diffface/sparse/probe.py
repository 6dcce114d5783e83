"""Probing: the pattern of a black box near a point, by moving blocks of its inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from diffface.sparse.coloring import entries
from diffface.sparse.greedy import distance2

POINTS = 2


def probe(f: Callable[[Any], Any], x: Any) -> Any:
    """The pattern of the Jacobian of ``f``, of flat vectors, near ``x``.

    Blocks of inputs are moved, and halved as long as outputs move with them; blocks that move no
    output in common are moved together, so that a banded pattern takes some ``log2(n)`` times as
    many evaluations as a block has neighbours. An output that happens to stay where it is at all
    points that are tried is missed: the pattern may be too small elsewhere.

    Returns
    -------
    csr_array of bool, shape (m, n)
    """
    random = np.random.default_rng(0)
    near = [random.uniform(-0.1, 0.1, x.size) * (np.abs(x) + 0.1) for _ in range(1, POINTS)]
    points = [x.copy(), *(x + move for move in near)]
    with np.errstate(all="ignore"):
        values = [f(p) for p in points]
    mover = _Mover(f, points, values, random)
    n, m = x.size, values[0].size
    if not n or not m:
        return sp.csr_array((m, n), dtype=bool)
    edges = np.array([0, n])
    pattern = sp.csr_array(np.ones((m, 1), bool))
    while np.diff(edges).max() > 1:
        pattern, edges = _halved(pattern, edges, mover)
    # A single input starts as one block that has not been moved yet.
    return pattern if n > 1 else sp.csr_array(mover.moved(np.array([0]))[:, None])


class _Mover:
    """Which outputs move with some inputs."""

    def __init__(self, f: Callable[[Any], Any], points: Any, values: Any, random: Any) -> None:
        self.f, self.points, self.values, self.random = f, points, values, random

    def moved(self, columns: Any) -> Any:
        hit = np.zeros(self.values[0].size, bool)
        with np.errstate(all="ignore"):
            for point, value in zip(self.points, self.values, strict=True):
                there = point.copy()
                step = self.random.uniform(0.5, 1.0, columns.size) * 1e-3
                there[columns] += step * (np.abs(there[columns]) + 0.1)
                after = self.f(there)
                hit |= ~((after == value) | (np.isnan(after) & np.isnan(value)))
        return hit


def _halved(pattern: Any, edges: Any, mover: _Mover) -> tuple[Any, Any]:
    """The pattern of blocks half as wide."""
    finer = np.unique(np.concatenate([edges, (edges[:-1] + edges[1:]) // 2]))
    parent = np.searchsorted(edges, finer[:-1], side="right") - 1
    is_first = np.concatenate([[True], parent[1:] != parent[:-1]])
    colors, count = distance2(pattern.T.tocsr(), "degree")
    block = np.repeat(np.arange(len(finer) - 1), np.diff(finer))
    i, j = entries(pattern)
    rows, columns = [], []
    for color in range(count):
        for half in (True, False):
            chosen = (colors[parent] == color) & (is_first == half)
            if not chosen.any():
                continue
            hit = mover.moved(np.flatnonzero(chosen[block]))
            child = np.full(pattern.shape[1], -1)
            child[parent[chosen]] = np.flatnonzero(chosen)
            found = (child[j] >= 0) & hit[i]
            rows.append(i[found])
            columns.append(child[j[found]])
    at: Any = (np.concatenate(rows), np.concatenate(columns)) if rows else ([], [])
    shape = (pattern.shape[0], len(finer) - 1)
    parts: Any = (np.ones(len(at[0]), bool), at)
    halves = sp.csr_array(parts, shape=shape)
    halves.sort_indices()
    return halves, finer
