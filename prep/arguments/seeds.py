"""Tangents and cotangents as the caller gives them: checked, and brought to the backend."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Arrays
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import PYTHON
from diffface.prep.arguments.signature import Leaf, Signature
from diffface.prep.arguments.tree import (
    NAMESPACE,
    RESULTS,
    Spec,
    leaves_like,
    leaves_of,
    paths,
    shown,
)

# What a seed must look like: shape, dtype, device.
Expected = tuple[tuple[int, ...], np.dtype[Any], Any]


class Lead(NamedTuple):
    """The axes that seeds have before those of what they are like.

    Attributes
    ----------
    points : int or None
        How many points there are, each with seeds of its own.
    batched : bool
        Whether there is a batch of them.
    """

    points: int | None = None
    batched: bool = False

    @property
    def width(self) -> int:
        """How many axes that is."""
        return (self.points is not None) + self.batched

    def shown(self, shape: tuple[int, ...]) -> str:
        """The shape of seeds, as messages show it."""
        names = ["points"] * (self.points is not None) + ["batch"] * self.batched
        return f"({', '.join([*names, *map(str, shape)])})" if names else str(shape)


def tangents(
    given: object, signature: Signature, own: ArrayLibrary, lead: Lead, traced: bool = False
) -> Arrays:
    """Tangents of the active arguments as arrays of the library ``own``."""
    entries = [given] if signature.bare else _entries(given, len(signature.active))
    seeds: list[Any] = []
    for n, (place, entry) in enumerate(zip(signature.places, entries, strict=True)):
        _, leaves = signature.arguments[place.position]
        name = "tangents" if signature.bare else f"tangents[{n}]"
        expected = [
            (leaf.shape, leaf.dtype, leaf.device if leaf.library is own else None)
            for leaf in leaves
            if isinstance(leaf, Leaf)
        ]
        structure = _Structure(place.derivative[0], NAMESPACE, place.derivative[1])
        seeds += _checked(
            entry, structure, expected, own, lead, traced, name, "the active argument"
        )  # fmt: skip
    _same_batch(seeds, lead, "tangents")
    return tuple(seeds)


def cotangents(
    given: object, spec: Spec | None, expected: Sequence[Expected], own: ArrayLibrary,
    lead: Lead, traced: bool = False,
) -> Arrays:  # fmt: skip
    """Cotangents of ``f``'s result as arrays of the library ``own``."""
    structure = _Structure(spec, RESULTS, None)
    seeds = _checked(
        given, structure, expected, own, lead, traced, "cotangents", "the result of `f`"
    )  # fmt: skip
    _same_batch(seeds, lead, "cotangents")
    return tuple(seeds)


def batch_of(seeds: object, lead: Lead) -> tuple[int, ...]:
    """The axes before those of what seeds are like, as far as they have them."""
    points = () if lead.points is None else (lead.points,)
    if not lead.batched:
        return points
    first = next(iter(leaves_of(seeds)), None)
    shape = tuple(getattr(first, "shape", ()))
    return points + shape[len(points) : len(points) + 1]


def _entries(given: object, count: int) -> Sequence[object]:
    if isinstance(given, tuple | list) and len(given) == count:
        return given
    raise InvalidArgumentError(
        f"`tangents` must be a tuple with one entry for each of the {count} active arguments, got "
        f"{_shown(given)}."
    )


class _Structure(NamedTuple):
    """What leaves the seeds must have."""

    spec: Spec | None
    namespace: str
    # Positions of the leaves, if not all are active.
    active: tuple[int, ...] | None


def _checked(
    given: object, structure: _Structure, expected: Sequence[Expected], own: ArrayLibrary,
    lead: Lead, traced: bool, name: str, whose: str,
) -> list[Any]:  # fmt: skip
    spec, namespace, active = structure
    leaves, places = [given], [""]
    if spec is not None:
        try:
            leaves = leaves_like(spec, given, namespace, active)
        except ValueError as error:
            raise InvalidArgumentError(
                f"`{name}` must have the structure of {whose}, {shown(spec)}, got {error}."
            ) from None
        places = paths(spec)
        if active is not None:
            places = [places[i] for i in active]
    return [
        _seed(leaf, want, own, lead, traced, name + place, whose)
        for leaf, want, place in zip(leaves, expected, places, strict=True)
    ]


def _seed(
    value: Any, want: Expected, own: ArrayLibrary, lead: Lead, traced: bool, name: str,
    whose: str,
) -> Any:  # fmt: skip
    library = library_of(value)
    shape, dtype, device = want
    if library is None:
        raise InvalidArgumentError(
            f"`{name}` must be an array like {whose}, {dtype.name}{list(shape)}, got "
            f"{_shown(value)}."
        )
    found_shape, found_dtype, _ = library.describe(value)
    if found_shape[lead.width :] != shape or len(found_shape) < lead.width:
        wanted = lead.shown(shape)
        raise InvalidArgumentError(
            f"`{name}` must have the shape of {whose}, {wanted}, got {found_shape}."
        )
    if lead.points not in (None, found_shape[0] if found_shape else None):
        raise InvalidArgumentError(
            f"`{name}` must have one entry for each of the {lead.points} points, got "
            f"{found_shape[0]}."
        )
    # Python numbers take any precision; arrays may only be converted where nothing is lost.
    if not np.can_cast(found_dtype, dtype, "same_kind" if library is PYTHON else "safe"):
        raise InvalidArgumentError(
            f"`{name}` must have the dtype of {whose}, {dtype.name}, got {found_dtype.name}; "
            f"convert it with astype."
        )
    if traced and library.is_traced(value):
        if found_dtype != dtype:
            raise InvalidArgumentError(
                f"`{name}` must have the dtype of {whose}, {dtype.name}, got {found_dtype.name}; "
                "convert it with astype."
            )
        return library.traced(value)
    if library is own and found_dtype == dtype:
        return library.detach(value)
    return own.from_numpy(np.asarray(library.to_numpy(value), dtype), device)


def _same_batch(seeds: Sequence[Any], lead: Lead, name: str) -> None:
    sizes = {seed.shape[lead.width - 1] for seed in seeds} if lead.batched else {1}
    if len(sizes) > 1:
        raise InvalidArgumentError(
            f"`{name}` must have the same batch size in every leaf, got {sorted(sizes)}."
        )


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else type(value).__name__
