"""Which line of the user's code an error came from."""

import dis
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path

# Folders of diffface that users' functions do not live in, and Python's own.
_PACKAGE = Path(str(sys.modules["diffface"].__file__)).parent
_OURS = (
    *(_PACKAGE / folder for folder in ("operators", "optimize", "prep", "backends")),
    *((_PACKAGE / folder).resolve() for folder in ("prep", "backends")),
    Path(__file__).parent.parent,
    Path(sysconfig.get_path("stdlib")),
)
# Of this environment, or of one that it is on top of.
_INSTALLED = {"site-packages", "dist-packages"}


def raised_by_user(error: BaseException) -> bool:
    """Whether a ``raise`` outside any library raised ``error``: then it is the user's own."""
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    if tb is None or _in_library(tb.tb_frame.f_code.co_filename):
        return False
    return tb.tb_frame.f_code.co_code[tb.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def users_stacklevel() -> int:
    """The ``stacklevel`` with which a warning of the caller's points at the user's code."""
    level, frame = 1, sys._getframe(1)
    while frame is not None and _in_library(frame.f_code.co_filename) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level


def users_line(error: BaseException) -> str:
    """``, at file:line in function: `source` `` of the innermost frame outside any library."""
    return line_of(traceback.extract_tb(error.__traceback__))


def line_of(stack: Sequence[traceback.FrameSummary]) -> str:
    """The same for a stack."""
    for frame in reversed(stack):
        if frame.filename.startswith("<") or _in_library(frame.filename):
            continue
        source = f": `{frame.line}`" if frame.line else ""
        return f", at {frame.filename}:{frame.lineno} in {frame.name}{source}"
    return ""


def _in_library(filename: str) -> bool:
    path = Path(filename)
    return (
        filename.startswith("<diffface")  # emitted
        or path.parent == _PACKAGE
        or not _INSTALLED.isdisjoint(path.parts)
        or any(path.is_relative_to(root) for root in _OURS)
    )
