"""The array library of ``jax.Array``."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from diffface.backends.arrays import ArrayLibrary, Subtree
from diffface.backends.bfloat16 import kind_of
from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.jax import modules
from diffface.backends.numpy_arrays import NUMPY, PYTHON
from diffface.backends.recording.names import Names

# In bytes: what JAX has another thread copy, and where XLA wants its arrays to begin.
_LARGE, _ALIGNMENT = 2**18, 64
# Single elements of an array of one axis.
_ELEMENTS = jax.lax.GatherDimensionNumbers((), (0,), (0,))


class JAXArrays(ArrayLibrary):
    """Immutable arrays: nothing to detach, and every array is fresh."""

    name = "jax"
    backend = "jax"
    noun = "a jax array"
    writable = False
    asynchronous = True
    # Half as much to read as with 64 bits, and XLA compares no lower bound with what has no sign.
    index = np.uint32

    def describe(self, array: Array) -> tuple[tuple[int, ...], np.dtype[Any], Hashable]:
        dtype = array.dtype
        if not isinstance(dtype, np.dtype):  # of keys for random numbers: carried along by name
            dtype = np.dtype([(str(dtype), "V4")])
        return array.shape, dtype, getattr(array, "sharding", None)

    def reduced(self, array: Array) -> tuple[Any, ...] | None:
        # JAX would round 64-bit arrays to 32 bits where its flag says so.
        make, args, *rest = array.__reduce_ex__(4)
        return _made, (make, args), *rest

    def place(self, device: Any) -> str:
        return ", ".join(sorted(map(str, device.device_set)))

    def takes(self, dtype: np.dtype[Any]) -> bool:
        return kind_of(dtype) in "biufc" and dtype.itemsize <= (16 if dtype.kind == "c" else 8)

    def to_numpy(self, array: Array) -> Any:
        # np.asarray of a JAX array is a read-only view; results have to be writable.
        return np.array(array, order="C")

    def read(self, array: Array) -> Any:
        return np.asarray(array)

    def from_numpy(self, array: Any, device: Hashable) -> Array:
        # 64-bit arrays survive only under JAX's x64 flag, which holds for this thread alone.
        with jax.enable_x64(array.dtype.itemsize // (1 + (array.dtype.kind == "c")) == 8):
            # JAX may read what it is given long after this; nobody else writes to the copy.
            return jax.device_put(np.array(array), _place_for(array, device))

    def table(self, shape: tuple[int, int], like: Array) -> Array | None:
        alone = len(like.sharding.device_set) == 1
        return jnp.empty(shape, like.dtype, device=like.sharding) if alone else None

    def put(self, table: Array, where: tuple[slice, slice], block: Array) -> Array:
        return _put(table, block, tuple(w.start or 0 for w in where))

    def view_for_output(self, array: Any, others: Arrays) -> Array | None:
        # Chunks of a result are copied there, one after the other.
        return NUMPY.view_for_output(array, ())

    def sparse(
        self, rows: Any, cols: Any, shape: tuple[int, int], layout: str | None, device: Hashable
    ) -> Callable[[Array], Any]:
        from jax.experimental.sparse import BCOO, BCSR

        if layout == "csc":
            raise InvalidArgumentError(
                "JAX has no matrices stored by columns; `format` must be 'coo' (BCOO, which is "
                "what comes by default) or 'csr' (BCSR) for JAX arrays."
            )
        if layout == "csr":
            ends = jnp.asarray(np.searchsorted(rows, np.arange(shape[0] + 1)), jnp.int32)
            inner = jnp.asarray(cols, jnp.int32)
            return lambda data: BCSR(
                (data, inner, ends), shape=shape, indices_sorted=True, unique_indices=True
            )
        at = jnp.asarray(np.stack([rows, cols], axis=1), jnp.int32)
        return lambda data: BCOO((data, at), shape=shape, indices_sorted=True, unique_indices=True)

    def detach(self, array: Array) -> Array:
        return array

    def is_traced(self, array: Array) -> bool:
        return isinstance(array, jax.core.Tracer)

    def fresh(self, array: Array) -> Array:
        return array

    def wait(self, array: Array) -> None:
        array.block_until_ready()

    def subtree(self, value: object) -> Subtree | None:
        if (module := modules.subtree(value)) is not None:
            return module
        found, tree = jax.tree_util.tree_flatten_with_path(value)
        if jax.tree_util.treedef_is_leaf(tree):
            return None
        names = tuple(jax.tree_util.keystr(path) for path, _ in found)
        leaves = tuple(leaf for _, leaf in found)
        return Subtree(leaves, _Rebuild(tree), names, static=modules.held(tree))

    def guard(self, a: str, example: Array, names: Names) -> str:
        # Abstract values are interned: another object only means a slower look.
        alike = f"type({a}) is {names(type(example))} and {a}.aval is {names(example.aval)}"
        if jax.device_count() == 1:
            return alike
        return f"{alike} and {a}.sharding == {names(example.sharding)}"

    def convert_in(
        self, a: str, source: ArrayLibrary, example: Array, names: Names
    ) -> tuple[str, str]:
        # Compiled functions take NumPy arrays. They may alias them, but only until their results
        # are copied to NumPy.
        if source is self:
            return a, ""
        array = source.as_numpy(a, names)
        # Other devices get a copy of their own in any case.
        if source is NUMPY and example.nbytes >= _LARGE and jax.default_backend() == "cpu":
            array = f"{names(_aligned)}({array})"
        return array, ""

    def convert_out(
        self, a: str, target: ArrayLibrary, shape: tuple[int, ...], names: Names
    ) -> str:
        if target is self:
            return a
        if target is PYTHON and not shape:
            return f"{a}.item()"
        return target.of_numpy(f"{names(np.array)}({a})", shape, names)


def _aligned(array: Any) -> Any:
    """The same array of NumPy, or a copy of it, where XLA takes it as it is.

    JAX has a thread of its own copy other large arrays, and its program waits for that.
    """
    if array.ctypes.data % _ALIGNMENT == 0 and array.flags.c_contiguous:
        return array
    memory = np.empty(array.nbytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@partial(jax.jit, inline=True)
def take(flat: Array, index: Array) -> Array:
    """Elements of an array of one axis at indices that are within it, and not compared with it."""
    mode = jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
    return jax.lax.gather(flat, index[:, None], _ELEMENTS, (1,), mode=mode)


@partial(jax.jit, donate_argnums=0)
def _put(table: Array, block: Array, start: tuple[int, int]) -> Array:
    """``table`` with ``block`` from ``start`` on, in the same memory."""
    return jax.lax.dynamic_update_slice(table, block, start)


def _made(make: Callable[..., Array], args: tuple[Any, ...]) -> Array:
    with jax.enable_x64(True):
        return make(*args)


def _place_for(array: Any, device: Any) -> Any:
    """Where an array goes that is beside others on ``device``: to each of many, if in no parts."""
    if isinstance(device, NamedSharding):
        try:
            device.shard_shape(array.shape)
        except ValueError:  # its axes are others
            return NamedSharding(device.mesh, PartitionSpec())
    return device


@dataclass(frozen=True, slots=True)
class _Rebuild:
    """The way back from leaves, comparable as optree asks of it."""

    tree: Any

    def __call__(self, leaves: Any) -> object:
        return jax.tree.unflatten(self.tree, leaves)


JAX_ARRAYS = JAXArrays()
