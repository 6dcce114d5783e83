"""The signature of a call: all about its arguments but the values of arrays; what two differ in."""

import inspect
from collections.abc import Callable, Hashable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.arrays import (
    NUMPY,
    NUMPY_SCALAR,
    PYTHON,
    ArrayLibrary,
    libraries,
    library_of,
)
from diffface.backends.compiled import Arrays
from diffface.prep.arguments.tree import Spec, flatten, paths, shown, unflatten


class Leaf(NamedTuple):
    """An array or number that may differ in value from call to call."""

    library: ArrayLibrary
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: Hashable

    def __str__(self) -> str:
        if self.library is PYTHON:
            return f"Python {self.dtype.name.rstrip('0123456789')}"
        place = "" if self.device is None else f" on {self.library.place(self.device)}"
        return f"{self.library.name} {self.dtype.name}{list(self.shape)}{place}"


class Static:
    """A string, integer, flag, function or other object: part of the signature by its value."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static):
            return False
        if self.value is other.value:
            return True
        if type(self.value) is not type(other.value):
            return False
        try:
            return bool(self.value == other.value)
        except Exception:  # noqa: BLE001 - an object that cannot be compared equals only itself
            return False

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return hash(type(self.value))

    def __str__(self) -> str:
        return f"static {self.value!r}"


class Argument(NamedTuple):
    """Structure of one argument; ``spec`` is None for a bare leaf."""

    spec: Spec | None
    leaves: tuple[Leaf | Static, ...]


class Call(NamedTuple):
    """Arguments as given: values in order (keywords last), and which of them are active."""

    values: tuple[object, ...]
    keywords: tuple[str, ...]
    active: tuple[int, ...]
    # Whether the result is for the one active argument, not a tuple with one entry for each.
    bare: bool


class Place(NamedTuple):
    """Where an active argument is, and which primals make it up."""

    position: int
    spec: Spec | None
    start: int
    stop: int


class Signature(NamedTuple):
    """The signature of a call: everything about its arguments but the values of arrays."""

    arguments: tuple[Argument, ...]
    keywords: tuple[str, ...]
    active: tuple[int, ...]
    bare: bool
    # What follows: leaves of the active arguments, in the order of the result; of the others, those
    # that may differ from call to call; and which primals make up which active argument.
    primals: tuple[Leaf, ...]
    constants: tuple[Leaf, ...]
    places: tuple[Place, ...]

    @classmethod
    def of(
        cls, arguments: tuple[Argument, ...], keywords: tuple[str, ...], active: tuple[int, ...],
        bare: bool,
    ) -> "Signature":  # fmt: skip
        """The signature of ``arguments``, with what follows from them."""
        places, start = [], 0
        primals: list[Leaf] = []
        constants: list[Leaf] = []
        for i in active:
            spec, leaves = arguments[i]
            stop = start + len(leaves)
            places.append(Place(i, spec, start, stop))
            start = stop
            # Static leaves of active arguments are refused before anything is derived.
            primals += [leaf for leaf in leaves if isinstance(leaf, Leaf)]
        for i, argument in enumerate(arguments):
            if i not in active:
                constants += [leaf for leaf in argument.leaves if isinstance(leaf, Leaf)]
        return cls(
            arguments, keywords, active, bare, tuple(primals), tuple(constants), tuple(places)
        )

    def __str__(self) -> str:
        return ", ".join(
            ("" if i in self.active else "Const ") + " ".join(map(str, argument.leaves))
            for i, argument in enumerate(self.arguments)
        )

    def fits(self, other: "Signature") -> bool:
        """Whether a call of this signature may go where ``other`` is expected.

        Arrays that a transformation of the caller's is tracing are on no device yet.
        """
        if self == other or self[1:4] != other[1:4]:
            return self == other
        return len(self.arguments) == len(other.arguments) and all(
            a.spec == b.spec and all(map(_fits, a.leaves, b.leaves))
            for a, b in zip(self.arguments, other.arguments, strict=True)
        )

    def values(self, c: Arrays) -> list[Any]:
        """Arguments with constants in place; those that are active are to be filled."""
        values: list[Any] = [None] * len(self.arguments)
        if len(self.active) == len(values):
            return values
        constants = iter(c)
        for i, (spec, leaves) in enumerate(self.arguments):
            if i not in self.active:
                filled = [n.value if isinstance(n, Static) else next(constants) for n in leaves]
                values[i] = filled[0] if spec is None else unflatten(spec, filled)
        return values

    def like_active(self, leaves: Sequence[Any]) -> Any:
        """``leaves`` of all active arguments as trees: bare, or a tuple with one entry for each."""
        entries = [
            leaves[start] if spec is None else unflatten(spec, leaves[start:stop])
            for _, spec, start, stop in self.places
        ]
        return entries[0] if self.bare else tuple(entries)

    def result_library(self) -> tuple[ArrayLibrary, Any]:
        """Library and device of what ``f`` returns: those of the first array argument."""
        for leaf in self.primals + self.constants:
            if leaf.library not in (PYTHON, NUMPY_SCALAR, NUMPY):
                return leaf.library, leaf.device
        # NumPy's own functions return scalars for shape ().
        numbers = all(leaf.library is PYTHON for leaf in self.primals)
        return (PYTHON if numbers else NUMPY_SCALAR), None

    def name(self, f: Callable[..., Any], position: int) -> str:
        """An argument as the user would name it: by its parameter in ``f`` where that is known."""
        keyword = position - (len(self.arguments) - len(self.keywords))
        return self.keywords[keyword] if keyword >= 0 else _parameter(f, position)


def signature_of(call: Call) -> tuple[Signature, list[Any], list[Any]]:
    """Signature of a call, with the leaves of its active arguments and of its constants."""
    arguments, primals, constants = describe(call)
    return Signature.of(arguments, *call[1:]), primals, constants


def describe(call: Call) -> tuple[tuple[Argument, ...], list[Any], list[Any]]:
    """Each argument, and the leaves of the active ones and those that are run-time constants."""
    active = call.active
    constants: list[Any] = []
    leaves_of: list[Sequence[Any]] = []
    arguments: list[Argument] = []
    for i, value in enumerate(call.values):
        library = libraries.get(type(value)) or library_of(value)
        spec = None
        leaves: Sequence[Any] = (value,)
        if library is None:
            leaves, spec = flatten(value)
        constant = i not in active
        described: list[Leaf | Static] = []
        for leaf in leaves:
            if spec is not None:
                library = libraries.get(type(leaf)) or library_of(leaf)
            if library is None:
                described.append(Static(leaf))
                continue
            known = Leaf(library, *library.describe(leaf))
            if constant and known.dtype.kind not in "fc" and library in (PYTHON, NUMPY_SCALAR):
                # Integers and flags decide on shapes and branches.
                described.append(Static(leaf))
                continue
            described.append(known)
            if constant:
                constants.append(leaf)
        arguments.append(Argument(spec, tuple(described)))
        leaves_of.append(leaves)
    primals: list[Any] = []
    for i in active:
        primals += leaves_of[i]
    return tuple(arguments), primals, constants


def report(prepared: Signature, called: Signature, f: Callable[..., Any]) -> str:
    """A message that lists, argument by argument, only what differs."""
    lines = []
    arguments = zip_longest(prepared.arguments, called.arguments)
    for i, (before, now) in enumerate(arguments):
        if before != now:
            lines += _differences(prepared.name(f, i), before, now)
    return (
        "The arguments differ from those it was prepared with:\n"
        + "\n".join(f"  {line}" for line in lines)
        + "\nPrepare anew for these, or with on_mismatch='reprepare'."
    )


def _fits(leaf: Leaf | Static, other: Leaf | Static) -> bool:
    if type(leaf) is Leaf and type(other) is Leaf and leaf.device is None:
        return leaf == other._replace(device=None)
    return leaf == other


def _differences(name: str, before: Argument, now: Argument) -> list[str]:
    if before.spec != now.spec:
        return [f"`{name}`: prepared with {_structure(before)}, called with {_structure(now)}"]
    places = paths(before.spec) if before.spec is not None else [""]
    return [
        f"`{name}{place}`: prepared with {old}, called with {new}"
        for place, old, new in zip(places, before.leaves, now.leaves, strict=True)
        if old != new
    ]


def _structure(argument: Argument) -> str:
    if argument.spec is None or argument.spec.is_leaf():
        return str(argument.leaves[0])
    if argument.spec.num_nodes == 1 and not argument.leaves:
        return f"static {unflatten(argument.spec, ())!r}"
    return f"the structure {shown(argument.spec)}"


def _parameter(f: Callable[..., Any], position: int) -> str:
    """The parameter's name in ``f``, or its position where that cannot be known."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return f"args[{position}]"
    named = parameters[position].kind if position < len(parameters) else None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return parameters[position].name if named in positional else f"args[{position}]"
