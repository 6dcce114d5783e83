"""Which line of the user's code an error came from."""

import sysconfig
import traceback
from pathlib import Path

from diffface.backends import _errors

_OURS = (
    Path(__file__).parent, Path(_errors.__file__).parent,
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
)  # fmt: skip


def users_line(error: BaseException) -> str:
    """``, at file:line in function: `source` `` of the innermost frame outside any library."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if frame.filename.startswith("<") or any(path.is_relative_to(root) for root in _OURS):
            continue
        source = f": `{frame.line}`" if frame.line else ""
        return f", at {frame.filename}:{frame.lineno} in {frame.name}{source}"
    return ""
