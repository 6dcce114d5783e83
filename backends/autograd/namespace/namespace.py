"""The array API namespace of autograd boxes: what ``dif.namespace(box)`` returns.

``autograd.numpy`` under the names of the array API standard. The box's own
``__array_namespace__`` will not do: its ``linalg`` and ``fft`` are NumPy's, which do not
differentiate, and some functions lack a rule, or a forward rule, or do not broadcast. Those are
replaced here by primitives of our own; autograd's are left as they are, so that a user's own
``autograd.numpy`` code computes what it always did. Every other name is ``autograd.numpy``'s.

All functions work alike on NumPy arrays, boxes and boxes of boxes.
"""

from types import ModuleType
from typing import Any

import autograd.numpy as anp
import numpy as np

from diffface.backends.autograd.namespace import creation as _creation
from diffface.backends.autograd.namespace import elementwise as _elementwise
from diffface.backends.autograd.namespace import fft as _fft
from diffface.backends.autograd.namespace import linalg as _linalg
from diffface.backends.autograd.namespace import reductions as _reductions
from diffface.backends.autograd.namespace import shapes as _shapes
from diffface.backends.autograd.writing import WRITING
from diffface.backends.mutable import plain_arguments

# autograd.numpy's integer types are subclasses of its own, which are no dtypes to NumPy.
_CONSTANTS = {
    name: getattr(np, name)
    for name in (
        "bool", "complex64", "complex128", "e", "float32", "float64", "inf", "int8", "int16",
        "int32", "int64", "nan", "newaxis", "pi", "uint8", "uint16", "uint32", "uint64",
    )
}  # fmt: skip


class Namespace:
    """A module-like object: some names of its own, every other one from `fallback`.

    Parameters
    ----------
    name : str
        How it presents itself.
    own : dict of str to object
        The names that differ from the fallback.
    fallback : module or Namespace
        Where every other name is looked up.
    """

    def __init__(self, name: str, own: dict[str, Any], fallback: Any) -> None:
        self.__name__ = name
        self.__dict__.update(own)
        self._fallback = fallback

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fallback, name)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *dir(self._fallback)})

    def __repr__(self) -> str:
        return f"<array namespace {self.__name__!r}>"


class Reading(Namespace):
    """A namespace whose functions take arrays that are being written to, too, as they are now."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__(namespace.__name__, {}, namespace)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._fallback, name)
        if isinstance(found, Namespace):
            found = Reading(found)
        elif callable(found) and not isinstance(found, type):
            found = plain_arguments(found)
        self.__dict__[name] = found
        return found


def _exports(*modules: ModuleType) -> dict[str, Any]:
    return {name: getattr(module, name) for module in modules for name in module.__all__}


namespace = Namespace(
    "diffface.autograd",
    {
        **_CONSTANTS,
        **_exports(_creation, _elementwise, _reductions, _shapes),
        "matmul": _linalg.matmul,
        "tensordot": _linalg.tensordot,
        "linalg": Namespace("diffface.autograd.linalg", _exports(_linalg), anp.linalg),
        "fft": Namespace("diffface.autograd.fft", _exports(_fft), anp.fft),
    },
    anp,
)
"""`autograd.numpy` with the array API standard's names and rules."""
_reading = Reading(namespace)


def namespace_of(*arrays: Any) -> Namespace:
    """The namespace of boxes, in the function that asks for it."""
    return _reading if WRITING.get() else namespace
