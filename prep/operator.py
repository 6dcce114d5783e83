"""What an operator is: how it derives its parts, and what shape of tree each part takes."""

import pickle
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import Any, Literal, NamedTuple

from diffface.backends.adapter import Adapter, Function
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Arrays

# f, x -> (derivatives, everything else)
First = Callable[[Function, Arrays], tuple[Arrays, Arrays]]
Mode = Literal["auto", "forward", "reverse"]


class Part(Enum):
    """The tree that a part of a result takes, and the caller's arrays that it is made of."""

    VALUE = "f's result"
    LIKE_Y = "like f's result"
    LIKE_X = "like the active arguments"
    Y_BY_X = "f's result by active arguments"
    X_BY_X = "active arguments by active arguments"
    ENTRIES = "entries of a sparse matrix"


class Seeds(Enum):
    """What an operator is given besides the arguments of ``f``."""

    NONE = "nothing"
    TANGENTS = "tangents"
    COTANGENTS = "cotangents"


class Settings(NamedTuple):
    """Options that change what is derived."""

    has_aux: bool = False
    batched: bool = False
    chunk_size: int | None = None
    mode: Mode = "auto"
    holomorphic: bool = False


class Point(NamedTuple):
    """One plan: ``f`` at ``x``, on arrays of the backend.

    Attributes
    ----------
    f : Function
        ``x -> (y, aux)``; constants are bound already.
    x : tuple of arrays
        Primals.
    seeds : callable
        Gives the tangents, or, once ``f`` has been evaluated, the cotangents.
    adapter, outer : Adapter
        Who computes first derivatives, and who differentiates those.
    settings : Settings
        Options of the call.
    value : bool
        Whether anything besides the last part is asked for; what is not need not be computed.
    compiled : callable or None
        ``compiled(first)`` is ``x -> first(f, x)``, compiled, where ``outer`` differentiates again
        what ``adapter`` computes. None where there is nothing to compile.
    some : Seeds
        Whether ``seeds`` are unit vectors, whose columns (tangents) or rows (cotangents) of a
        Jacobian are asked for, and not all of it.
    tables : ArrayLibrary or None
        Of the arrays that a Jacobian by chunks may be written to; None where it may not.
    """

    f: Function
    x: Arrays
    seeds: Callable[[], Arrays]
    adapter: Adapter
    outer: Adapter
    settings: Settings
    value: bool
    compiled: Callable[[First], Function] | None = None
    some: Seeds = Seeds.NONE
    tables: ArrayLibrary | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """An operator, derived once for all backends.

    Attributes
    ----------
    names : mapping of tuple of int to str
        What users call it, by the parts that they want.
    derive : callable
        ``derive(point) -> (parts, aux)``: the arrays of each of ``parts``, and of aux.
    parts : tuple of Part
        All that ``derive`` computes, in the order of results: ``f``'s value first.
    order : int
        1 or 2: how often ``f`` is differentiated.
    seeds : Seeds
        What comes with the call.
    scalar : bool
        Whether ``f`` must return one real number.
    scalar_argument : bool
        Whether it is with respect to one number.
    complex_arguments : bool
        Whether complex arguments have a meaning without ``holomorphic=True``.
    keywords : frozenset of str
        The options it takes.
    """

    names: Mapping[tuple[int, ...], str]
    derive: Callable[[Point], tuple[tuple[Arrays, ...], Arrays]]
    parts: tuple[Part, ...]
    order: int = 1
    seeds: Seeds = Seeds.NONE
    scalar: bool = False
    scalar_argument: bool = False
    complex_arguments: bool = True
    keywords: frozenset[str] = frozenset()

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled by name, as functions are: that of the variable that holds it, beside `derive`.
        module = self.derive.__module__
        for name, value in vars(sys.modules[module]).items():
            if value is self:
                return _defined, (module, name)
        raise pickle.PicklingError(f"The operator in {module} has no name to be pickled by.")


def _defined(module: str, name: str) -> Operator:
    return getattr(import_module(module), name)  # type: ignore[no-any-return]  # as pickled


class Recipe(NamedTuple):
    """An operator on a function, with its options: what a caller asked for.

    Attributes
    ----------
    operator, wanted : Operator, tuple of int
        What to derive, and which of its parts.
    f : callable
        The user's function.
    settings : Settings
        Options that change what is derived.
    in_axes : int, sequence of ints, None and trees of them, or None
        Along which axes of the arguments to go from point to point.
    """

    operator: Operator
    wanted: tuple[int, ...]
    f: Callable[..., Any]
    settings: Settings
    in_axes: Any = None

    @property
    def name(self) -> str:
        """What the user called."""
        return self.operator.names[self.wanted]
