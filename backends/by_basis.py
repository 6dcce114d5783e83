"""The pullback of a backend that has only a pushforward."""

from diffface.backends.adapter import Adapter, Function, Pull
from diffface.backends.basis import basis, is_complex, size
from diffface.backends.batch import loop
from diffface.backends.compiled import Array, Arrays


def pull_by_basis(
    adapter: Adapter, f: Function, x: Arrays, value: bool
) -> tuple[Arrays, Pull, Arrays]:
    """``adapter.pullback`` from ``adapter.pushforward``: one tangent per real coordinate of x.

    ``dx_k = Re<dy, J e_k> + i Re<dy, J i e_k>``, with the second term for complex leaves only.
    """
    xp = adapter.xp
    y, parts, aux = _columns(adapter, f, x, value)

    def coordinates(columns: Arrays, dy: Arrays) -> Array:
        return sum(
            xp.sum(xp.reshape(xp.real(column * xp.conj(c)), (column.shape[0], -1)), axis=1)
            for column, c in zip(columns, map(xp.asarray, dy), strict=True)
        )

    def single(dy: Arrays) -> Arrays:
        return split(adapter, [coordinates(columns, dy) for columns in parts], x)

    def pull(dy: Arrays, *, batched: bool = False, chunk_size: int | None = None) -> Arrays:
        return loop(single, dy, xp) if batched else single(dy)

    def empty(dy: Arrays, *, batched: bool = False, chunk_size: int | None = None) -> Arrays:
        batch = dy[0].shape[:1] if batched else ()
        return tuple(xp.zeros((*batch, *a.shape), dtype=a.dtype) for a in x)

    return y, pull if any(map(size, x)) else empty, aux


def gradient_by_basis(
    adapter: Adapter, f: Function, x: Arrays, value: bool
) -> tuple[Arrays, Arrays, Arrays]:
    """``adapter.gradient`` from ``adapter.pushforward``: the one column of a real function."""
    y, parts, aux = _columns(adapter, f, x, value)
    if not parts[0]:
        return y, tuple(map(adapter.xp.zeros_like, x)), aux
    return y, split(adapter, [column for (column,) in parts], x), aux


def _columns(
    adapter: Adapter, f: Function, x: Arrays, value: bool
) -> tuple[Arrays, list[Arrays], Arrays]:
    """``y``, its derivatives by the real and, if there are any, imaginary coordinates, and aux."""
    y, real, aux = adapter.columns(f, x, value=value)
    if not any([is_complex(adapter, a) for a in x]):  # noqa: C419 - a generator takes longer
        return y, [real], aux
    seeds = basis(adapter, x, imaginary=True)
    return y, [real, adapter.pushforward(f, x, seeds, batched=True, value=False)[1]], aux


def split(adapter: Adapter, parts: list[Array], like: Arrays) -> Arrays:
    """All coordinates (their real parts, then imaginary ones if any) as leaves like ``like``."""
    flat = parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]
    leaves, offset = [], 0
    for leaf in like:
        n = size(leaf)
        part = flat[offset : offset + n]
        offset += n
        if part.dtype != leaf.dtype:
            part = part if is_complex(adapter, leaf) else adapter.xp.real(part)
            part = adapter.xp.astype(part, leaf.dtype)
        leaves.append(part if leaf.shape == (n,) else adapter.xp.reshape(part, leaf.shape))
    return tuple(leaves)
