"""The workspace of a program: memory that it computes in, and that is kept for the next call.

Memory new from the system costs more than what is computed in it, since each page of it is made
when it is first touched; and what is given back is soon back with the system. No result lies in a
workspace, nor anything that code of the user's has seen. Whoever runs a program takes memory out of
those that are spare, and puts it back at the end, so that no two runs share any.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.functions import scatter
from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.autograd.recorder.places import is_elementwise
from diffface.backends.autograd.recorder.program_names import ProgramNames
from diffface.backends.autograd.recorder.source import FILLING, argument
from diffface.backends.recording.lifetimes import Lifetimes

# In bytes: what is smaller is at hand anyway, and what is larger is not kept.
_SMALL, _LARGE = 2**15, 2**25
# So much memory is kept at most, for as many runs at the same time.
_RUNS = 4
# A line of the cache.
_LINE = 64

# Popping and appending are safe from many threads.
_SPARE: list[Any] = []


def borrow(size: int) -> Any:
    """Memory of at least `size` bytes, which nobody else uses until it is given back."""
    try:
        found = _SPARE.pop()
    except IndexError:
        return np.empty(size, np.uint8)
    return found if found.nbytes >= size else np.empty(size, np.uint8)


def give_back(memory: Any) -> None:
    """Keep memory for those who borrow next."""
    if memory.nbytes <= _LARGE and len(_SPARE) < _RUNS:
        _SPARE.append(memory)


@dataclass
class _Block:
    """A part of the workspace, and whose value is in it."""

    start: int
    size: int
    owner: Node | None


class Workspace:
    """Which values of a program are computed in its workspace, and where.

    Parameters
    ----------
    names : ProgramNames
        Told about the names of the arrays.
    order : sequence of Node
        Its values, in the order in which they are computed.
    lives : Lifetimes
        Of these.
    outputs : iterable of Node
        Results of the program, which are in memory of their own.
    """

    def __init__(
        self, names: ProgramNames, order: Sequence[Node], lives: Lifetimes[Node],
        outputs: Sequence[Node],
    ) -> None:  # fmt: skip
        self._names, self._lives, self._outputs = names, lives, outputs
        self._blocks: list[_Block] = []
        self._size = 0
        self._arrays: dict[Any, str] = {}
        # Values that may lie column by column, so that what is computed from them does, too.
        self._turned: set[Node] = set()
        for node in order:
            if node.fn is np.transpose or not self._turned.isdisjoint(node.parents):
                self._turned.add(node)

    def may_hold(self, node: Node) -> bool:
        """Whether the value may be in the workspace."""
        lives = self._lives
        if _bytes(node) < _SMALL or not lives.is_private(node):
            return False
        return all(lives.memory(node) is not lives.memory(y) for y in self._outputs)

    def holds(self, node: Node) -> bool:
        """Whether the value is in the workspace."""
        return self._block(node) is not None

    def place(self, node: Node) -> str | None:
        """Return the array that the value is to be computed in, if that pays."""
        if not _fits(node) or not self.may_hold(node) or (node.ndim > 1 and node in self._turned):
            return None
        size = _bytes(node)
        free = [b for b in self._blocks if b.owner is None and size <= b.size <= 2 * size]
        block = min(free, key=lambda b: b.size, default=None) or self._add(size)
        block.owner = node
        key = block.start, node.shape, node.dtype
        return self._arrays.setdefault(key, f"b{len(self._arrays) + 1}")

    def pass_on(self, lender: Node, node: Node) -> None:
        """Note that `node` is computed where `lender` was."""
        block = self._block(lender)
        if block is not None:
            block.owner = node

    def release(self, at: Node) -> None:
        """Free what nothing uses after `at`."""
        for block in self._blocks:
            if block.owner is not None and self._lives.is_over(block.owner, at):
                block.owner = None

    def lines(self) -> tuple[list[str], list[str]]:
        """Return the lines before and after the program."""
        if not self._blocks:
            return [], []
        bind, names = self._names.bind, self._names
        first = [f"w = {bind(borrow)}({self._size})"]
        for (start, shape, dtype), name in self._arrays.items():
            kind = names.constant(dtype)
            first.append(
                f"{name} = {bind(np.ndarray)}({argument(names, shape)}, {kind}, w, {start})"
            )
        return first, [f"{bind(give_back)}(w)"]

    def _block(self, node: Node) -> _Block | None:
        memory = self._lives.memory
        for block in self._blocks:
            if block.owner is not None and memory(block.owner) is memory(node):
                return block
        return None

    def _add(self, size: int) -> _Block:
        # A line between two of them, lest they are apart by a power of two.
        start = -(-self._size // _LINE) * _LINE + _LINE
        self._size = start + size
        block = _Block(start, size, None)
        self._blocks.append(block)
        return block


def _bytes(node: Node) -> int:
    return prod(node.shape) * node.dtype.itemsize if node.shape else 0


def _fits(node: Node) -> bool:
    """Whether `node` can be computed in memory that is given, without a copy."""
    return node.fn in FILLING or node.fn in (scatter, np.broadcast_to) or is_elementwise(node)
