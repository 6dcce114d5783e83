"""Escapes: how a program that is being traced betrays that it looked at values.

Knows: the errors of torch's fake tensors, and which frames belong to the user.
Must not know: how tracing is done.
"""

import linecache
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from diffface.backends.errors import CannotRecord

_READS_NUMBER = "a value was read as a Python number (a branch, float(), item(), an index)"
_READS_SHAPE = "the shape of a result depends on values (a boolean mask, nonzero, unique)"
READS_MEMORY = "the memory of a tensor was read (numpy(), dlpack, data_ptr)"
_READS_TEXT = "the values of a tensor were printed or made text"

# These answer for a tensor without values, or fail in a way that a program may swallow
_READERS = {
    torch.Tensor.__array__: READS_MEMORY,
    torch.Tensor.__dlpack__: READS_MEMORY,
    torch.Tensor.__format__: _READS_TEXT,
    torch.Tensor.__repr__: _READS_TEXT,
    torch.Tensor.data_ptr: READS_MEMORY,
    torch.Tensor.numpy: READS_MEMORY,
}

_LIBRARIES = ("torch", "diffface", "array_api_compat", "numpy", "contextlib")


class Escapes:
    """What a trace has seen escape; the first one is kept.

    An escape counts even where the program swallows the error: what it did next is a guess.
    """

    def __init__(self) -> None:
        self.first: CannotRecord | None = None

    def note(self, reason: str) -> CannotRecord:
        """Remember an escape that happens now, on this stack."""
        found = CannotRecord(reason, _user_line(_stack()))
        self.first = self.first or found
        return found


class WatchedCalls(TorchFunctionMode):
    """Refuses the Python calls that read a tensor behind the dispatcher's back."""

    def __init__(self, escapes: Escapes) -> None:
        super().__init__()
        self._escapes = escapes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READERS:
            raise self._escapes.note(_READERS[func])
        return func(*args, **(kwargs or {}))


def reads_values(error: BaseException) -> str | None:
    """Say in words how ``error`` betrays a look at values; None if it does not."""
    for link in _chain(error):
        # By name: one of these classes lives in a module that takes long to import
        name = type(link).__name__
        if name == "DynamicOutputShapeException":
            return _READS_SHAPE
        if name in ("DataDependentOutputException", "GuardOnDataDependentSymNode"):
            return _READS_NUMBER
    return None


def is_surely_users(error: BaseException) -> bool:
    """Whether a ``raise`` in the user's own code made ``error``, not an operation of torch."""
    frames = list(_traceback(error))
    # What torch's C++ code raises has the user's line as its innermost frame, too
    may_be_torch = isinstance(error, (AttributeError, IndexError, RuntimeError, TypeError))
    return not may_be_torch and bool(frames) and not _is_library(frames[0])


def refusal(error: BaseException, reason: str) -> CannotRecord:
    """Turn ``error`` into the library's own, with the user's line out of the traceback."""
    return CannotRecord(reason, _user_line(_traceback(error)))


def unexplained(error: BaseException) -> CannotRecord:
    """Turn an ``error`` which only the trace has, nobody knows why, into the library's own."""
    return refusal(error, f"torch cannot trace it ({type(error).__name__}: {_first_line(error)})")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")[:200]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _stack() -> Iterator[tuple[FrameType, int]]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame, frame.f_lineno
        frame = frame.f_back


def _traceback(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of a traceback, innermost first."""
    frames = []
    link = error.__traceback__
    while link is not None:
        frames.append((link.tb_frame, link.tb_lineno))
        link = link.tb_next
    return reversed(frames)


def _user_line(frames: Iterator[tuple[FrameType, int]]) -> str | None:
    for frame in frames:
        if not _is_library(frame):
            code = frame[0].f_code
            source = linecache.getline(code.co_filename, frame[1]).strip()
            return f"{code.co_filename}:{frame[1]} in {code.co_name}: `{source}`"
    return None


def _is_library(frame: tuple[FrameType, int]) -> bool:
    name = str(frame[0].f_globals.get("__name__", ""))
    generated = frame[0].f_code.co_filename.startswith("<eval_with_key>")
    return generated or name.partition(".")[0] in _LIBRARIES
