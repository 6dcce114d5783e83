"""The user frame: which line of the user's code an error or a refusal comes from."""

import dis
import linecache
import sys
import sysconfig
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from traceback import walk_stack, walk_tb
from types import FrameType

# Folders of diffface that users' functions do not live in, and Python's own.
_PACKAGE = Path(str(sys.modules["diffface"].__file__)).parent
_OURS = (
    *(
        _PACKAGE / folder
        for folder in ("operators", "optimize", "prep", "backends", "rules", "sparse")
    ),
    *((_PACKAGE / folder).resolve() for folder in ("prep", "backends")),
    Path(__file__).parent.parent,
    Path(sysconfig.get_path("stdlib")),
)
# Of this environment, or of one that it is on top of.
_INSTALLED = {"site-packages", "dist-packages"}
# What Python and IPython call code that was typed in; other names in <> are of generated code.
_TYPED_IN = ("<stdin", "<python-input", "<ipython-input")


def raised_by_user(error: BaseException) -> bool:
    """Whether a ``raise`` outside any library raised ``error``: then it is the user's own."""
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    if tb is None or in_library(tb.tb_frame.f_code.co_filename):
        return False
    return tb.tb_frame.f_code.co_code[tb.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def users_stacklevel() -> int:
    """The ``stacklevel`` with which a warning of the caller's points at the user's code."""
    level, frame = 1, sys._getframe(1)
    while in_library(frame.f_code.co_filename) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level


def users_line(error: BaseException) -> str:
    """``, at `` and the line of the innermost user frame of ``error``; empty if there is none."""
    line = _line(reversed(list(walk_tb(error.__traceback__))))
    return f", at {line}" if line else ""


def line_of_error(error: BaseException) -> str | None:
    """``file:line in function: `source` `` of the innermost user frame of ``error``."""
    return _line(reversed(list(walk_tb(error.__traceback__))))


def line_of_call(skipped: int = 1) -> str | None:
    """The same of the innermost user frame that is running now, so many frames further out."""
    return _line(walk_stack(sys._getframe(skipped)))


def _line(frames: Iterable[tuple[FrameType, int]]) -> str | None:
    """The first of ``frames``, innermost first, that is the user's."""
    for frame, number in frames:
        filename, name = frame.f_code.co_filename, frame.f_code.co_name
        if not in_library(filename):
            source = linecache.getline(filename, number, frame.f_globals).strip()
            return f"{filename}:{number} in {name}" + (f": `{source}`" if source else "")
    return None


def line_of_places(places: Iterable[tuple[str, int, str]]) -> str | None:
    """The same of the first of (file, line, function), innermost first, that is the user's."""
    for filename, number, name in places:
        if not in_library(filename):
            source = linecache.getline(filename, number).strip()
            return f"{filename}:{number} in {name}" + (f": `{source}`" if source else "")
    return None


@lru_cache(maxsize=1024)
def in_library(filename: str) -> bool:
    """Whether the code of ``filename`` is Python's, diffface's or an installed library's."""
    if filename.startswith("<"):
        return not filename.startswith(_TYPED_IN)
    path = Path(filename)
    return (
        path.parent == _PACKAGE
        or not _INSTALLED.isdisjoint(path.parts)
        or any(path.is_relative_to(root) for root in _OURS)
    )
