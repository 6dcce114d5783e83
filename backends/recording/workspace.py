"""The workspace of a program: memory that it computes in, and that is kept for the next call.

Memory new from the system costs more than what is computed in it, since each page of it is made
when it is first touched; and what is given back is soon back with the system. No result lies in a
workspace, nor anything that code of the user's may have kept. Whoever runs a program takes memory
out of what is spare, and puts it back at the end, so that no two runs share any.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from diffface.backends.recording.lifetimes import Lifetimes

Value = TypeVar("Value", bound=Hashable)

# In bytes: what is smaller is at hand anyway, and what is larger is not kept.
_SMALL, _LARGE = 2**15, 2**25
# Memory is kept for so many runs at the same time, and arrays in it for so many programs.
_RUNS, _PROGRAMS = 4, 64
# A line of the cache.
_LINE = 64


class Form(NamedTuple):
    """What an array is like."""

    shape: tuple[int, ...]
    dtype: Any
    size: int  # in bytes


class Layout:
    """The arrays of one program in its workspace.

    Parameters
    ----------
    view : callable
        ``view(memory, start, form)`` is an array in memory, a NumPy array of bytes.
    """

    def __init__(self, view: Callable[[Any, int, Form], Any]) -> None:
        self._view = view
        self.size = 0
        self.places: list[tuple[int, Form]] = []

    def arrays(self, memory: Any) -> Sequence[Any]:
        """Return the arrays, in memory of at least ``size`` bytes."""
        return [self._view(memory, start, form) for start, form in self.places]


class _Memory:
    """Memory, and the arrays in it of those programs that have borrowed it."""

    __slots__ = ("arrays", "bytes", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.bytes = np.empty(size, np.uint8)
        self.arrays: dict[Layout, Sequence[Any]] = {}


# Popping and appending are safe from many threads.
_spare: list[_Memory] = []


def borrow(layout: Layout) -> tuple[_Memory, Sequence[Any]]:
    """Memory that nobody else uses until it is given back, and the arrays in it."""
    try:
        memory = _spare.pop()
    except IndexError:
        memory = _Memory(layout.size)
    if memory.size < layout.size:
        memory = _Memory(layout.size)
    found = memory.arrays.get(layout)
    if found is None:
        if len(memory.arrays) >= _PROGRAMS:
            memory.arrays.clear()
        found = memory.arrays[layout] = layout.arrays(memory.bytes)
    return memory, found


def give_back(memory: _Memory) -> None:
    """Keep memory for those who borrow next."""
    if memory.size <= _LARGE and len(_spare) < _RUNS:
        _spare.append(memory)


@dataclass
class _Block:
    """A part of the workspace, and whose value is in it."""

    start: int
    size: int
    owner: Any


class Workspace(Generic[Value]):
    """Which values of a program are computed in its workspace, and where.

    Parameters
    ----------
    lives : Lifetimes
        Of the values.
    barred : iterable
        Values that must not be in it: the results of the program.
    view : callable
        As of `Layout`.
    """

    def __init__(
        self, lives: Lifetimes[Value], barred: Iterable[Value],
        view: Callable[[Any, int, Form], Any],
    ) -> None:  # fmt: skip
        self.layout = Layout(view)
        self._lives, self._barred = lives, tuple(barred)
        self._blocks: list[_Block] = []

    def may_hold(self, value: Value, form: Form) -> bool:
        """Whether the value is large enough, and may be in the workspace."""
        return form.size >= _SMALL and self._lives.is_private(value) and not self._bars(value)

    def may_pass_on(self, lender: Value, value: Value) -> bool:
        """Whether `value` may be where `lender` was: not if it is barred from the workspace."""
        return self._block(lender) is None or not self._bars(value)

    def place(self, value: Value, form: Form) -> str:
        """Return the name of the array that the value is to be computed in."""
        size, places = form.size, self.layout.places
        free = [b for b in self._blocks if b.owner is None and size <= b.size <= 2 * size]
        block = min(free, key=lambda b: b.size, default=None) or self._add(size)
        block.owner = value
        if (block.start, form) not in places:
            places.append((block.start, form))
        return f"b{places.index((block.start, form))}"

    def pass_on(self, lender: Value, value: Value) -> None:
        """Note that `value` is computed where `lender` was."""
        block = self._block(lender)
        if block is not None:
            block.owner = value

    def release(self, at: Value) -> None:
        """Free what nothing uses after `at`."""
        for block in self._blocks:
            if block.owner is not None and self._lives.is_over(block.owner, at):
                block.owner = None

    def lines(self, spell: Callable[[Any, str], str]) -> tuple[list[str], list[str]]:
        """Return the lines before and after the program; ``spell(object, name)`` is a name."""
        names = "".join(f"b{i}, " for i in range(len(self.layout.places)))
        if not names:
            return [], []
        first = f"w, ({names}) = {spell(borrow, 'borrow')}({spell(self.layout, 'workspace')})"
        return [first], [f"{spell(give_back, 'give_back')}(w)"]

    def _bars(self, value: Value) -> bool:
        memory = self._lives.memory
        barred = any(memory(value) is memory(y) for y in self._barred)
        return barred or self._lives.is_kept(value)

    def _block(self, value: Value) -> _Block | None:
        memory = self._lives.memory
        for block in self._blocks:
            if block.owner is not None and memory(block.owner) is memory(value):
                return block
        return None

    def _add(self, size: int) -> _Block:
        # A line between two of them, lest they are apart by a power of two.
        start = -(-self.layout.size // _LINE) * _LINE + _LINE
        self.layout.size = start + size
        block = _Block(start, size, None)
        self._blocks.append(block)
        return block
