"""Where in the user's code a recording stopped."""

from traceback import walk_stack, walk_tb
from types import TracebackType

_LIBRARIES = ("autograd", "numpy", "scipy", "diffface", "contextlib", "functools")
_USERS_OF_OURS = "diffface.testing"


def user_line(traceback: TracebackType | None = None) -> str | None:
    """Return ``file:line`` of the innermost frame of no library, now or in a traceback."""
    here = walk_tb(traceback) if traceback else reversed(list(walk_stack(None)))
    lines = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in here
        if not _is_library(frame.f_globals.get("__name__") or "")
    ]
    return lines[-1] if lines else None


def _is_library(module: str) -> bool:
    return module.split(".")[0] in _LIBRARIES and not module.startswith(_USERS_OF_OURS)
