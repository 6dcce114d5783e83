"""How often a function is evaluated in a call, without anything in its way."""

import functools
import sys
from collections.abc import Callable
from types import CodeType, FrameType, MethodType
from typing import Any


def evaluations(f: Callable[..., Any], call: Callable[[], Any]) -> int | None:
    """How often ``call()`` enters ``f``; None if ``f`` is not made of Python code."""
    code = _code(f)
    if code is None:
        return None
    count = 0

    def watch(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_code is code

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count


def _code(f: Any) -> CodeType | None:
    while isinstance(f, functools.partial):
        f = f.func
    if isinstance(f, MethodType):
        f = f.__func__
    found = getattr(f, "__code__", None) or getattr(type(f).__call__, "__code__", None)
    return found if isinstance(found, CodeType) else None
