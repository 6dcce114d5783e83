"""Rows of a benchmark: what was measured, on which machine, and as tables."""

import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from diffface.testing.text_table import Table

LIBRARIES = ("numpy", "scipy", "jax", "jaxlib", "torch", "autograd", "diffface")


def machine() -> dict[str, str]:
    """Processor, cores, operating system, and versions of Python and of what is installed."""
    return {
        "processor": _processor(),
        "cores": str(_cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **{name: found for name in LIBRARIES if (found := _version(name))},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def _cores() -> int:
    # Those that this process may use, where the system can tell.
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@dataclass(frozen=True)
class Measurement:
    """One operator, by one backend, of one function, at one size. All times are in seconds.

    A number that could not be measured is None.

    Attributes
    ----------
    problem, size : str
        The function's name, and its size as one would type it: ``"1000x10x25"``.
    operator, backend, strategy : str
        What was prepared, by whom, and how it runs; see ``Prepared.strategy``.
    inputs : int
        How many numbers it is differentiated by.
    preparation, first_call : float
        Time to prepare, and of the first call after that.
    time, time_low, time_high : float
        Of a prepared call, its result waited for: median and quartiles.
    by_hand, by_hand_first : float
        Median time of the same written by hand in that framework, and of its first call, which
        compiles it where the framework does.
    ratio, ratio_low, ratio_high : float
        Prepared over written by hand, paired round by round: median and quartiles.
    function, over_function : float
        Median time of the function alone, prepared in the same framework, and the time of the
        derivative over that.
    unprepared : float
        Time of an unprepared call.
    break_even : float
        After how many calls the preparation has paid for itself, compared with unprepared ones;
        None if it never does.
    evaluations : int
        How often a prepared call evaluates the function's Python code.
    error : float
        Largest deviation from the reference, relative to the largest number in it; None if there
        is no reference, or one of another size.
    checked : str
        Where the reference comes from: ``"given"``, ``"agreed"`` (the median of the backends that
        are exact), ``"Richardson"`` (extrapolated differences), or ``""`` if there was none.
    rounds : int
        How often the calls were timed.
    flags : tuple of str
        What a careful reader should know before using the figures; see ``FLAGS``.
    notes : str
        The same in sentences.
    """

    problem: str
    size: str
    operator: str
    backend: str
    inputs: int
    strategy: str = ""
    preparation: float | None = None
    first_call: float | None = None
    time: float | None = None
    time_low: float | None = None
    time_high: float | None = None
    by_hand: float | None = None
    by_hand_first: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    function: float | None = None
    over_function: float | None = None
    unprepared: float | None = None
    break_even: float | None = None
    evaluations: int | None = None
    error: float | None = None
    checked: str = ""
    rounds: int = 0
    flags: tuple[str, ...] = ()
    notes: str = ""


def break_even(preparation: float, unprepared: float, prepared: float) -> float | None:
    """After how many calls a preparation has paid for itself, if it ever does."""
    saved = unprepared - prepared
    return preparation / saved if saved > 0 else None


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


# What fits into 80 characters; the problem and its size stand above.
NARROW = ("operator", "backend", "prepare", "call", "by hand", "ratio", "flags")


def tables(rows: Sequence[Measurement]) -> list[Table]:
    """A narrow table for each problem and size."""
    groups: dict[str, list[Measurement]] = {}
    for row in rows:
        groups.setdefault(f"{row.problem} {row.size}", []).append(row)
    return [_narrow(title, group) for title, group in groups.items()]


def _narrow(title: str, rows: Sequence[Measurement]) -> Table:
    numbers = frozenset(i for i, name in enumerate(NARROW) if name not in WORDS)
    flagged = frozenset(i for i, row in enumerate(rows) if row.flags)
    # Whether there is code by hand the columns show.
    brief = [replace(row, flags=tuple(f for f in row.flags if f != "no_reference")) for row in rows]
    cells = [[COLUMNS[name](row) for name in NARROW] for row in brief]
    return Table(NARROW, cells, title, flagged, numbers)


def markdown(rows: Sequence[Measurement], columns: Sequence[str] = tuple(COLUMNS)) -> str:
    """A Markdown table of some columns, and below it the notes."""
    rule = ["---" if name in WORDS else "---:" for name in columns]
    body = [[COLUMNS[name](row) or " " for name in columns] for row in rows]
    lines = "".join(f"| {' | '.join(line)} |\n" for line in [list(columns), rule, *body])
    below = "".join(f"* {note}\n" for note in notes(rows))
    return f"{lines}\n{below}" if below else lines


def notes(rows: Sequence[Measurement]) -> list[str]:
    """What the flags of the rows mean: each sentence once, after the rows that it is about."""
    about: dict[str, list[Measurement]] = {}
    for row in rows:
        if row.notes:
            about.setdefault(row.notes, []).append(row)
    return [f"{_named(group)}: {text}" for text, group in about.items()]


def _named(rows: Sequence[Measurement]) -> str:
    """``loss 2, gradient, hvp by jax, torch; hessian by jax``."""
    backends: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        backends.setdefault((f"{row.problem} {row.size}, ", row.operator), []).append(row.backend)
    operators: dict[tuple[str, str], list[str]] = {}
    for (subject, operator), names in backends.items():
        operators.setdefault((subject, ", ".join(names)), []).append(operator)
    parts, before = [], ""
    for (subject, by), done in operators.items():
        parts.append(f"{subject if subject != before else ''}{', '.join(done)} by {by}")
        before = subject
    return "; ".join(parts)
