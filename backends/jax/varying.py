"""Mesh axes over which arrays differ, inside ``jax.shard_map``."""

from collections.abc import Iterable
from typing import Any

import jax

from diffface.backends.compiled import Array, Arrays

Axes = frozenset[Any]

# Both names change between versions of JAX.
_pvary: Any = getattr(jax.lax, "pvary", None)


def axes_of(arrays: Iterable[Array]) -> Axes:
    """The axes over which some of ``arrays`` differ; none outside ``shard_map``."""
    return Axes().union(*map(_axes, arrays))


def varying(arrays: Arrays, axes: Axes) -> Arrays:
    """``arrays``, taken to differ over ``axes`` too, so that cotangents are summed over them."""
    return tuple(_varying(a, tuple(axes - _axes(a))) for a in arrays)


def _axes(a: Array) -> Axes:
    aval: Any = jax.typeof(a)
    found: Axes = aval.vma if hasattr(aval, "vma") else aval.manual_axis_type.varying
    return found


def _varying(a: Array, axes: tuple[Any, ...]) -> Array:
    if not axes:
        return a
    return jax.lax.pcast(a, axes, to="varying") if _pvary is None else _pvary(a, axes)
