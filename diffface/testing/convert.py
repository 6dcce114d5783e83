"""Scenario arguments as arrays of a kind, and what kind of arrays must come back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffface.backends.arrays import NUMPY, NUMPY_SCALAR, PYTHON, ArrayLibrary, library_of
from diffface.prep.arguments.const import Const, plain
from diffface.testing.point import Point
from diffface.testing.trees import Tree, leaves, mapped

# Of NumPy and Python: what is left when no framework has a part in a call.
PLAIN = (PYTHON, NUMPY_SCALAR, NUMPY)


def converted(tree: Tree, kind: ArrayLibrary) -> Tree:
    """``tree`` with arrays of ``kind``, whatever is no floating-point array or number as it is.

    For NumPy, arrays stay themselves (their strides and flags are part of a scenario), and so do
    numbers; other kinds have arrays of shape () instead.
    """
    if kind is NUMPY:
        return tree
    return mapped(
        lambda leaf: kind.from_numpy(np.array(leaf, order="C"), None) if _counts(leaf) else leaf,
        tree,
    )


def arguments(point: Point, kind: ArrayLibrary) -> tuple[Any, ...]:
    """The arguments of a point; constants that are Python numbers stay so."""
    seen: dict[int, Any] = {}
    result = []
    for i, argument in enumerate(point.args):
        value = argument.value if isinstance(argument, Const) else argument
        if i in point.active or not isinstance(value, float | complex):
            # The same array twice stays the same array twice.
            if id(value) not in seen:
                seen[id(value)] = converted(value, kind)
            value = seen[id(value)]
        result.append(Const(value) if isinstance(argument, Const) else value)
    return tuple(result)


def _counts(leaf: object) -> bool:
    return isinstance(leaf, float | complex | np.ndarray | np.number)


def kinds_of_y(point: Point, args: Sequence[Any]) -> tuple[ArrayLibrary, ArrayLibrary]:
    """Kinds of what is like ``f``'s result: of arrays, and of shape ()."""
    values = plain(args)
    primals = [leaf for i in point.active for leaf in leaves(values[i])]
    rest = [leaf for i, a in enumerate(values) if i not in point.active for leaf in leaves(a)]
    for kind in map(library_of, primals + rest):
        if kind is not None and kind not in PLAIN:
            return kind, kind
    numbers = all(library_of(leaf) is PYTHON for leaf in primals)
    return NUMPY, PYTHON if numbers else NUMPY_SCALAR


def kinds_of_x(leaf: object) -> tuple[ArrayLibrary, ArrayLibrary]:
    """Kinds of what is like an argument's ``leaf``: with more axes, and of shape ()."""
    kind = library_of(leaf)
    assert kind is not None
    return (NUMPY if kind in PLAIN else kind), kind
