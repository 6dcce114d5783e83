"""Lifetimes of the values of a straight-line program, and which of them share memory.

A recorder says of each operation which values it reads and whether its result is in memory of its
own. Any other result may lie in the memory of everything that the operation reads.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

Value = TypeVar("Value", bound=Hashable)


class Lifetimes(Generic[Value]):
    """Until when each value of a program is needed, and the memory that it lies in.

    Parameters
    ----------
    order : sequence
        The values in the order in which they are computed; inputs and constants come first.
    operands : callable
        ``operands(value)`` are the values that are read to compute it, all of them in `order`.
    owns : callable
        Whether the result is surely in memory of its own: False for inputs and constants, for
        views, and for what a function returns of which nothing is known.
    results : iterable
        The values that are needed after the end.
    keeps : callable, optional
        Whether computing this value runs code that may keep its operands: they are needed for ever.
    """

    def __init__(
        self,
        order: Sequence[Value],
        operands: Callable[[Value], Sequence[Value]],
        owns: Callable[[Value], bool],
        results: Iterable[Value] = (),
        keeps: Callable[[Value], bool] = lambda value: False,
    ) -> None:
        self._position = {value: i for i, value in enumerate(order)}
        self._operands = operands
        self._owned = {value for value in order if owns(value)}
        self._kept: set[Value] = set()
        self._parent = {value: value for value in order}
        # Position of the last use of each value, and, by its name, of each piece of memory.
        self._last = dict(self._position)
        self._end = dict(self._position)
        # Nothing writes into inputs and constants, so two views of one need not be told apart.
        foreign = {value for value in order if value not in self._owned and not operands(value)}
        for position, value in enumerate(order):
            keeping = keeps(value)
            for operand in operands(value):
                self._use(operand, len(order) if keeping else position)
                if keeping:
                    self._kept.add(operand)
                if value not in self._owned and operand not in foreign:
                    self.join(value, operand)
        for value in results:
            self._use(value, len(order))

    def memory(self, value: Value) -> Value:
        """Return the value that names the memory which `value` lies in."""
        parent = self._parent
        while (above := parent[value]) is not value:
            # Each step halves the way that is left, so that long chains of views stay cheap.
            parent[value] = parent[above]
            value = parent[value]
        return value

    def join(self, x: Value, y: Value) -> None:
        """Note that `x` and `y` share memory."""
        x, y = self.memory(x), self.memory(y)
        self._parent[x] = y
        self._end[y] = max(self._end[x], self._end[y])

    def is_private(self, value: Value) -> bool:
        """Whether nothing but the program itself can hold the memory of `value`."""
        return value in self._owned and not self.is_kept(value)

    def is_kept(self, value: Value) -> bool:
        """Whether code that was run may have kept something in the memory of `value`."""
        memory = self.memory(value)
        return any(self.memory(kept) is memory for kept in self._kept)

    def is_last_use(self, value: Value, at: Value) -> bool:
        """Whether nothing uses `value` itself, as apart from its memory, after `at`."""
        return self._last[value] == self._position[at]

    def is_over(self, x: Value, at: Value) -> bool:
        """Whether nothing uses the memory of `x` after `at`."""
        return self._end[self.memory(x)] <= self._position[at]

    def may_overwrite(self, x: Value, at: Value) -> bool:
        """Whether the operation `at` may put its result where its operand `x` is.

        It may if `x` was computed into memory of its own, which nothing reads later, and no other
        operand lies there.
        """
        memory = self.memory(x)
        if x not in self._owned or self._end[memory] != self._position[at]:
            return False
        return all(y is x or self.memory(y) is not memory for y in self._operands(at))

    def _use(self, value: Value, position: int) -> None:
        self._last[value] = max(self._last[value], position)
        memory = self.memory(value)
        self._end[memory] = max(self._end[memory], position)
