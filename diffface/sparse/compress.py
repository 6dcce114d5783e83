"""Compression: the entries of a sparse derivative from a few directions, as a program."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter, Function
from diffface.backends.compiled import Array, Arrays
from diffface.backends.generic import like, side_by_side, typed
from diffface.operators.calculus import gradient_function
from diffface.prep.operator import Operator, Part, Point
from diffface.sparse.coloring import Coloring
from diffface.sparse.pattern import Sparsity

# So many elements of seeds are made and used at a time.
SEEDS = 2 * 10**7

# Shape, dtype and device of each leaf.
Described = Sequence[tuple[tuple[int, ...], Any, Any]]


class Compression:
    """Which seeds to derive along, and where the entries of the pattern are in what comes out.

    Parameters
    ----------
    sparsity : Sparsity
        The pattern, colored.
    inputs, outputs : sequence of (shape, dtype, device)
        The primals, and what is differentiated: the results of ``f``, or its gradient.
    order : array of int
        The entries that are wanted, as indices into those of the pattern, in the order they are
        wanted in.
    adapter : Adapter
        Who derives. Its constants are made here, since a recorder must not see how.
    chunk_size : int, optional
        How many directions to derive along at a time.
    """

    def __init__(
        self, sparsity: Sparsity, inputs: Described, outputs: Described, order: Any,
        adapter: Adapter, chunk_size: int | None = None,
    ) -> None:  # fmt: skip
        assert sparsity.coloring is not None
        self.sparsity = sparsity
        self.coloring: Coloring = sparsity.coloring
        self.order = order
        self.parts: list[_Part] = []
        c = self.coloring
        for reverse, count, colors, leaves in (
            (False, c.forward, c.columns, inputs), (True, c.reverse, c.rows, outputs),
        ):  # fmt: skip
            length = sparsity.shape[reverse]
            chunk = max(1, SEEDS // max(1, sparsity.shape[not reverse], length))
            chunk = min(chunk, chunk_size or chunk)
            for start in range(0, count, chunk):
                chosen = range(start, min(start + chunk, count))
                self.parts.append(self._part(reverse, chosen, colors, leaves, adapter))
        found = np.concatenate([p.which for p in self.parts] or [np.zeros(0, int)])
        self.permutation = None
        if not np.array_equal(found, np.arange(len(order))):
            inverse = np.empty(len(order), int)
            inverse[found] = np.arange(len(order))
            self.permutation = held(inverse, inputs, adapter)

    def _part(
        self, reverse: bool, chosen: range, colors: Any, leaves: Described, adapter: Adapter
    ) -> "_Part":
        c, length = self.coloring, self.sparsity.shape[reverse]
        color = c.color[self.order]
        mine = c.by_row[self.order] == reverse
        which = np.flatnonzero(mine & (color >= chosen.start) & (color < chosen.stop))
        place = c.place[self.order[which]]
        seeds, start = [], 0
        for shape, _, device in leaves:
            part = colors[start : start + prod(shape)]
            start += prod(shape)
            ones = part == np.arange(chosen.start, chosen.stop)[:, None]
            # As bits: what a compiler holds of constants, it holds several times.
            seeds.append(adapter.arrays.from_numpy(ones.reshape(len(chosen), *shape), device))
        index = (color[which] - chosen.start) * length + place
        return _Part(reverse, len(chosen), tuple(seeds), which, held(index, leaves, adapter))

    def moved(self, part: "_Part") -> Any:
        """The input that moved for each entry: of one read from the other triangle, its row."""
        entries = self.order[part.which]
        rows, cols = self.sparsity.rows[entries], self.sparsity.cols[entries]
        return np.where(self.coloring.place[entries] == rows, cols, rows)

    def _where(self, part: "_Part") -> tuple[Any, Any]:
        """The result that each entry is read from, and the input that moved for it."""
        return self.coloring.place[self.order[part.which]], self.moved(part)

    @property
    def directions(self) -> int:
        """How many pushforwards and pullbacks there are."""
        return self.coloring.forward + self.coloring.reverse

    def entries(
        self, adapter: Adapter, f: Function, x: Arrays, *, holomorphic: bool, value: bool,
        derived: bool = False,
    ) -> tuple[Arrays, Array, Arrays]:  # fmt: skip
        """``(y, entries, aux)``: the entries of the Jacobian of ``f`` at ``x``."""
        xp = adapter.xp
        y: Arrays = ()
        aux: Arrays = ()
        if not self.parts:
            y, aux = f(x) if value else ((), ())
            return y, xp.zeros_like(xp.reshape(x[0], (-1,))[:0]), aux
        found = []
        for part in self.parts:
            if part.reverse:
                y, pull, aux = adapter.pullback(f, x)
                dx = side_by_side(adapter.batch(pull, typed(part.seeds, y, xp)), xp)
                # A pullback is J^H.
                found.append(adapter.gather(xp.conj(dx) if holomorphic else dx, part.index))
                continue
            y, entries, moves, aux = adapter.entries(
                f, x, part.seeds, part.index, partial(self._where, part), value=value,
                derived=derived,
            )  # fmt: skip
            if moves is not None:
                lengths = np.concatenate([np.reshape(move, -1) for move in moves])
                entries = entries / lengths[self.moved(part)]
            found.append(entries)
        joined = found[0] if len(found) == 1 else xp.concat(found)
        if self.permutation is not None:
            joined = adapter.gather(joined, self.permutation)
        # Blocks of arguments in lower precision are rounded when they are taken apart.
        widest = max(x, key=lambda a: adapter.arrays.describe(a)[1].itemsize)
        return y, like(adapter, joined, widest), aux


class _Part:
    """Directions that are derived along at a time, and which entries come from them."""

    __slots__ = ("count", "index", "reverse", "seeds", "which")

    def __init__(self, reverse: bool, count: int, seeds: Arrays, which: Any, index: Array) -> None:
        self.reverse = reverse
        self.count = count
        self.seeds = seeds
        self.which = which
        self.index = index


def held(index: Any, leaves: Described, adapter: Adapter) -> Array:
    """An array of indices, of the library and on the device that the program runs on."""
    fits = index.max(initial=0) < 2**31
    kind = adapter.arrays.index if fits else np.int64
    return adapter.arrays.from_numpy(index.astype(kind), leaves[0][2] if leaves else None)


def compressed_jacobian(operator: Operator, compression: Compression) -> Operator:
    """The operator that computes the entries alone, in place of the blocks of ``operator``."""

    def derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
        y, entries, aux = compression.entries(
            at.adapter, at.f, at.x, holomorphic=at.settings.holomorphic, value=at.value
        )
        return (y, (entries,)), aux

    return _with(operator, derive, (Part.VALUE, Part.ENTRIES))


def compressed_hessian(operator: Operator, compression: Compression) -> Operator:
    """The same for a Hessian, whose columns are those of the Jacobian of the gradient."""

    def derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
        dx, entries, rest = compression.entries(
            at.outer, gradient_function(at), at.x, holomorphic=False, value=at.value, derived=True
        )
        return (rest[:1], dx, (entries,)), rest[1:]

    return _with(operator, derive, (Part.VALUE, Part.LIKE_X, Part.ENTRIES))


Derive = Callable[[Point], tuple[tuple[Arrays, ...], Arrays]]


def _with(operator: Operator, derive: Derive, parts: tuple[Part, ...]) -> Operator:
    return Operator(
        operator.names, derive, parts, order=operator.order, scalar=operator.scalar,
        complex_arguments=operator.complex_arguments, keywords=operator.keywords,
    )  # fmt: skip
