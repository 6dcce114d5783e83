"""Results written into arrays that the caller provides."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Arrays
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.libraries import library_of
from diffface.prep.arguments.tree import RESULTS, flatten, leaves_like, paths, shown


class Slot:
    """What a leaf of ``out`` has to take."""

    __slots__ = ("dtype", "library", "place", "shape")

    def __init__(
        self, library: ArrayLibrary, shape: tuple[int, ...], dtype: np.dtype[Any], place: int = -1
    ) -> None:
        self.library = library
        self.shape = shape
        self.dtype = dtype
        # Which output of a program it is for.
        self.place = place


def targets(out: Any, count: int) -> Sequence[Any]:
    """``out`` for each of ``count`` derivatives: itself, or a tuple with one entry for each."""
    if count == 1:
        _check_apart(out)
        return [out]
    if isinstance(out, tuple | list) and len(out) == count:
        _check_apart(out)
        return out
    raise InvalidArgumentError(
        f"`out` must be a tuple with one entry for each of the {count} derivatives, got "
        f"{type(out).__name__}."
    )


def check(out: Any, template: Any) -> list[Any]:
    """Leaves of ``out``, which has to take a tree of arrays, or of slots for them."""
    wanted, spec = flatten(template, RESULTS)
    slots = [leaf if isinstance(leaf, Slot) else _slot(leaf) for leaf in wanted]
    if spec.is_leaf():
        leaves, places = [out], [""]
    else:
        try:
            leaves = leaves_like(spec, out, RESULTS)
        except ValueError as error:
            raise InvalidArgumentError(
                f"`out` must have the structure of the derivative, {shown(spec)}, got {error}."
            ) from None
        places = paths(spec)
    for leaf, slot, place in zip(leaves, slots, places, strict=True):
        _check(leaf, slot, f"out{place}")
    return leaves


def places(
    out: Any, templates: Sequence[Any], own: ArrayLibrary, inputs: Arrays
) -> dict[int, Any] | None:
    """The arrays of ``out`` by the program's output, if the program may write to them itself.

    ``templates`` are trees of slots, one for each derivative; the program's arrays are of ``own``.
    None where memory is shared with an input or with another of the arrays, or where one cannot be
    lent to the program.
    """
    found: dict[int, Any] = {}
    for target, template in zip(targets(out, len(templates)), templates, strict=True):
        slots = flatten(template, RESULTS)[0]
        for slot, leaf in zip(slots, check(target, template), strict=True):
            lent = own.view_for_output(leaf, (*inputs, *found.values()))
            if lent is None:
                return None
            found[slot.place] = lent
    return found


def write(out: Any, result: Any) -> Any:
    """Overwrite ``out`` with ``result``, and return it."""
    leaves = check(out, result)
    for leaf, value in zip(leaves, flatten(result, RESULTS)[0], strict=True):
        if leaf is not value:  # the program may have written it there
            leaf[...] = value
    return out


def _check_apart(out: Any) -> None:
    """Refuse arrays that share memory: what is written first would be lost."""
    if library_of(out) is not None:
        return
    leaves, spec = flatten(out, RESULTS)
    taken: list[tuple[str, ArrayLibrary, Any]] = []
    for place, leaf in zip(paths(spec), leaves, strict=True):
        own = library_of(leaf)
        if own is None or not own.writable:
            continue
        for before, library, other in taken:
            if own is library and own.overlap(leaf, other):
                raise InvalidArgumentError(
                    f"`out{before}` and `out{place}` share memory, so that one result would "
                    "overwrite the other; give each an array of its own."
                )
        taken.append((place, own, leaf))


def _slot(value: Any) -> Slot:
    library = library_of(value)
    assert library is not None, "results are arrays and numbers"
    return Slot(library, *library.describe(value)[:2])


def _check(target: Any, slot: Slot, name: str) -> None:
    if not slot.library.writable:
        raise InvalidArgumentError(
            f"`{name}` cannot take {slot.library.noun}, which is immutable; leave it out."
        )
    own = library_of(target)
    if own is None or not hasattr(target, "__setitem__"):
        raise InvalidArgumentError(
            f"`{name}` must be an array like the derivative, {slot.dtype.name}{list(slot.shape)}, "
            f"got {type(target).__name__}."
        )
    if own.noun != slot.library.noun:
        raise InvalidArgumentError(
            f"`{name}` must be {slot.library.noun} like the result, got {own.noun}."
        )
    shape, dtype, _ = own.describe(target)
    if (shape, dtype) != (slot.shape, slot.dtype):
        raise InvalidArgumentError(
            f"`{name}` must have shape {slot.shape} and dtype {slot.dtype.name} like the result, "
            f"got {shape} and {dtype.name}."
        )
    if locked := own.why_read_only(target):
        raise InvalidArgumentError(f"`{name}` must be writable, got {locked}.")
