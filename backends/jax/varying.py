"""Mesh axes over which arrays differ, inside ``jax.shard_map``."""

from collections.abc import Iterable
from typing import Any

import jax

from diffface.backends.compiled import Array, Arrays

Axes = frozenset[Any]


def axes_of(arrays: Iterable[Array]) -> Axes:
    """The axes over which some of ``arrays`` differ; none outside ``shard_map``."""
    return Axes().union(*map(_axes, arrays))


def varying(arrays: Arrays, axes: Axes) -> Arrays:
    """``arrays``, taken to differ over ``axes`` too, so that cotangents are summed over them."""
    return tuple(_varying(a, tuple(axes - _axes(a))) for a in arrays)


def _axes(a: Array) -> Axes:
    aval: Any = jax.typeof(a)
    # Its name changes between versions of JAX.
    found: Axes = aval.vma if hasattr(aval, "vma") else aval.manual_axis_type.varying
    return found


def _varying(a: Array, axes: tuple[Any, ...]) -> Array:
    if not axes:
        return a
    lax: Any = jax.lax
    if hasattr(lax, "pcast"):
        return lax.pcast(a, axes, to="varying")
    return lax.pvary(a, axes)  # as older versions of JAX have it
