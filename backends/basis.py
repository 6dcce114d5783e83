"""Unit vectors of the space of several arrays, as one batch of seeds."""

from typing import TYPE_CHECKING, Any

from diffface.backends.compiled import Array, Arrays

if TYPE_CHECKING:
    from diffface.backends.adapter import Adapter


def basis(adapter: "Adapter", like: Arrays, imaginary: bool = False) -> Arrays:
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


def size(array: Any) -> int:
    """Number of elements, from the shape alone (torch has a method where NumPy has a number)."""
    count = 1
    for n in array.shape:
        count *= n
    return count


def is_complex(adapter: "Adapter", array: Array) -> bool:
    """Whether ``array`` has a complex dtype."""
    return adapter.kind.describe(array)[1].kind == "c"
