"""Basis seeds, and the pullback of a backend that has only a pushforward."""

from typing import Any

from diffface.backends._adapter import Adapter, Function, Pull
from diffface.backends._batch import loop
from diffface.backends._compiled import Array, Arrays


def basis(adapter: Adapter, like: Arrays, imaginary: bool = False) -> Arrays:
    """The unit vectors of the space of ``like``, as one batch.

    Parameters
    ----------
    adapter : Adapter
        Whose arrays to make.
    like : tuple of arrays
        Leaves of sizes ``n_0, n_1, ...``; let ``N`` be their sum.
    imaginary : bool
        Multiply the unit vectors of complex leaves by ``i`` and those of real leaves by 0.

    Returns
    -------
    tuple of arrays
        Leaf ``j`` of shape ``(N, *like[j].shape)`` and the dtype of ``like[j]``; slice ``k`` of
        all leaves together is the ``k``-th unit vector.
    """
    total, offset, seeds = sum(map(size, like)), 0, []
    for leaf in like:
        n = size(leaf)
        seed = adapter.eye(total, n, offset, leaf)
        if imaginary:
            seed = seed * (1j if is_complex(adapter, leaf) else 0)
        seeds.append(adapter.xp.reshape(seed, (total, *leaf.shape)))
        offset += n
    return tuple(seeds)


def pull_by_basis(
    adapter: Adapter, f: Function, x: Arrays, value: bool
) -> tuple[Arrays, Pull, Arrays]:
    """``adapter.pullback`` from ``adapter.pushforward``: one tangent per real coordinate of x.

    ``dx_k = Re<dy, J e_k> + i Re<dy, J i e_k>``, with the second term for complex leaves only.
    """
    xp = adapter.xp
    y, aux = f(x) if value else ((), ())

    def coordinates(dy: Arrays, imaginary: bool) -> Array:
        seeds = basis(adapter, x, imaginary)
        columns = adapter.pushforward(f, x, seeds, batched=True, value=False)[1]
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


def size(array: Any) -> int:
    """Number of elements, from the shape alone (torch has a method where NumPy has a number)."""
    count = 1
    for n in array.shape:
        count *= n
    return count


def is_complex(adapter: Adapter, array: Array) -> bool:
    """Whether ``array`` has a complex dtype."""
    return adapter.kind.describe(array)[1].kind == "c"
