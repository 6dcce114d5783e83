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
    y, aux = f(x) if value else ((), ())

    def coordinates(dy: Arrays, imaginary: bool) -> Array:
        if imaginary:
            seeds = basis(adapter, x, imaginary)
            columns = adapter.pushforward(f, x, seeds, batched=True, value=False)[1]
        else:
            columns = adapter.columns(f, x, value=False)[1]
        return sum(
            xp.sum(xp.reshape(xp.real(column * xp.conj(c)), (column.shape[0], -1)), axis=1)
            for column, c in zip(columns, map(xp.asarray, dy), strict=True)
        )

    def single(dy: Arrays) -> Arrays:
        if not any(map(size, x)):
            return tuple(map(xp.zeros_like, x))
        flat = coordinates(dy, imaginary=False)
        if any(is_complex(adapter, a) for a in x):
            flat = flat + 1j * coordinates(dy, imaginary=True)
        return split(adapter, flat, x)

    def pull(dy: Arrays, *, batched: bool = False, chunk_size: int | None = None) -> Arrays:
        if not batched:
            return single(dy)
        return loop(single, dy, xp)

    return y, pull, aux


def split(adapter: Adapter, flat: Array, like: Arrays) -> Arrays:
    """A vector of all coordinates as leaves of the shapes and dtypes of ``like``."""
    leaves, offset = [], 0
    for leaf in like:
        part = flat[offset : offset + size(leaf)]
        part = part if is_complex(adapter, leaf) else adapter.xp.real(part)
        leaves.append(adapter.xp.astype(adapter.xp.reshape(part, leaf.shape), leaf.dtype))
        offset += size(leaf)
    return tuple(leaves)
