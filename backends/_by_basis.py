"""The pullback of a backend that has only a pushforward."""

from diffface.backends._adapter import Adapter, Function, Pull
from diffface.backends._basis import basis, is_complex, size
from diffface.backends._batch import loop
from diffface.backends._compiled import Array, Arrays


def pull_by_basis(
    adapter: Adapter, f: Function, x: Arrays, value: bool
) -> tuple[Arrays, Pull, Arrays]:
    """``adapter.pullback`` from ``adapter.pushforward``: one tangent per real coordinate of x.

    ``dx_k = Re<dy, J e_k> + i Re<dy, J i e_k>``, with the second term for complex leaves only.
    """
    xp = adapter.xp
    y, real, aux = adapter.columns(f, x, value=value)
    parts = [real]
    if any(is_complex(adapter, a) for a in x):
        seeds = basis(adapter, x, imaginary=True)
        parts.append(adapter.pushforward(f, x, seeds, batched=True, value=False)[1])

    def coordinates(columns: Arrays, dy: Arrays) -> Array:
        # The gradient of a real function is its one column as it is.
        if type(dy[0]) is float and dy[0] == 1.0 and not is_complex(adapter, columns[0]):
            return columns[0]
        return sum(
            xp.sum(xp.reshape(xp.real(column * xp.conj(c)), (column.shape[0], -1)), axis=1)
            for column, c in zip(columns, map(xp.asarray, dy), strict=True)
        )

    def single(dy: Arrays) -> Arrays:
        flat = [coordinates(columns, dy) for columns in parts]
        return split(adapter, flat[0] if len(flat) == 1 else flat[0] + 1j * flat[1], x)

    def pull(dy: Arrays, *, batched: bool = False, chunk_size: int | None = None) -> Arrays:
        return loop(single, dy, xp) if batched else single(dy)

    def empty(dy: Arrays, *, batched: bool = False, chunk_size: int | None = None) -> Arrays:
        batch = dy[0].shape[:1] if batched else ()
        return tuple(xp.zeros((*batch, *a.shape), dtype=a.dtype) for a in x)

    return y, pull if any(map(size, x)) else empty, aux


def split(adapter: Adapter, flat: Array, like: Arrays) -> Arrays:
    """A vector of all coordinates as leaves of the shapes and dtypes of ``like``."""
    leaves, offset = [], 0
    for leaf in like:
        part = flat[offset : offset + size(leaf)]
        part = part if is_complex(adapter, leaf) else adapter.xp.real(part)
        leaves.append(adapter.xp.astype(adapter.xp.reshape(part, leaf.shape), leaf.dtype))
        offset += size(leaf)
    return tuple(leaves)
