"""Tables on the terminal: with rich where it is installed, as plain text where not."""

import importlib.util
import os
import sys

from diffface.testing.text_table import Table


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
