"""A call: which of its arguments are active, and the description of each."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.errors import InvalidArgumentError, PreparationMismatchError
from diffface.backends.libraries import libraries, library_of
from diffface.backends.numpy_arrays import NUMPY_SCALAR, PYTHON
from diffface.prep.arguments.const import Const, plain
from diffface.prep.arguments.signature import Argument, Described, Leaf, Signature
from diffface.prep.arguments.static import Static
from diffface.prep.arguments.tree import flatten, unflatten

_FLOAT = Leaf(PYTHON, (), np.dtype(float), None)


class Call(NamedTuple):
    """Arguments as given: values in order (keywords last), and which of them are active."""

    values: tuple[object, ...]
    keywords: tuple[str, ...]
    active: tuple[int, ...]
    # Whether the result is for the one active argument, not a tuple with one entry for each.
    bare: bool


def bind(
    args: Sequence[object], argnums: int | Sequence[int] | None, kwargs: Mapping[str, Any] | None
) -> Call:
    """The arguments without their ``Const``, and which are active."""
    values: list[object] = []
    unwrapped: list[int] = []
    for i, a in enumerate(args):
        if isinstance(a, Const):
            values.append(a.value)
        else:
            values.append(a)
            unwrapped.append(i)
    if argnums is None:
        active, bare = tuple(unwrapped), len(unwrapped) == 1
    else:
        active, bare = _positions(argnums, args), not _is_sequence(argnums)
    if not active:
        raise InvalidArgumentError(
            "There is no active argument: "
            + ("`f` was given none." if not args else "every one is Const, or `argnums` is empty.")
            + " Leave at least one argument outside Const."
        )
    if kwargs is None:
        return Call(tuple(values), (), active, bare)
    keywords = named(kwargs)
    return Call((*values, *keywords.values()), tuple(keywords), active, bare)


def bind_like(prepared: Signature, args: Sequence[Any], keyed: Mapping[str, Any]) -> Call:
    """The arguments of a call, active as they were at the preparation.

    Raises
    ------
    PreparationMismatchError
        If there are more or fewer of them, or an active one is now in ``Const``.
    """
    active, keywords = prepared.active, prepared.keywords
    for i in active:
        if i < len(args) and isinstance(args[i], Const):
            raise PreparationMismatchError(
                f"Argument {i} is wrapped in Const, but was active at preparation; "
                "prepare anew to change which arguments are constant."
            )
    values = tuple(
        marked(a, known) if i in active else a
        for i, (a, known) in enumerate(zip(plain(args), prepared.arguments, strict=False))
    )
    count = len(prepared.arguments) - len(keywords)
    if len(args) != count:
        noun = "argument" if count == 1 else "arguments"
        raise PreparationMismatchError(f"Prepared with {count} {noun}, called with {len(args)}.")
    if set(keyed) != set(keywords):
        raise PreparationMismatchError(
            f"Prepared with the keywords {_quoted(keywords)}, called with {_quoted(keyed)}."
        )
    return Call((*values, *(keyed[k] for k in keywords)), keywords, active, prepared.bare)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def _positions(argnums: int | Sequence[int], args: Sequence[object]) -> tuple[int, ...]:
    count = len(args)
    found: list[int] = []
    positions: Any = argnums if _is_sequence(argnums) else (argnums,)
    for n in positions:
        position = _integer(n, argnums)
        if not -count <= position < count:
            noun = "argument" if count == 1 else "arguments"
            raise InvalidArgumentError(
                f"`argnums` must be within {-count} and {count - 1} for {count} {noun}, "
                f"got {argnums!r}."
            )
        position %= count
        if position in found:
            raise InvalidArgumentError(f"`argnums` names argument {position} twice: {argnums!r}.")
        if isinstance(args[position], Const):
            raise InvalidArgumentError(
                f"`argnums` makes argument {position} active, but it is wrapped in Const; "
                "use one or the other."
            )
        found.append(position)
    return tuple(found)


def _is_sequence(argnums: object) -> bool:
    return isinstance(argnums, Iterable) and not isinstance(argnums, str)


def _integer(n: Any, argnums: object) -> int:
    try:
        if isinstance(n, bool):
            raise TypeError
        return operator.index(n)
    except TypeError:
        raise InvalidArgumentError(
            f"`argnums` must be an integer or a sequence of integers, got {argnums!r}."
        ) from None


def named(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by keyword without their ``Const``."""
    if not isinstance(kwargs, Mapping):
        raise InvalidArgumentError(
            f"`kwargs` must be a mapping from names to values, got {type(kwargs).__name__}."
        )
    for key in kwargs:
        if not isinstance(key, str):
            raise InvalidArgumentError(f"`kwargs` must have strings as keys, got {key!r}.")
    return {k: v.value if isinstance(v, Const) else v for k, v in kwargs.items()}


def marked(value: Any, known: Argument) -> Any:
    """An active argument, with a ``Const`` at the leaves that were constant at the preparation."""
    # To Python, a float64 of NumPy is a float, and solvers of one equation hand them in.
    if type(value) is np.float64 and known.leaves == (_FLOAT,):
        return float(value)
    constant = [n for n, leaf in enumerate(known.leaves) if isinstance(leaf, Argument)]
    if not constant or known.spec is None:
        return value
    try:
        leaves: list[Any] = known.spec.flatten_up_to(value)
    except ValueError:  # reported as a mismatch
        return value
    if all(isinstance(leaves[n], Const) for n in constant):
        return value
    for n in constant:
        if not isinstance(leaves[n], Const):
            leaves[n] = Const(leaves[n])
    return unflatten(known.spec, leaves)


def describe(call: Call) -> tuple[tuple[Argument, ...], list[Any], list[Any]]:
    """Each argument, and the leaves of the active ones and those that are run-time constants."""
    active = call.active
    constants: list[Any] = []
    primals: dict[int, list[Any]] = {}
    arguments: list[Argument] = []
    for i, value in enumerate(call.values):
        library = libraries.get(type(value)) or library_of(value)
        if library is not None and i in active:
            arguments.append(Argument(None, (Leaf(library, *library.describe(value)),)))
            primals[i] = [value]
        else:
            arguments.append(
                _described(value, i not in active, primals.setdefault(i, []), constants)
            )
    found: list[Any] = []
    for i in active:
        found += primals[i]
    return tuple(arguments), found, constants


def _described(value: Any, constant: bool, primals: list[Any], constants: list[Any]) -> Argument:
    """One argument; its leaves go to ``primals`` or ``constants``."""
    leaves, spec = ([value], None) if library_of(value) is not None else flatten(value)
    described: list[Described] = []
    for leaf in leaves:
        library = libraries.get(type(leaf)) or library_of(leaf)
        if type(leaf) is Const:
            described.append(_described(leaf.value, True, primals, constants))
        elif library is None:
            described.append(Static(leaf))
            if not constant:
                primals.append(leaf)
        else:
            known = Leaf(library, *library.describe(leaf))
            if not constant:
                primals.append(leaf)
            elif known.dtype.kind not in "fc" and library in (PYTHON, NUMPY_SCALAR):
                # Integers and flags decide on shapes and branches.
                described.append(Static(leaf))
                continue
            else:
                constants.append(leaf)
            described.append(known)
    return Argument(spec, tuple(described))
