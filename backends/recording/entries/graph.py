"""What is asked of a recorder's graph, in order to compute entries where they are.

A value is an array of the program, or a constant; numbers in arithmetic may be Python's.
"""

from collections.abc import Sequence
from typing import Any, Protocol

Value = Any  # hashable, and neither a number nor an array of NumPy


class Graph(Protocol):
    """A recorder's graph, read and written before the place of one gather.

    Attributes
    ----------
    dtype : type
        ``np.float32`` or ``np.float64``: of what is gathered.
    """

    dtype: Any

    # What is there.

    def needed(self) -> list[Value]:
        """What the gather needs, in the order of execution, and itself."""

    def shape(self, x: Value) -> tuple[int, ...]:
        """The shape of an array."""

    def is_followed(self, x: Value) -> bool:
        """Whether it is an array in memory, of real numbers of double or single precision."""

    def constant(self, x: Value) -> Any:
        """The numbers of a constant as a vector of NumPy; None for anything else."""

    def number(self, x: Value) -> float | None:
        """The number that an array is filled with, if its operation says so."""

    def arithmetic(self, x: Value) -> tuple[Any, tuple[Any, ...]] | None:
        """One of `FUNCTIONS` and its operands, if they are values of one dtype and numbers."""

    def moved(self, x: Value) -> Sequence[Value]:
        """The operands, of one dtype, if it only moves elements of them, and puts zeros around."""

    def moves(self, x: Value, numbers: Sequence[Any]) -> Any:
        """What it makes of arrays of integers in place of these operands."""

    def is_view(self, x: Value) -> bool:
        """Whether it moves elements, and repeats and drops them at most, without cost."""

    def pads(self, x: Value) -> bool:
        """Whether it puts many zeros around what it moves."""

    # What is added.

    def apply(self, function: Any, *terms: Any) -> Value:
        """One of `FUNCTIONS` of vectors that are equally long, of arrays of NumPy and numbers."""

    def flat(self, x: Value) -> Value:
        """All elements as a vector."""

    def sliced(self, x: Value, start: int, stop: int) -> Value:
        """A part of a vector."""

    def taken(self, x: Value, places: Any) -> Value:
        """Elements of a vector."""

    def repeated(self, x: Value, count: int) -> Value:
        """A vector, of one element, so many times."""

    def held(self, x: Any) -> Value:
        """A vector of constants."""

    def placed(self, base: Any, parts: Sequence[tuple[Any, Value]]) -> Value:
        """A vector of constants, overwritten by parts, each with its places."""
