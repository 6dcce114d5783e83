"""Arguments brought to the library that computes with them: copied, traced or kept to compare."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import PYTHON
from diffface.prep.arguments.signature import Leaf, Signature
from diffface.prep.arguments.tree import leaves_of


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


def any_traced(tree: object, *adapters: Adapter) -> bool:
    """Whether an array in ``tree`` carries a derivative, or stands for values to come."""
    found = False
    for value in leaves_of(tree):
        library = library_of(value)
        if library is not None and library.is_traced(value):
            found = check_carried(library, *adapters)
    return found


def check_carried(library: ArrayLibrary, *adapters: Adapter) -> bool:
    """True, if derivatives that arrays of ``library`` carry go through all ``adapters``.

    Raises
    ------
    NotDifferentiableError
        If not.
    """
    for adapter in adapters:
        if not adapter.carries(library):
            raise NotDifferentiableError(
                f"{adapter!r} cannot carry the derivative that {library.backend} is computing: "
                f"the arguments have {library.noun} that is being differentiated or traced. "
                f"Use backend={library.backend!r} here, too, or make the function one of "
                f"{library.backend} by `diffface.bridge`; or pass what no derivative is wanted "
                "of without it."
            )
    return True


class Kept:
    """Copies of constants, for backends that evaluate ``f`` at one point after the other.

    What one evaluation writes into a constant moves the next, so that differences of them mean
    nothing.
    """

    __slots__ = ("_pairs", "_signature")

    def __init__(
        self, signature: Signature, constants: Sequence[Array], library: ArrayLibrary
    ) -> None:
        self._signature = signature
        self._pairs: list[tuple[int, Array, Array]] = []
        if not library.writable:
            return
        for k, (constant, leaf) in enumerate(zip(constants, signature.constants, strict=True)):
            if leaf.library is not PYTHON:
                array = np.asarray(library.to_numpy(constant))
                self._pairs.append((k, array, array.copy()))

    def check(self, f: Callable[..., Any]) -> None:
        """Refuse ``f`` if a constant has changed, and give the caller's array its values back.

        Raises
        ------
        NotDifferentiableError
            If it has.
        """
        for k, array, copy in self._pairs:
            if np.array_equal(array, copy, equal_nan=array.dtype.kind in "fc"):
                continue
            array[...] = copy
            name = self._signature.name(f, self._signature.owner(k))
            raise NotDifferentiableError(
                f"`f` writes into the constant argument {name}, so that each of its evaluations "
                "sees another constant; copy it first, or pass memory to scribble into as "
                "`diffface.Cache` to a function made by `diffface.in_place`."
            )


def carries(x: Any) -> bool:
    """Whether a vector is one that a function gets when it is differentiated or traced."""
    plain = isinstance(x, (np.ndarray, list, tuple))
    return not plain or (isinstance(x, np.ndarray) and x.dtype.kind == "c")
