"""What an outsider gets to see of a recorded value: shape and dtype, and nothing else."""

import sys
from collections.abc import Callable
from types import CodeType
from typing import Any, NoReturn

import numpy as np
from autograd.core import VSpace, vspace
from autograd.numpy import numpy_wrapper

from diffface.backends.autograd.recorder.functions import METADATA


def code_inside(code: CodeType) -> set[CodeType]:
    """Return `code` and the code objects inside it: comprehensions, closures."""
    return {code}.union(*(code_inside(c) for c in code.co_consts if isinstance(c, CodeType)))


# NumPy's parser of einsum strings makes arrays of the operands, only to look at their shapes.
_PARSER = code_inside(numpy_wrapper._parse_einsum_input.__code__)


def refuse(reason: str) -> Callable[..., NoReturn]:
    """Return a method that stops the recording."""

    def method(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        escape(self, reason)

    return method


def escape(box: Any, reason: str) -> NoReturn:
    """Stop the recording to which a box or its shadow belongs."""
    box = box._box if type(box) is Shadow else box
    box._node.tape.escape(reason)
    raise AssertionError


class Shadow:
    """What an outsider sees of a recorded value: type, shape and dtype."""

    def __init__(self, box: Any) -> None:
        self._box = box

    def __array_function__(self, fn: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if fn not in METADATA:
            escape(self, f"`{getattr(fn, '__name__', fn)}` was called on the value inside a box")
        return fn(*[a._box._concrete if isinstance(a, Shadow) else a for a in args], **kwargs)

    def vspace(self) -> Any:
        """Return autograd's vector space of the value, which is made of its shape and dtype."""
        return vspace(self._box._concrete)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        if sys._getframe(1).f_code in _PARSER:
            concrete = self._box._concrete
            return np.broadcast_to(np.zeros((), np.result_type(concrete)), np.shape(concrete))
        escape(self, "NumPy asked for the value inside a box")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        escape(self, f"`.{name}` of the value inside a box was read")


for _name in ("bool", "float", "int", "index", "complex", "hash", "iter", "len"):
    setattr(Shadow, f"__{_name}__", refuse("the value inside a box was used"))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Shadow, f"__{_name}__", refuse("the value inside a box was compared"))

VSpace.mappings[Shadow] = Shadow.vspace
