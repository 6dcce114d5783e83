"""Emitted source as code: the same text is compiled once, however often it is emitted."""

from functools import lru_cache
from types import CodeType

# Longer texts are not kept: they are rarely emitted twice, and take memory.
_SHORT = 10_000


def code(source: str, title: str) -> CodeType:
    """``source`` compiled; ``title`` stands for its file in tracebacks."""
    return (_known if len(source) < _SHORT else _compile)(source, title)


def _compile(source: str, title: str) -> CodeType:
    return compile(source, title, "exec")


_known = lru_cache(maxsize=128)(_compile)


def forget() -> None:
    """Compile every text anew, as in a fresh process."""
    _known.cache_clear()
