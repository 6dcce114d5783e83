"""What the command line shows: errors of usage, tables, and how far it has come."""

import argparse
import difflib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Never

from diffface.testing.text_table import Table


class UsageError(Exception):
    """The command line asks for what does not exist or makes no sense; says what to do instead."""


class Parser(argparse.ArgumentParser):
    """Options are written in full, texts of help keep their lines, errors name the nearest."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> Never:
        """Raise UsageError; an unknown option gets the nearest known one."""
        hint = ""
        if unknown := re.search(r"unrecognized arguments: (--[\w-]+)", message):
            hint = _close(unknown[1], re.findall(r"--[\w-]+", self.format_help()))
        raise UsageError(f"{message}.{hint} See {self.prog} --help.")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Like argparse's, but a subcommand complains of what it does not know itself."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest


def nearest(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'this'?``, or, where nothing is near, what there is; begins with a space."""
    names = sorted(set(known))
    return _close(name, names) or (f" There is {', '.join(map(repr, names))}." if names else "")


def _close(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'this'?``, if one is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" Did you mean {close[0]!r}?" if close else ""


def one_of(name: str, known: Iterable[str], noun: str) -> str:
    """``name``, if it is known.

    Raises
    ------
    UsageError
        If it is not; names the nearest.
    """
    names = list(known)
    if name not in names:
        raise UsageError(f"there is no {noun} {name!r}.{nearest(name, names)}")
    return name


def split(text: str) -> list[str]:
    """The words of a comma-separated list, each once."""
    words = list(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))
    if not words:
        raise UsageError(f"expected names separated by commas, got {text!r}.")
    return words


def show(table: Table) -> None:
    """Print a table: with colours on a terminal that has them, plain into pipes and files.

    Into a pipe, lines are as wide as they are: whoever reads them may be a program.
    """
    if not _is_rich():
        print(table)
        return
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(title=Text(table.title) if table.title else None, title_justify="left")
    for i, name in enumerate(table.head):
        shown.add_column(Text(name), justify="right" if i in table.numbers else "left")
    for i, row in enumerate(table.rows):
        # Text, since brackets of cells are not markup.
        shown.add_row(*map(Text, row), style="bold red" if i in table.marked else None)
    Console().print(shown)


def _is_rich() -> bool:
    if not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        return False
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


Say = Callable[[str], None]


@contextmanager
def progress(steps: int) -> Iterator[Say]:
    """``say(what)`` for each of so many steps, when it begins; nothing is left on the terminal.

    Where there is no terminal, nothing is shown.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
    elif importlib.util.find_spec("rich") is None:
        yield from _line(steps)
    else:
        yield from _bar(steps)


def _bar(steps: int) -> Iterator[Say]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(20), TimeRemainingColumn(), TextColumn("{task.description}"))
    # No thread may refresh it: calls are being timed.
    with Progress(
        *columns, console=Console(stderr=True), transient=True, auto_refresh=False
    ) as bar:
        task = bar.add_task("", total=steps)
        done = -1

        def say(what: str) -> None:
            nonlocal done
            done = min(done + 1, steps)
            bar.update(task, completed=done, description=what, refresh=True)

        yield say


def _line(steps: int) -> Iterator[Say]:
    done = -1

    def show(text: str) -> None:
        # Back to the start of the line, and clear it.
        sys.stderr.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
        sys.stderr.flush()

    def say(what: str) -> None:
        nonlocal done
        done = min(done + 1, steps)
        show(f"{done}/{steps} {what}")

    try:
        yield say
    finally:
        show("")
