"""Writes into arrays of JAX, which are new arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from diffface.backends.compiled import Array
from diffface.backends.mutable import Mutable


def updated(array: Array, index: Any, value: Any) -> Array:
    """A copy of ``array`` with ``value`` at ``index``."""
    window = _window(array.shape, index)
    if window is None:
        return array.at[index].set(value)
    starts, sizes, shape = window
    # Cheaper to compile and to run than a scatter; and, called step by step, one kernel for all
    # places, which are arguments to it.
    value = jnp.broadcast_to(jnp.asarray(value, array.dtype), shape)
    return lax.dynamic_update_slice(array, jnp.reshape(value, sizes), [np.int32(i) for i in starts])


def _window(shape: tuple[int, ...], index: Any) -> tuple[list[int], list[int], list[int]] | None:
    """Where the box at ``index`` starts, its size, and its shape; None if it is no box."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if not all(p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts):
        return None
    at = next((k for k, p in enumerate(parts) if p is Ellipsis), len(parts))
    parts[at : at + 1] = [slice(None)] * (len(shape) - len(parts) + (at < len(parts)))
    starts, sizes, kept = [], [], []
    for n, part in zip(shape, parts, strict=True):
        if not isinstance(part, slice):
            starts.append(int(part) % n)
            sizes.append(1)
            continue
        start, stop, step = part.indices(n)
        if step != 1:
            return None
        starts.append(start)
        sizes.append(max(stop - start, 0))
        kept.append(sizes[-1])
    return starts, sizes, kept


# Functions of JAX take no objects that stand for arrays; they get the array of that moment.
jax.tree_util.register_pytree_node(
    Mutable, lambda array: ((array.value,), None), lambda _, values: next(iter(values))
)
