"""Rows as tables for people: plain text, and Markdown."""

import math
from collections.abc import Callable, Sequence

from diffface.benchmark.row import Measurement
from diffface.testing.text_table import Table

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def duration(seconds: float | None) -> str:
    """A time with three digits and a unit."""
    if seconds is None:
        return "-"
    scale, unit = next((u for u in UNITS if seconds >= u[0]), UNITS[-1])
    return f"{digits(seconds / scale)} {unit}"


def digits(number: float | None) -> str:
    """Three digits, without an exponent where that is readable."""
    if number is None:
        return "-"
    if number and not 1e-3 <= abs(number) < 1e6:
        return f"{number:.1e}"
    decimals = max(0, 2 - math.floor(math.log10(abs(number)))) if number else 0
    return f"{number:.{decimals}f}"


def _quartiles(low: float | None, high: float | None) -> str:
    return "-" if low is None else f"{digits(low)} to {digits(high)}"


def _error(row: Measurement) -> str:
    return "-" if row.error is None else f"{row.error:.0e}"


def _calls(row: Measurement) -> str:
    if row.time is None:
        return "-"
    return "never" if row.break_even is None else str(math.ceil(row.break_even))


# What a table shows of a row: its head, and how it is read.
COLUMNS: dict[str, Callable[[Measurement], str]] = {
    "problem": lambda row: row.problem,
    "size": lambda row: row.size,
    "operator": lambda row: row.operator,
    "backend": lambda row: row.backend,
    "strategy": lambda row: row.strategy or "-",
    "prepare": lambda row: duration(row.preparation),
    "call": lambda row: duration(row.time),
    "by hand": lambda row: duration(row.by_hand),
    "ratio": lambda row: digits(row.ratio),
    "quartiles": lambda row: _quartiles(row.ratio_low, row.ratio_high),
    "over f": lambda row: digits(row.over_function),
    "evaluates f": lambda row: "-" if row.evaluations is None else str(row.evaluations),
    "error": _error,
    "pays after": _calls,
    "flags": lambda row: " ".join(row.flags),
}
# Aligned to the left; all others are numbers.
WORDS = ("problem", "operator", "backend", "strategy", "flags")


def table(rows: Sequence[Measurement]) -> Table:
    """The rows as a table of text; those with flags stand out."""
    numbers = frozenset(i for i, name in enumerate(COLUMNS) if name not in WORDS)
    cells = [[show(row) for show in COLUMNS.values()] for row in rows]
    flagged = frozenset(i for i, row in enumerate(rows) if row.flags)
    return Table(list(COLUMNS), cells, marked=flagged, numbers=numbers)


def markdown(rows: Sequence[Measurement], columns: Sequence[str] = tuple(COLUMNS)) -> str:
    """A Markdown table of some columns, and below it the notes."""
    rule = ["---" if name in WORDS else "---:" for name in columns]
    body = [[COLUMNS[name](row) or " " for name in columns] for row in rows]
    lines = "".join(f"| {' | '.join(line)} |\n" for line in [list(columns), rule, *body])
    below = "".join(f"* {note}\n" for note in notes(rows))
    return f"{lines}\n{below}" if below else lines


def notes(rows: Sequence[Measurement]) -> list[str]:
    """What the flags of each row mean, in sentences."""
    return [
        f"{row.problem} {row.size}, {row.operator} by {row.backend}: {row.notes}"
        for row in rows
        if row.notes
    ]
