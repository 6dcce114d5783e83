"""Jacobians filled chunk by chunk: some of their columns, or of their rows, at a time."""

from collections.abc import Iterator
from math import prod
from typing import Any

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Array, Arrays
from diffface.backends.generic import Some, is_complex, like, size


class Filled(tuple[Any, ...]):
    """Arrays that nobody else holds, which need no copy."""

    __slots__ = ()


def filled(
    adapter: Adapter, call: Some, space: Arrays, chunk: int, columns: bool,
    library: ArrayLibrary, x: Arrays, into: dict[int, Array] | None = None,
) -> tuple[Filled, Arrays] | None:  # fmt: skip
    """The blocks of a Jacobian, each in one array that takes the chunks as they come.

    With what the first call gives besides.

    Parameters
    ----------
    adapter : Adapter
        Who computes the chunks.
    call : callable
        Gives some of the columns or rows.
    space : tuple of arrays
        Whose unit vectors these belong to: the arguments for columns, the results for rows.
    chunk : int
        How many at a time.
    columns : bool
        Whether they are columns.
    library : ArrayLibrary
        Of the blocks: that of the adapter, or NumPy's.
    x : tuple of arrays
        The arguments, whose dtypes the blocks have.
    into : dict, optional
        Arrays of shape (y_k.size, x_j.size) to fill, by the number of the block.

    Returns
    -------
    (tuple of arrays, tuple of arrays) or None
        Block ``k * len(x) + j`` of shape ``(*y_k.shape, *x_j.shape)``; None where they cannot be
        filled so: complex ones, in parts on several devices, or with derivatives of their own.
    """
    total = sum(map(size, space))
    tables: list[Array] = []
    shapes: list[tuple[int, ...]] = []
    rest: Arrays = ()
    for begin in range(0, total, chunk):
        # Programs are compiled for one length; evaluations of a black box are not repeated.
        start = min(begin, total - chunk) if adapter.reverse else begin
        stop = min(start + chunk, total)
        found, besides = call(start, stop - start)
        if begin == 0:
            rest = besides
            if any(adapter.arrays.is_traced(a) or is_complex(adapter, a) for a in found):
                return None
            y = [a.shape[1:] for a in found] if columns else [a.shape for a in space]
            shapes = [(*a, *b.shape) for a in y for b in x]
            tables = [] if into is None else [into[i] for i in range(len(shapes))]
            if into is None:
                tables = [library.table((prod(a), size(b)), b) for a in y for b in x]
            if any(table is None for table in tables):
                return None
        if foreign := library is not adapter.arrays:
            found = tuple(map(adapter.arrays.read, found))
        for place, index, block in _placed(found, space, start, stop, columns):
            if not foreign:  # what is written to another array takes its dtype
                block = like(adapter, block, x[place % len(x)])
            tables[place] = library.put(tables[place], index, block)
        for table in tables:
            library.wait(table)
    blocks = zip(tables, shapes, strict=True)
    return Filled(a if tuple(a.shape) == shape else a.reshape(shape) for a, shape in blocks), rest


def _placed(
    found: Arrays, space: Arrays, start: int, stop: int, columns: bool
) -> Iterator[tuple[int, tuple[slice, slice], Array]]:
    """Parts of a chunk: in which block each goes, and where."""
    offset = 0
    everything = slice(None)
    for i, leaf in enumerate(space):
        low, high = max(start, offset), min(stop, offset + size(leaf))
        part = slice(low - offset, high - offset)
        for other, a in enumerate(found if low < high else ()):
            block = a if high - low == a.shape[0] else a[low - start : high - start]
            if block.ndim != 2:
                block = block.reshape((high - low, prod(a.shape[1:])))
            if columns:
                yield other * len(space) + i, (everything, part), block.T
            else:
                yield i * len(found) + other, (part, everything), block
        offset += size(leaf)
