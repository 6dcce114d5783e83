"""The structure of a tree of parameters, some of whose leaves are constants."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import NUMPY, NUMPY_SCALAR, PYTHON
from diffface.prep.arguments.const import Const
from diffface.prep.arguments.tree import SORTED, Spec, flatten, paths, unflatten


class Structure:
    """A tree without its leaves, but with the constants that were in ``Const`` among them.

    Attributes
    ----------
    spec : Spec or None
        None for a bare leaf.
    """

    __slots__ = ("_constants", "spec")

    def __init__(self, spec: Spec | None, constants: Mapping[int, Any]) -> None:
        self.spec = spec
        # By their positions in the tree; the others are the leaves.
        self._constants = {i: copied(value) for i, value in constants.items()}

    @classmethod
    def of(cls, tree: Any, bare: bool) -> tuple["Structure", dict[int, Any]]:
        """That of ``tree``, which is a ``bare`` leaf or not, and its leaves by their positions."""
        values, spec = ([tree], None) if bare else flatten(tree, SORTED)
        constants = {i: each.value for i, each in enumerate(values) if type(each) is Const}
        leaves = {i: each for i, each in enumerate(values) if i not in constants}
        return cls(spec, constants), leaves

    def __str__(self) -> str:
        return str(self.spec or "a leaf")

    def paths(self) -> list[str]:
        """Where each position is, as one would write it in Python."""
        return [""] if self.spec is None else paths(self.spec)

    def tree(self, leaves: Sequence[Any]) -> Any:
        """The tree of these leaves, constants between them."""
        return self._filled(leaves, {i: copied(value) for i, value in self._constants.items()})

    def beside(self, x: Any, leaves: Sequence[Any]) -> Any:
        """The tree of ``leaves`` of the library of ``x``, which arrays among constants get, too."""
        return self._filled(leaves, {i: _beside(x, v) for i, v in self._constants.items()})

    def marked(self, leaves: Sequence[Any]) -> Any:
        """The tree of ``leaves`` and constants in ``Const``, whose structure is this one again."""
        return self._filled(leaves, {i: Const(value) for i, value in self._constants.items()})

    def replaced(self, tree: Any, leaves: Sequence[Any]) -> Any:
        """A tree of this structure with other ``leaves``, and its own constants."""
        found = [tree] if self.spec is None else self.spec.flatten_up_to(tree)
        return self._filled(leaves, {i: found[i] for i in self._constants})

    def leaves(self, tree: Any) -> list[Any]:
        """The leaves of a tree of this structure, but for the constants.

        Raises
        ------
        ValueError
            If it has another structure.
        """
        return self.active([tree] if self.spec is None else self.spec.flatten_up_to(tree))

    def active(self, entries: Sequence[Any]) -> list[Any]:
        """``entries`` of all positions without those of the constants."""
        return [entry for i, entry in enumerate(entries) if i not in self._constants]

    def _filled(self, leaves: Sequence[Any], constants: Mapping[int, Any]) -> Any:
        if self.spec is None:
            return leaves[0]
        rest = iter(leaves)
        places = range(len(leaves) + len(constants))
        return unflatten(
            self.spec, [constants[i] if i in constants else next(rest) for i in places]
        )


def copied(constant: Any) -> Any:
    """A constant with copies of its arrays of NumPy, which nobody else has."""
    leaves, spec = flatten(constant)
    return unflatten(spec, [a.copy() if library_of(a) is NUMPY else a for a in leaves])


def _beside(x: Any, constant: Any) -> Any:
    """A constant with arrays of NumPy in the library of ``x``, as operators give it to ``f``."""
    library = library_of(x)
    if library is None or library in (NUMPY, PYTHON):
        return constant
    device = library.describe(x)[2]
    leaves, spec = flatten(constant)
    return unflatten(spec, [
        library.from_numpy(np.asarray(a), device) if library_of(a) in (NUMPY, NUMPY_SCALAR) else a
        for a in leaves
    ])  # fmt: skip
