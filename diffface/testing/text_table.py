"""A table of text, aligned for the eye."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells of text under a head; ``str`` aligns them in columns.

    Parameters
    ----------
    head : sequence of str
        What the columns are.
    rows : sequence of sequences of str
        The cells, as many in each row as in the head.
    title : str
        Stands above; may be empty.
    marked : collection of int
        Positions of rows that should stand out where there are colours.
    numbers : collection of int
        Positions of columns that are aligned to the right.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    marked: frozenset[int] = frozenset()
    numbers: frozenset[int] = frozenset()

    def __str__(self) -> str:
        lines = [tuple(self.head), *map(tuple, self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines.insert(1, tuple("-" * width for width in widths))
        aligned = ["  ".join(map(self._cell, range(len(row)), row, widths)) for row in lines]
        return "\n".join(line.rstrip() for line in [*filter(None, [self.title]), *aligned])

    def _cell(self, column: int, text: str, width: int) -> str:
        return text.rjust(width) if column in self.numbers else text.ljust(width)
