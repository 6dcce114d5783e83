"""How far a command has come, and how long it will take, on a terminal."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
