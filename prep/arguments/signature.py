"""The signature of a call: everything about its arguments but the values of arrays."""

import inspect
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Arrays
from diffface.backends.numpy_arrays import NUMPY, NUMPY_SCALAR, PYTHON
from diffface.prep.arguments.static import Static
from diffface.prep.arguments.tree import Spec, derivative_of, unflatten


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


class Argument(NamedTuple):
    """Structure of one argument, or of what stands in a ``Const`` at a leaf of one.

    ``spec`` is None for a bare leaf.
    """

    spec: Spec | None
    leaves: tuple["Leaf | Static | Argument", ...]

    def __str__(self) -> str:
        return "Const " + " ".join(map(str, self.leaves))


# What may be at a leaf of an argument.
Described = Leaf | Static | Argument


class Place(NamedTuple):
    """Where an active argument is, and which primals make it up.

    ``active`` are the positions of these among its leaves, where some are constant; else None.
    """

    position: int
    spec: Spec | None
    start: int
    stop: int
    active: tuple[int, ...] | None = None

    @property
    def derivative(self) -> tuple[Spec | None, tuple[int, ...] | None]:
        """Structure of a derivative with respect to it, and which leaves of that are derivatives.

        The latter is None if all are.
        """
        if self.spec is None or self.active is None:
            return self.spec, None
        return derivative_of(self.spec, self.active)

    def leaves(self, primals: Sequence[Any], constants: Sequence[Any] | None = None) -> list[Any]:
        """Leaves of the argument: its part of ``primals``, and None for those that are constant."""
        own = list(primals[self.start : self.stop])
        if self.active is None:
            return own
        assert self.spec is not None
        filled = list(constants or [None] * self.spec.num_leaves)
        for i, leaf in zip(self.active, own, strict=True):
            filled[i] = leaf
        return filled


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
            own = []
            for n, leaf in enumerate(leaves):
                if type(leaf) is not Argument:
                    own.append(n)
                # Static leaves of active arguments are refused before anything is derived.
                if isinstance(leaf, Leaf):
                    primals.append(leaf)
            stop = start + len(own)
            mixed = len(own) < len(leaves)
            places.append(Place(i, spec, start, stop, tuple(own) if mixed else None))
            start = stop
        for i, argument in enumerate(arguments):
            _collect(argument, i in active, constants)
        return cls(
            arguments, keywords, active, bare, tuple(primals), tuple(constants), tuple(places)
        )

    def __str__(self) -> str:
        return ", ".join(
            ("" if i in self.active else "Const ") + " ".join(map(str, argument.leaves))
            for i, argument in enumerate(self.arguments)
        )

    def values(self, c: Arrays) -> list[Any]:
        """Arguments with constants in place.

        Those that are active are to be filled: None, or a list of leaves if some are constant.
        """
        constants = iter(c)
        values: list[Any] = []
        for i, argument in enumerate(self.arguments):
            if i not in self.active:
                values.append(_filled(argument, constants))
            elif any(type(leaf) is Argument for leaf in argument.leaves):
                values.append([_constant(leaf, constants) for leaf in argument.leaves])
            else:
                values.append(None)
        return values

    @property
    def has_containers(self) -> bool:
        """Whether a constant is a tree, or has one in it."""
        for i, (spec, leaves) in enumerate(self.arguments):
            if spec is None or spec.is_leaf():
                continue
            if i not in self.active or any(
                type(leaf) is Argument and leaf.spec is not None for leaf in leaves
            ):
                return True
        return False

    def like_active(self, leaves: Sequence[Any]) -> Any:
        """``leaves`` of all active arguments as trees: bare, or a tuple with one entry for each."""
        entries = []
        for place in self.places:
            _, spec, start, stop, active = place
            if spec is None:
                entries.append(leaves[start])
            else:
                own = leaves[start:stop] if active is None else place.leaves(leaves)
                entries.append(unflatten(spec, own))
        return entries[0] if self.bare else tuple(entries)

    def result_library(self) -> tuple[ArrayLibrary, Any]:
        """Library and device of what ``f`` returns: those of the first array argument."""
        for leaf in self.primals + self.constants:
            if leaf.library not in (PYTHON, NUMPY_SCALAR, NUMPY):
                return leaf.library, leaf.device
        # NumPy's own functions return scalars for shape ().
        numbers = all(leaf.library is PYTHON for leaf in self.primals)
        return (PYTHON if numbers else NUMPY_SCALAR), None

    def owner(self, constant: int) -> int:
        """Position of the argument that has the run-time constant of this number."""
        for i, argument in enumerate(self.arguments):
            own: list[Leaf] = []
            _collect(argument, i in self.active, own)
            if constant < len(own):
                return i
            constant -= len(own)
        raise IndexError(constant)

    def name(self, f: Callable[..., Any], position: int) -> str:
        """An argument as the user would name it: by its parameter in ``f`` where that is known."""
        keyword = position - (len(self.arguments) - len(self.keywords))
        return self.keywords[keyword] if keyword >= 0 else parameter(f, position)


def by_value(signature: Signature, constants: Sequence[Any]) -> tuple[Signature, list[Any]]:
    """The signature in which Python numbers among the constants are static, and the others."""
    rest: list[Any] = []
    values = iter(constants)

    def changed(argument: Argument, active: bool) -> Argument:
        leaves: list[Described] = []
        for leaf in argument.leaves:
            if type(leaf) is Argument:
                leaves.append(changed(leaf, False))
            elif type(leaf) is not Leaf or active:
                leaves.append(leaf)
            elif leaf.library is PYTHON:
                leaves.append(Static(next(values)))
            else:
                leaves.append(leaf)
                rest.append(next(values))
        return Argument(argument.spec, tuple(leaves))

    arguments = [changed(a, i in signature.active) for i, a in enumerate(signature.arguments)]
    return Signature.of(tuple(arguments), *signature[1:4]), rest


def _collect(argument: Argument, active: bool, constants: list[Leaf]) -> None:
    """Run-time constants of one argument, in order."""
    for leaf in argument.leaves:
        if type(leaf) is Argument:
            _collect(leaf, False, constants)
        elif type(leaf) is Leaf and not active:
            constants.append(leaf)


def _filled(argument: Argument, constants: Iterator[Any]) -> Any:
    """A constant argument as ``f`` sees it."""
    filled = [_constant(leaf, constants, False) for leaf in argument.leaves]
    return filled[0] if argument.spec is None else unflatten(argument.spec, filled)


def _constant(leaf: Described, constants: Iterator[Any], active: bool = True) -> Any:
    if type(leaf) is Argument:
        return _filled(leaf, constants)
    if isinstance(leaf, Static):
        return leaf.value
    return None if active else next(constants)


def parameter(f: Callable[..., Any], position: int) -> str:
    """The parameter's name in ``f``, or its position where that cannot be known."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return f"args[{position}]"
    named = parameters[position].kind if position < len(parameters) else None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return parameters[position].name if named in positional else f"args[{position}]"
