"""The result of an operator: its trees, and where the arrays in them go."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Array, Arrays
from diffface.backends.libraries import libraries, library_of
from diffface.backends.numpy_arrays import NUMPY, PYTHON
from diffface.prep.arguments.axes import stacked
from diffface.prep.arguments.out import Slot, check, targets, write
from diffface.prep.arguments.signature import Leaf, Signature
from diffface.prep.arguments.static import Static
from diffface.prep.arguments.tree import unflatten
from diffface.prep.flat_function import OutputStructure
from diffface.prep.operator import Operator, Part


def to_caller(array: Array, source: ArrayLibrary, target: ArrayLibrary, device: Hashable) -> Any:
    """A fresh array of ``source`` as an array of the caller's library.

    One that carries a derivative stays what it is.
    """
    own = libraries.get(type(array)) or library_of(array)
    if own is not None and own.is_traced(array):
        return array
    if (source is target or own is NUMPY is target) and not isinstance(array, np.generic):
        return array
    return target.from_numpy(source.to_numpy(array), device)


def fresh(array: Array, source: ArrayLibrary) -> Array:
    """An output of an evaluation, sharing no memory unless it carries a derivative."""
    own = libraries.get(type(array)) or library_of(array)
    if own is not None and own.is_traced(array):
        return array
    return source.fresh(array)


class Result:
    """What follows from a signature for the result.

    Parameters
    ----------
    operator, wanted : Operator, tuple of int
        Which parts it has.
    signature : Signature
        The arguments.
    has_aux : bool
        Whether aux comes last.
    library : ArrayLibrary
        Whose arrays a program returns.
    points : int, optional
        How many points there are, each with a result of its own.

    Attributes
    ----------
    parts : list of Part
        Those that are wanted.
    like : Leaf or None
        The one leaf that the result is like, if it is one array and nothing else.
    """

    __slots__ = ("_has_aux", "_library", "_points", "_signature", "_wanted", "like", "parts")

    def __init__(
        self, operator: Operator, wanted: tuple[int, ...], signature: Signature, has_aux: bool,
        library: ArrayLibrary, points: int | None = None,
    ) -> None:  # fmt: skip
        self.parts = [operator.parts[i] for i in wanted]
        self._wanted = wanted
        self._signature = signature
        self._has_aux = has_aux
        self._library = library
        alone = signature.bare and signature.places[0].spec is None and not has_aux
        only = alone and self.parts == [Part.LIKE_X] and bool(signature.primals)
        self._points = points
        self.like: Leaf | None = signature.primals[0] if only else None
        if points is not None and self.like is not None:
            self.like = self.like._replace(library=stacked(self.like.library))

    def assemble(self, outputs: Arrays, structure: OutputStructure, out: object = None) -> Any:
        """The result as the user sees it, from the fresh outputs of a program."""
        if self.like is not None and out is None:
            return to_caller(outputs[0], self._library, self.like.library, self.like.device)
        taken = []
        destinations = self.destinations(structure)
        for output, (library, device) in zip(outputs, destinations, strict=True):
            taken.append(to_caller(output, self._library, library, device))
        return self.tree(taken, structure, out)

    def destinations(self, structure: OutputStructure) -> list[tuple[ArrayLibrary, Hashable]]:
        """For every output of a program, the caller's library and device."""
        found: list[tuple[ArrayLibrary, Hashable]] = []
        signature = self._signature
        for part, count in zip(self.parts, structure.counts, strict=True):
            if part is Part.ENTRIES:
                found += [(leaf.library, leaf.device) for leaf in signature.primals[:1]]
            elif part in (Part.VALUE, Part.LIKE_Y):
                found += [signature.result_library()] * count
            else:
                columns = [(leaf.library, leaf.device) for leaf in signature.primals]
                found += columns * (count // len(columns))
        if self._has_aux:
            found += [signature.result_library()] * structure.aux_arrays()
        if self._points is not None:
            return [(stacked(library), device) for library, device in found]
        return found

    def tree(self, leaves: Sequence[Any], structure: OutputStructure, out: object = None) -> Any:
        """The trees of the result, from their leaves in the order of the program's outputs."""
        results, start = [], 0
        for part, count in zip(self.parts, structure.counts, strict=True):
            results.append(self.part(part, leaves[start : start + count], structure))
            start += count
        if out is not None:
            results = self._written(results, out)
        if self._has_aux:
            results.append(self.aux(leaves[start:], structure))
        return results[0] if len(results) == 1 else tuple(results)

    def part(self, part: Part, leaves: Sequence[Any], structure: OutputStructure) -> Any:
        """The tree of one part of the result."""
        if part is Part.ENTRIES:
            return leaves[0]
        if part in (Part.VALUE, Part.LIKE_Y):
            return _like_y(leaves, structure)
        signature = self._signature
        if part is Part.LIKE_X:
            return signature.like_active(leaves)
        columns = len(signature.primals)
        rows = [
            signature.like_active(leaves[i : i + columns]) for i in range(0, len(leaves), columns)
        ]
        return _like_y(rows, structure) if part is Part.Y_BY_X else signature.like_active(rows)

    def aux(self, leaves: Iterable[Any], structure: OutputStructure) -> Any:
        """What ``f`` returned besides its value, from the arrays in it."""
        rest = iter(leaves)
        filled = []
        for leaf in structure.aux_leaves:
            if isinstance(leaf, Static):
                filled.append(self._of_all_points(leaf.value))
            elif leaf is None or self._points is not None:
                filled.append(next(rest))
            else:
                filled.append(leaf(next(rest)))
        return unflatten(structure.aux, filled)  # type: ignore[arg-type] # known by now

    def _of_all_points(self, value: Any) -> Any:
        """A number that does not depend on arrays, for each of the points."""
        if self._points is None or library_of(value) is not PYTHON:
            return value
        library, device = self._signature.result_library()
        return stacked(library).from_numpy(np.full(self._points, value), device)

    def slots(self, described: Sequence[tuple[Any, Any]], structure: OutputStructure) -> list[Any]:
        """Trees of what ``out`` has to take, one for each derivative.

        ``described`` are shapes and dtypes of the program's outputs.
        """
        found = [
            Slot(NUMPY if library is PYTHON and shape else library, shape, dtype, place)
            for place, ((library, _), (shape, dtype)) in enumerate(
                zip(self.destinations(structure), described, strict=True)
            )
        ]
        trees, start = [], 0
        for i, part, count in zip(self._wanted, self.parts, structure.counts, strict=True):
            if i:
                trees.append(self.part(part, found[start : start + count], structure))
            start += count
        return trees

    def check_out(self, out: object, batch: tuple[int, ...]) -> None:
        """Refuse an ``out`` that cannot take the derivatives, as far as arguments tell.

        Raises
        ------
        InvalidArgumentError
            If it has the wrong structure, library, shape or dtype, or cannot be written to.
        """
        parts = [part for i, part in zip(self._wanted, self.parts, strict=True) if i]
        signature, primals = self._signature, self._signature.primals
        own = (lambda library: library) if self._points is None else stacked
        for part, target in zip(parts, targets(out, len(parts)), strict=True):
            if part is Part.LIKE_X:
                slots = [Slot(own(p.library), batch + p.shape, p.dtype) for p in primals]
                check(target, signature.like_active(slots))
            elif part is Part.X_BY_X:
                rows = [
                    signature.like_active(
                        [Slot(own(q.library), batch + p.shape + q.shape, q.dtype) for q in primals]
                    )
                    for p in primals
                ]
                check(target, signature.like_active(rows))

    def _written(self, results: list[Any], out: object) -> list[Any]:
        """``results`` with the derivatives written into ``out``, which leaves out the value."""
        count = sum(1 for i in self._wanted if i)
        values, derivatives = results[:-count], results[-count:]
        written = [
            write(target, result)
            for target, result in zip(targets(out, count), derivatives, strict=True)
        ]
        return [*values, *written]


def _like_y(leaves: Sequence[Any], structure: OutputStructure) -> Any:
    return leaves[0] if structure.y is None else unflatten(structure.y, leaves)
