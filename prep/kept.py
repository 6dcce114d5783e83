"""Constants kept beside a derivation, to find out whether ``f`` wrote into them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffface.backends.arrays import PYTHON, ArrayLibrary
from diffface.backends.compiled import Array
from diffface.backends.errors import NotDifferentiableError
from diffface.prep.arguments.signature import Signature


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
