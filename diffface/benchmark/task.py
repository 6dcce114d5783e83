"""A task to time: an operator on a function, with arguments and seeds of any array library."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import NUMPY, NUMPY_SCALAR, PYTHON
from diffface.prep.arguments.const import Const
from diffface.testing.case import operator_of
from diffface.testing.point import SEEDS
from diffface.testing.trees import leaves, mapped, wave


class Task(NamedTuple):
    """An operator on a function, at one size.

    Attributes
    ----------
    name, size : str
        What reports call the function, and its size.
    f : callable
        The function.
    args : tuple
        Its arguments; those in ``Const`` are not differentiated.
    function : str
        The public function of diffface, such as ``"gradient"``.
    """

    name: str
    size: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    function: str

    @property
    def active(self) -> tuple[int, ...]:
        """Which arguments are differentiated."""
        return tuple(i for i, a in enumerate(self.args) if not isinstance(a, Const))

    @property
    def inputs(self) -> int:
        """How many numbers that are."""
        return sum(int(np.size(leaf)) for leaf in self.active_leaves())

    @property
    def title(self) -> str:
        """What the case is, for people."""
        return f"{self.name} {self.size}, {self.function}"

    @property
    def keyword(self) -> str:
        """``"tangents"``, ``"cotangents"``, or nothing."""
        return SEEDS.get(operator_of(self.function), "")

    def active_leaves(self) -> list[Any]:
        """Arrays and numbers that are differentiated, as NumPy has them."""
        return [_numpy(leaf) for i in self.active for leaf in leaves(self.args[i])]

    def tangents(self, kind: ArrayLibrary) -> tuple[Any, ...]:
        """A tangent for each active argument, made up, in arrays of ``kind``."""
        return tuple(seeds_like(self.args[i], kind) for i in self.active)

    def seeds(self, y: Any, kind: ArrayLibrary) -> dict[str, Any]:
        """Tangents or cotangents by keyword, or nothing; ``y`` is what the function returns."""
        if self.keyword == "tangents":
            dx = self.tangents(kind)
            return {self.keyword: dx[0] if len(dx) == 1 else dx}
        return {self.keyword: seeds_like(y, kind)} if self.keyword else {}


def own(tree: Any, kind: ArrayLibrary) -> Any:
    """``tree`` with its arrays as arrays of ``kind``; ``Const`` stays around what it was around."""
    if isinstance(tree, Const):
        return Const(own(tree.value, kind))
    return mapped(lambda leaf: _own(leaf, kind), tree)


def seeds_like(tree: Any, kind: ArrayLibrary) -> Any:
    """Tangents or cotangents made up, like the arrays and numbers of ``tree``."""
    return own(mapped(lambda leaf: wave(_numpy(leaf), 0.1), tree), kind)


def _own(leaf: Any, kind: ArrayLibrary) -> Any:
    found = library_of(leaf)
    if found in (None, PYTHON, NUMPY_SCALAR, kind):
        return leaf
    return kind.from_numpy(_numpy(leaf), None)


def as_array(leaf: Any, kind: ArrayLibrary) -> Any:
    """A number as an array, which some libraries take alone."""
    is_number = library_of(leaf) in (PYTHON, NUMPY_SCALAR)
    return kind.from_numpy(np.asarray(leaf), None) if is_number else leaf


def _numpy(leaf: Any) -> Any:
    kind = library_of(leaf)
    return leaf if kind in (None, PYTHON, NUMPY_SCALAR, NUMPY) else np.array(kind.to_numpy(leaf))
