"""Whether the active arguments of a call can be differentiated, and by this backend."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.bfloat16 import kind_of
from diffface.backends.errors import (
    DifffaceError,
    InvalidArgumentError,
    NotDifferentiableError,
    UnsupportedOperatorError,
)
from diffface.backends.numpy_arrays import NUMPY
from diffface.prep.arguments.signature import Argument, Described, Leaf, Signature
from diffface.prep.arguments.static import Static
from diffface.prep.arguments.tree import paths
from diffface.prep.operator import Mode, Operator


class Problem(NamedTuple):
    """Why arguments cannot be differentiated.

    Attributes
    ----------
    error : type of exception
        What to raise.
    text : str
        What is wrong; goes on after the name of the leaf, if it is about one.
    place : tuple of int, optional
        Argument and leaf that it is about.
    """

    error: type[DifffaceError]
    text: str
    place: tuple[int, int] | None = None

    def said_of(self, f: Callable[..., Any], signature: Signature) -> DifffaceError:
        """The exception, with the argument's name in ``f``."""
        if self.place is None:
            return self.error(self.text)
        return self.error(f"`{_name(signature, f, *self.place)}` {self.text}")


def find_problem(
    signature: Signature, operator: Operator, name: str, holomorphic: bool, adapter: Adapter
) -> Problem | None:
    """What there is to refuse about the active arguments, before any work.

    It is a NotDifferentiableError if a leaf is no floating-point array or number, or of a dtype
    that the backend lacks, and an InvalidArgumentError if there is no leaf at all, or not the one
    number that the operator needs.
    """
    for i in signature.active:
        spec, leaves = signature.arguments[i]
        inside = spec is not None and not spec.is_leaf()
        for n, leaf in enumerate(leaves):
            if text := _refusal(leaf, operator, name, holomorphic, inside):
                return Problem(NotDifferentiableError, text, (i, n))
    for i, argument in enumerate(signature.arguments):
        for n, leaf in enumerate(argument.leaves):
            if (dtype := _lacking(leaf, adapter, i in signature.active)) is not None:
                text = (
                    f"has dtype {dtype.name}, which {adapter.library} lacks; convert it with "
                    "astype, or use another backend."
                )
                return Problem(NotDifferentiableError, text, (i, n))
    if not signature.primals:
        text = "There is nothing to differentiate: the active arguments have no leaves."
        return Problem(InvalidArgumentError, text)
    if operator.scalar_argument and [leaf.shape for leaf in signature.primals] != [()]:
        shapes = ", ".join(str(leaf.shape) for leaf in signature.primals)
        text = (
            f"`{name}` takes one active argument of shape (), got {shapes}; use `jacobian` or "
            "`pushforward` for arrays, and Const for the arguments that are constant."
        )
        return Problem(InvalidArgumentError, text)
    return None


def _lacking(leaf: Described, adapter: Adapter, active: bool) -> np.dtype[Any] | None:
    """The dtype that the backend's library lacks, if there is one in ``leaf``."""
    if isinstance(leaf, Argument):
        inside = (_lacking(each, adapter, active=False) for each in leaf.leaves)
        return next((dtype for dtype in inside if dtype is not None), None)
    if not isinstance(leaf, Leaf):
        return None
    own = leaf.library is adapter.arrays
    if own and not (active and leaf.dtype.kind == "V"):
        return None
    return None if adapter.arrays.takes(leaf.dtype) else leaf.dtype


def _refusal(
    leaf: Described, operator: Operator, name: str, holomorphic: bool, inside: bool
) -> str:
    """What is wrong with an active leaf; empty if nothing is."""
    if isinstance(leaf, Argument):
        return ""
    if isinstance(leaf, Static):
        found = type(leaf.value).__name__
        whose = "this leaf" if inside else "the argument"
        how = _conversion(leaf.value)
        return f"must be floating-point, got {found}; {how}wrap {whose} in Const if it is constant."
    kind: str = leaf.dtype.kind
    if kind == "V":
        kind = kind_of(leaf.dtype)
    if kind == "V" and leaf.library is NUMPY and leaf.dtype.names:
        fields = ", ".join(map(repr, leaf.dtype.names))
        return f"must be floating-point, got a structured array; pass its fields ({fields})."
    if kind == "V":
        found = (leaf.dtype.names or (leaf.dtype.name,))[0]
        return f"has dtype {found}, which NumPy lacks; convert it to float32."
    if kind not in "fc":
        return (
            f"must be floating-point, got {leaf.dtype.name}; convert it with astype(float) or "
            "float(), or wrap it in Const if it is constant."
        )
    if holomorphic and kind != "c":
        return (
            f"must be complex because of holomorphic=True, got {leaf.dtype.name}; convert it, or "
            "leave holomorphic out."
        )
    if kind == "c" and not holomorphic and not operator.complex_arguments:
        unless = " without holomorphic=True" if "holomorphic" in operator.keywords else ""
        return (
            f"is complex, where {name} is not defined{unless}; differentiate with respect to its "
            "real and imaginary parts."
        )
    return ""


def _name(signature: Signature, f: Callable[..., Any], position: int, leaf: int) -> str:
    name = signature.name(f, position)
    spec = signature.arguments[position].spec
    return name if spec is None else name + paths(spec)[leaf]


def _conversion(value: object) -> str:
    """How to make an array of an object that holds one."""
    if isinstance(value, np.ma.MaskedArray):
        return "pass `.filled(...)`, and the mask in Const, or "
    if isinstance(value, np.matrix):
        return "convert it with numpy.asarray, or "
    for base in (dict, list, tuple):  # whose subclasses may be built otherwise
        if isinstance(value, base):
            return f"pass `{base.__name__}(...)` of it, or "
    for attribute, shown in (("to_numpy", ".to_numpy()"), ("magnitude", ".magnitude")):
        if hasattr(value, attribute):
            return f"pass its `{shown}`, or "
    return ""


def check_mode(mode: Mode, adapter: Adapter) -> None:
    """Refuse a mode that the backend does not have."""
    if mode != "auto" and not getattr(adapter, mode):
        other = "forward" if adapter.forward else "reverse"
        raise UnsupportedOperatorError(
            f"{adapter!r} has no {mode} mode; use mode={other!r} or mode='auto', "
            "or a backend that has both."
        )
