"""``jax.Array`` as an array kind."""

from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffface.backends._compiled import Array
from diffface.backends._kind import Kind


class JAXArrays(Kind):
    """Immutable arrays: nothing to detach, and every array is fresh."""

    name = "jax"
    backend = "jax"

    def describe(self, array: Array) -> tuple[tuple[int, ...], np.dtype[Any], Hashable]:
        return array.shape, array.dtype, getattr(array, "sharding", None)

    def to_numpy(self, array: Array) -> Any:
        # np.asarray of a JAX array is a read-only view; results have to be writable.
        return np.array(array, order="C")

    def from_numpy(self, array: Any, device: Hashable) -> Array:
        # 64-bit arrays survive only under JAX's x64 flag, which holds for this thread alone.
        with jax.enable_x64(array.dtype.itemsize // (1 + (array.dtype.kind == "c")) == 8):
            return jax.device_put(jnp.array(array), device)  # type: ignore[arg-type]

    def detach(self, array: Array) -> Array:
        return array

    def fresh(self, array: Array) -> Array:
        return array


JAX_ARRAYS = JAXArrays()
