"""Arguments brought to the array library that computes with them."""

from collections.abc import Hashable, Sequence
from typing import Any

from diffface.backends.arrays import PYTHON, ArrayLibrary
from diffface.backends.compiled import Array, Arrays
from diffface.prep.arguments.signature import Leaf


def primals_to(
    own: ArrayLibrary, values: Sequence[Any], leaves: Sequence[Leaf], device: Hashable,
    copy: bool, traced: bool,
) -> Arrays:  # fmt: skip
    """Active arguments as arrays of ``own``.

    With ``copy`` they share no memory with what was given. Where any is ``traced``, those that are
    stay as they are.
    """
    x = []
    for value, leaf in zip(values, leaves, strict=True):
        if traced and leaf.library.is_traced(value):
            x.append(leaf.library.traced(value))
        elif leaf.library is own and not copy:
            x.append(own.detach(value))
        else:
            x.append(_carried(value, leaf.library, own, device, copy))
    return tuple(x)


def constants_to(
    own: ArrayLibrary, values: Sequence[Any], leaves: Sequence[Leaf], device: Hashable,
    copy: bool, traced: bool,
) -> Arrays:  # fmt: skip
    """Constants likewise. Python numbers stay what they are: frameworks promote them weakly."""
    c = []
    for value, leaf in zip(values, leaves, strict=True):
        if leaf.library is PYTHON or (traced and leaf.library.is_traced(value)):
            c.append(value)
        else:
            c.append(_carried(value, leaf.library, own, device, copy))
    return tuple(c)


def _carried(
    value: Any, source: ArrayLibrary, target: ArrayLibrary, device: Hashable, copy: bool
) -> Array:
    """An argument as an array of ``target``; a copy where the caller must be free to write."""
    if copy:
        value = source.fresh(value)
    if source is target:
        return target.detach(value)
    return target.from_numpy(source.to_numpy(value), device)
