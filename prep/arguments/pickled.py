"""Signatures in pickles: trees with descriptions in place of arrays."""

import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.prep.arguments.const import Const
from diffface.prep.arguments.signature import Argument, Described, Leaf, Signature
from diffface.prep.arguments.static import Static
from diffface.prep.arguments.tree import flatten, unflatten


class Shape:
    """A leaf of a signature, in the place of an array.

    Modules ask for its dtype, and whether a derivative is of it.
    """

    __slots__ = ("__weakref__", "dtype", "leaf", "requires_grad", "shape")

    def __init__(self, leaf: Leaf, active: bool = True) -> None:
        self.leaf = leaf
        self.shape, self.dtype = leaf.shape, leaf.dtype
        self.requires_grad = active

    def __reduce__(self) -> tuple[Any, ...]:
        library, shape, dtype, device = self.leaf
        try:
            pickle.dumps(device)
        except (TypeError, pickle.PicklingError):  # JAX's belong to a process
            device = None
        return _shape, (library, shape, dtype, device, self.requires_grad)


def _shape(
    library: ArrayLibrary, shape: tuple[int, ...], dtype: Any, device: Any, active: bool
) -> Shape:
    if device is None:
        # Where that library puts its arrays here, if it has devices.
        device = library.describe(library.from_numpy(np.zeros(()), None))[2]
    return Shape(Leaf(library, shape, dtype, device), active)


def pack(signature: Signature) -> tuple[Any, ...]:
    """What `unpack` makes the signature of. optree's structures go by what a process has met."""
    return tuple(map(_tree, signature.arguments)), *signature[1:4]


def unpack(
    trees: Iterable[Any], keywords: tuple[str, ...], active: tuple[int, ...], bare: bool
) -> Signature:
    """The signature again, with structures and static constants of this process."""
    return Signature.of(tuple(map(_argument, trees)), keywords, active, bare)


def _tree(argument: Argument, active: bool = True) -> Any:
    leaves = [_packed(leaf, active) for leaf in argument.leaves]
    return leaves[0] if argument.spec is None else unflatten(argument.spec, leaves)


def _packed(leaf: Described, active: bool) -> Any:
    if isinstance(leaf, Argument):
        return Const(_tree(leaf, active=False))
    return leaf.value if isinstance(leaf, Static) else Shape(leaf, active)


def _argument(tree: Any) -> Argument:
    if isinstance(tree, Shape):
        return Argument(None, (tree.leaf,))
    leaves, spec = flatten(tree)
    return Argument(spec, tuple(map(_described, leaves)))


def _described(leaf: Any) -> Described:
    if isinstance(leaf, Const):
        return _argument(leaf.value)
    return leaf.leaf if isinstance(leaf, Shape) else Static(leaf)
