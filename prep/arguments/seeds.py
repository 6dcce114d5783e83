"""Tangents and cotangents as the caller gives them: checked, and brought to the backend."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.arrays import PYTHON, ArrayLibrary, library_of
from diffface.backends.compiled import Arrays
from diffface.backends.errors import InvalidArgumentError
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


def tangents(
    given: object, signature: Signature, own: ArrayLibrary, batched: bool, traced: bool = False
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
        structure = _Structure(place.spec, NAMESPACE, place.active)
        seeds += _checked(
            entry, structure, expected, own, batched, traced, name, "the active argument"
        )  # fmt: skip
    _same_batch(seeds, batched, "tangents")
    return tuple(seeds)


def cotangents(
    given: object, spec: Spec | None, expected: Sequence[Expected], own: ArrayLibrary,
    batched: bool, traced: bool = False,
) -> Arrays:  # fmt: skip
    """Cotangents of ``f``'s result as arrays of the library ``own``."""
    structure = _Structure(spec, RESULTS, None)
    seeds = _checked(
        given, structure, expected, own, batched, traced, "cotangents", "the result of `f`"
    )  # fmt: skip
    _same_batch(seeds, batched, "cotangents")
    return tuple(seeds)


def batch_of(seeds: object, batched: bool) -> tuple[int, ...]:
    """The leading axis of batched seeds, as far as they have one."""
    first = next(iter(leaves_of(seeds)), None) if batched else None
    shape = tuple(getattr(first, "shape", ()))
    return shape[:1]


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
    batched: bool, traced: bool, name: str, whose: str,
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
        _seed(leaf, want, own, batched, traced, name + place, whose)
        for leaf, want, place in zip(leaves, expected, places, strict=True)
    ]


def _seed(
    value: Any, want: Expected, own: ArrayLibrary, batched: bool, traced: bool, name: str,
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
    inner = found_shape[1:] if batched and found_shape else found_shape
    if inner != shape or (batched and not found_shape):
        wanted = f"(batch, {', '.join(map(str, shape))})" if batched else str(shape)
        raise InvalidArgumentError(
            f"`{name}` must have the shape of {whose}, {wanted}, got {found_shape}."
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


def _same_batch(seeds: Sequence[Any], batched: bool, name: str) -> None:
    sizes = {seed.shape[0] for seed in seeds} if batched else {1}
    if len(sizes) > 1:
        raise InvalidArgumentError(
            f"`{name}` must have the same batch size in every leaf, got {sorted(sizes)}."
        )


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else type(value).__name__
