"""Greedy colorings of the vertices of a sparse pattern.

A vertex's set of colors is one Python integer, color ``c`` being bit ``c``, so that a union is
``|`` and the least color that is free is the lowest bit that is not set.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

# In which order vertices are colored; the order that needs the fewest colors is kept.
ORDERS = ("natural", "degree")


def distance2(pattern: Any, order: str = "natural") -> tuple[Any, int]:
    """Colors of the rows, so that no two rows of one color have a column in common.

    Rows without entries need none and get -1. Returns the colors and how many there are.
    """
    # Rows are cut out one by one: a list for each would have Python's garbage collector go over all
    # of them, time and again.
    ends, indices = pattern.indptr.tolist(), pattern.indices.tolist()
    used = [0] * pattern.shape[1]
    colors = [-1] * pattern.shape[0]
    for v in _ordered(pattern, order):
        columns = indices[ends[v] : ends[v + 1]]
        if not columns:
            continue
        taken = 0
        for w in columns:
            taken |= used[w]
        bit = ~taken & (taken + 1)
        for w in columns:
            used[w] |= bit
        colors[v] = bit.bit_length() - 1
    return _counted(colors)


def star(pattern: Any, order: str = "natural") -> tuple[Any, int]:
    """Star coloring of a symmetric pattern; returns the colors and how many there are.

    Every color class and its neighbours form stars. A vertex that sees a color twice is the hub of
    a star. It may take no color of a neighbour; nor, around a neighbour whose color it sees twice,
    any color that this neighbour sees; nor, around any other neighbour, the colors of the hubs
    that see that neighbour's color twice. Vertices without entries get -1.
    """
    return _counted(_Stars(pattern).colors(_ordered(pattern, order)))


class _Stars:
    """The state of a greedy star coloring."""

    def __init__(self, pattern: Any) -> None:
        n = pattern.shape[0]
        self.ends: list[int] = pattern.indptr.tolist()
        self.indices: list[int] = pattern.indices.tolist()
        self.color = [-1] * n
        # Sets of colors: seen among neighbours, seen twice, and of stars that go out from hubs.
        self.near, self.twice, self.hubs = [0] * n, [0] * n, [0] * n
        # For each vertex v and color c, at v * n + c, the first neighbour that has it.
        self.first: dict[int, int] = {}

    def neighbours(self, v: int) -> list[int]:
        return self.indices[self.ends[v] : self.ends[v + 1]]

    def colors(self, order: Iterable[int]) -> list[int]:
        for v in order:
            if neighbours := self.neighbours(v):
                self._take(v, neighbours, self._free(v, neighbours))
        return self.color

    def _free(self, v: int, neighbours: list[int]) -> int:
        """The lowest color that ``v`` may take, as a bit."""
        near, hubs, twice, color = self.near, self.hubs, self.twice[v], self.color
        taken = near[v]
        for w in neighbours:
            if color[w] >= 0 and w != v:
                taken |= near[w] if twice >> color[w] & 1 else hubs[w]
        return ~taken & (taken + 1)

    def _take(self, v: int, neighbours: list[int], bit: int) -> None:
        """Give ``v`` a color, and tell its neighbours."""
        near, twice, hubs, color, first = self.near, self.twice, self.hubs, self.color, self.first
        c, n = bit.bit_length() - 1, len(color)
        color[v] = c
        seen_twice = twice[v]
        centers = hubs[v]
        for w in neighbours:
            if w == v:
                continue
            other = color[w]
            if other >= 0 and seen_twice >> other & 1:
                hubs[w] |= bit
            if not near[w] & bit:
                near[w] |= bit
                first[w * n + c] = v
                continue
            if not twice[w] & bit:
                twice[w] |= bit
                if other >= 0:
                    hubs[first[w * n + c]] |= 1 << other
            if other >= 0:
                centers |= 1 << other
        hubs[v] |= centers


def _ordered(pattern: Any, order: str) -> Iterable[int]:
    n = pattern.shape[0]
    if order == "natural":
        return range(n)
    ordered: list[int] = np.argsort(-np.diff(pattern.indptr), kind="stable").tolist()
    return ordered


def _counted(colors: list[int]) -> tuple[Any, int]:
    found = np.array(colors, np.int64)
    return found, int(found.max(initial=-1)) + 1
