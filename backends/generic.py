"""What every backend gets from its primitives: batches, unit vectors, the other primitive."""

from collections.abc import Callable
from math import prod
from typing import Any, Protocol

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Array, Arrays

# x -> (y, aux): both flat tuples of arrays; aux is carried along and not differentiated.
# Where `f.direct` exists and is not None, it is the same function of the one array in x, returning
# its one number as it comes, unchecked: for backends that evaluate f very often.
Function = Callable[[Arrays], tuple[Arrays, Arrays]]

# A linear map: dy -> J^H dy, or dx -> J dx.
Pull = Callable[[Arrays], Arrays]

# Which unit vectors: the first, and how many.
Part = tuple[int, int]

# call(start, count): for these unit vectors, an array of shape (count, *shape) for each leaf of the
# other space, and what else there is.
Some = Callable[[int, int], tuple[Arrays, Arrays]]


class Primitives(Protocol):
    """What is used here of an adapter."""

    @property
    def arrays(self) -> ArrayLibrary: ...
    @property
    def xp(self) -> Any: ...
    def eye(self, rows: int, columns: int, offset: int, like: Array) -> Array: ...
    def batch(self, call: Pull, seeds: Arrays, chunk_size: int | None = None) -> Arrays: ...
    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]: ...
    def columns(
        self, f: Function, x: Arrays, *, chunk_size: int | None = None, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]: ...
    def pushforwards(
        self, f: Function, x: Arrays, seeds: Arrays, *, chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]: ...  # fmt: skip
    def pullback(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Pull, Arrays]: ...


def size(array: Any) -> int:
    """Number of elements, from the shape alone (torch has a method where NumPy has a number)."""
    count = 1
    for n in array.shape:
        count *= n
    return count


def is_complex(adapter: Primitives, array: Array) -> bool:
    """Whether ``array`` has a complex dtype."""
    return adapter.arrays.describe(array)[1].kind == "c"


# Batches


def loop(call: Pull, seeds: Arrays, xp: Any) -> Arrays:
    """``call`` on every slice of ``seeds`` along the leading axis, stacked."""
    return stack([call(single) for single in slices(seeds, xp)], seeds, xp)


def push_batch(
    adapter: Primitives, f: Function, x: Arrays, seeds: Arrays, chunk_size: int | None, value: bool
) -> tuple[Arrays, Arrays, Arrays]:
    """``adapter.pushforwards`` from ``adapter.batch``, with an evaluation of ``f`` for each."""
    shared: list[tuple[Arrays, Arrays]] = []

    def push(dx: Arrays) -> Arrays:
        y, dy, aux = adapter.pushforward(f, x, dx, value=value)
        shared[:] = [(y, aux)]
        return dy

    dy = adapter.batch(push, seeds, chunk_size)
    ((y, aux),) = shared
    return y, dy, aux


def slices(seeds: Arrays, xp: Any) -> list[Arrays]:
    """The singles of a batch; of an empty one, zeros, to learn the shapes of results from."""
    count = seeds[0].shape[0]
    if count == 0:
        return [tuple(xp.zeros(seed.shape[1:], dtype=seed.dtype) for seed in seeds)]
    return [tuple(seed[i] for seed in seeds) for i in range(count)]


def stack(results: list[Arrays], seeds: Arrays, xp: Any) -> Arrays:
    """Results of all singles of ``seeds`` as one batch."""
    count = seeds[0].shape[0]
    return tuple(xp.stack(column)[:count] for column in zip(*results, strict=True))


def typed(seeds: Arrays, like: Arrays, xp: Any) -> Arrays:
    """Batches of seeds, which may be held as bits, of the dtypes of ``like``."""
    return tuple(xp.astype(seed, a.dtype) for seed, a in zip(seeds, like, strict=True))


def side_by_side(batches: Arrays, xp: Any) -> Array:
    """The leaves of a batch side by side, one direction after the other, as one vector."""
    if len(batches) == 1:
        return xp.reshape(batches[0], (-1,))
    rows = [xp.reshape(b, (b.shape[0], prod(b.shape[1:]))) for b in batches]
    return xp.reshape(xp.concat(rows, axis=1), (-1,))


def like(adapter: Primitives, block: Array, leaf: Array) -> Array:
    """A derivative has the dtype of the argument, unless it is complex."""
    if block.dtype == leaf.dtype or is_complex(adapter, block):
        return block
    return adapter.xp.astype(block, leaf.dtype)


def basis(
    adapter: Primitives, like: Arrays, imaginary: bool = False, part: Part | None = None
) -> Arrays:
    """The unit vectors of the space of several arrays, as one batch of seeds.

    Parameters
    ----------
    adapter : Adapter
        Whose arrays to make.
    like : tuple of arrays
        Leaves of sizes ``n_0, n_1, ...``; let ``N`` be their sum.
    imaginary : bool
        Multiply the unit vectors of complex leaves by ``i`` and those of real leaves by 0.
    part : pair of int, optional
        Which of the unit vectors to make; all by default.

    Returns
    -------
    tuple of arrays
        Leaf ``j`` of shape ``(N, *like[j].shape)`` and the dtype of ``like[j]``; slice ``k`` of
        all leaves together is the ``k``-th unit vector.
    """
    start, total = part or (0, sum(map(size, like)))
    offset, seeds = -start, []
    for leaf in like:
        n = size(leaf)
        seed = adapter.eye(total, n, offset, leaf)
        if imaginary:
            seed = seed * (1j if is_complex(adapter, leaf) else 0)
        seeds.append(adapter.xp.reshape(seed, (total, *leaf.shape)))
        offset += n
    return tuple(seeds)


# Pullbacks from pushforwards


def pull_by_basis(
    adapter: Primitives, f: Function, x: Arrays, value: bool
) -> tuple[Arrays, Pull, Arrays]:
    """``adapter.pullback`` from ``adapter.pushforward``: one tangent per real coordinate of x.

    ``dx_k = Re<dy, J e_k> + i Re<dy, J i e_k>``, with the second term for complex leaves only.
    """
    xp = adapter.xp
    y, parts, aux = _columns(adapter, f, x, value)

    def coordinates(columns: Arrays, dy: Arrays) -> Array:
        return sum(
            xp.sum(xp.reshape(_real_product(adapter, column, c), (column.shape[0], -1)), axis=1)
            for column, c in zip(columns, map(xp.asarray, dy), strict=True)
        )

    def pull(dy: Arrays) -> Arrays:
        return split(adapter, [coordinates(columns, dy) for columns in parts], x)

    def empty(dy: Arrays) -> Arrays:
        return tuple(map(xp.zeros_like, x))

    return y, pull if any(map(size, x)) else empty, aux


def gradient_by_basis(
    adapter: Primitives, f: Function, x: Arrays, value: bool
) -> tuple[Arrays, Arrays, Arrays]:
    """``adapter.gradient`` from ``adapter.pushforward``: the one column of a real function."""
    y, parts, aux = _columns(adapter, f, x, value)
    if not parts[0]:
        return y, tuple(map(adapter.xp.zeros_like, x)), aux
    return y, split(adapter, [column for (column,) in parts], x), aux


def _columns(
    adapter: Primitives, f: Function, x: Arrays, value: bool
) -> tuple[Arrays, list[Arrays], Arrays]:
    """``y``, its derivatives by the real and, if there are any, imaginary coordinates, and aux."""
    y, real, aux = adapter.columns(f, x, value=value)
    if not any([is_complex(adapter, a) for a in x]):  # noqa: C419 - a generator takes longer
        return y, [real], aux
    seeds = basis(adapter, x, imaginary=True)
    return y, [real, adapter.pushforwards(f, x, seeds, value=False)[1]], aux


def _real_product(adapter: Primitives, a: Array, b: Array) -> Array:
    """``Re(a conj(b))``, elementwise."""
    if not (is_complex(adapter, a) or is_complex(adapter, b)):
        return a * b
    return adapter.xp.real(a * adapter.xp.conj(b))


def split(adapter: Primitives, parts: list[Array], like: Arrays) -> Arrays:
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


# Pushforwards from pullbacks


def push_by_transposing(adapter: Primitives, f: Function, x: Arrays) -> tuple[Arrays, Pull, Arrays]:
    """``(y, dx -> J dx, aux)``; ``f`` is evaluated once, however many directions follow.

    The pullback ``dy -> J^H dy`` is linear in ``dy``, so that its own pullback, at any ``dy``, is
    ``dx -> J dx``; not at zero, for which rules of libraries may skip work. See J. Townsend, A new
    trick for calculating Jacobian vector products, 2017.
    """
    y, pull, aux = adapter.pullback(f, x)
    ones = tuple(map(adapter.xp.ones_like, y))
    _, push, _ = adapter.pullback(lambda dy: (pull(dy), ()), ones)
    return y, push, aux


def push_by_rows(adapter: Primitives, f: Function, x: Arrays) -> tuple[Arrays, Pull, Arrays]:
    """``(y, dx -> J dx, aux)`` from one pullback per real coordinate of ``y``."""
    y, pull, aux = adapter.pullback(f, x)
    return y, push_of_rows(adapter, x, y, pull, adapter.batch), aux


def push_of_rows(
    adapter: Primitives, x: Arrays, y: Arrays, pull: Pull,
    batch: Callable[[Pull, Arrays], Arrays],
) -> Pull:  # fmt: skip
    """``dx -> J dx`` from one pullback per real coordinate of ``y``.

    ``dy_k = Re<e_k, J dx> + i Re<i e_k, J dx>``, with the second term for complex leaves only.
    """
    xp = adapter.xp
    seeds = [basis(adapter, y)]
    if any(is_complex(adapter, a) for a in y):
        seeds.append(basis(adapter, y, imaginary=True))
    parts = [batch(pull, each) for each in seeds]

    def coordinates(rows: Arrays, dx: Arrays) -> Array:
        return sum(
            xp.sum(xp.reshape(_real_product(adapter, row, d), (row.shape[0], -1)), axis=1)
            for row, d in zip(rows, dx, strict=True)
        )

    def push(dx: Arrays) -> Arrays:
        return split(adapter, [coordinates(rows, dx) for rows in parts], y)

    def empty(dx: Arrays) -> Arrays:
        return tuple(map(xp.zeros_like, y))

    return push if any(map(size, y)) and any(map(size, x)) else empty
