"""Generators of random numbers that a function makes anew, with a seed of chance."""

import dis
from functools import lru_cache
from types import CodeType, FunctionType

from diffface.backends.recording.user_frame import in_library

_MAKERS = {"RandomState", "Random", "SeedSequence", "default_rng"}
# What may stand between a name and its call.
_BETWEEN = {"CACHE", "EXTENDED_ARG", "PRECALL", "PUSH_NULL"}


def makes_unseeded(x: object) -> bool:
    """Whether ``x`` is a function of the user's with a call like ``default_rng()`` in its code."""
    return (
        isinstance(x, FunctionType)
        and not in_library(x.__code__.co_filename)
        and _calls_maker(x.__code__)
    )


@lru_cache(maxsize=1024)
def _calls_maker(code: CodeType) -> bool:
    before = just = None
    for instruction in dis.get_instructions(code):
        if instruction.opname in _BETWEEN:
            continue
        if instruction.opname == "CALL" and just is not None:
            by_none = just.opname == "LOAD_CONST" and just.argval is None
            maker = {0: just, 1: before if by_none else None}.get(instruction.arg or 0)
            if maker is not None and maker.argval in _MAKERS:
                return True
        before, just = just, instruction
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return any(map(_calls_maker, inner))
