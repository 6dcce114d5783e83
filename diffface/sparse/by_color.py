"""Directions one by one: the entries of large sparse derivatives, or of unrolled programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from diffface.backends.compiled import Arrays
from diffface.backends.libraries import library_of
from diffface.operators.calculus import gradient_function
from diffface.prep.arguments.tree import Spec, leaves_of, unflatten
from diffface.prep.operator import Operator, Part, Point, Seeds
from diffface.prep.plan import Plan
from diffface.prep.prepared import Prepared
from diffface.sparse.compress import Compression, Described

# Seeds are kept up to so many elements; beyond, they are made anew at every call.
KEPT = 2 * 10**7


class ByColor:
    """Computes the entries of a sparse derivative along one color after the other.

    Called like a prepared operator, and returns what it returns.

    Parameters
    ----------
    plan : Plan
        How it would be derived densely.
    compression : Compression
        The directions, and where the entries are.
    outputs : sequence of (shape, dtype, device)
        The results of ``f``.
    y : PyTreeSpec or None
        Their tree.
    prepare : callable
        ``prepare(operator, wanted)`` prepares an operator on the same function.
    whole : callable
        Computes the same along all colors at once, for arrays that carry a derivative.
    """

    def __init__(
        self, plan: Plan, compression: Compression, outputs: Described, y: Spec | None,
        prepare: Callable[[Operator, tuple[int, ...]], Prepared], whole: Callable[..., Any],
    ) -> None:  # fmt: skip
        self._whole = whole
        self._plan, self._outputs, self._y, c = plan, outputs, y, compression
        self._coloring, self._count = c.coloring, len(c.order)
        # A Hessian's rows are its columns.
        by_row = plan.operator.order == 1
        self._directions = [_Direction(c, False, k, False) for k in range(c.coloring.forward)]
        self._directions += [_Direction(c, True, k, by_row) for k in range(c.coloring.reverse)]
        # The first one brings the value along.
        calls: dict[tuple[bool, tuple[int, ...]], Prepared] = {}
        small = len(self._directions) * max(c.sparsity.shape) <= KEPT
        for n, direction in enumerate(self._directions):
            wanted = (len(plan.operator.parts) - 1,) if n else plan.wanted
            key = direction.reverse, wanted
            if key not in calls:
                calls[key] = prepare(_along(plan.operator, direction.reverse, wanted), wanted)
            direction.call = calls[key]
            direction.seed = self._seed(direction) if small else None
        self._table = _Table(c, self._directions) if small else None
        self._real = np.result_type(*(leaf.dtype for leaf in plan.signature.primals))

    @property
    def strategy(self) -> str:
        """How each direction is run."""
        return str(self._directions[0].call.strategy)

    @property
    def native(self) -> object:
        """The framework's own callable for one direction."""
        return self._directions[0].call.native

    def __call__(self, *args: Any, kwargs: Mapping[str, Any] | None = None) -> Any:
        plan = self._plan
        table = _Scattered(self._count) if self._table is None else self._table.filled()
        aux, place = plan.settings.has_aux, len(plan.wanted) - 1
        first, several = None, aux or place > 0
        for n, direction in enumerate(self._directions):
            seed = self._seed(direction) if direction.seed is None else direction.seed
            if direction.by_row:
                found = direction.call(*args, cotangents=seed, kwargs=kwargs)
            else:
                found = direction.call(*args, tangents=seed, kwargs=kwargs)
            if n == 0:
                first = found
                found = found[place] if several else found
                if _is_traced(found):
                    return self._whole(*args, kwargs=kwargs)
            elif aux:
                found = found[0]
            flat = _flat(found)
            if direction.reverse and plan.settings.holomorphic:
                flat = np.conj(flat)
            table.write(n, direction, flat, self._dtype(flat.dtype))
        leaf = plan.signature.primals[0]
        converted = leaf.library.from_numpy(table.entries(), leaf.device)
        if not several:
            return converted
        assert isinstance(first, tuple)
        return (*first[:place], converted, *first[place + 1 :])

    def _dtype(self, found: Any) -> Any:
        return found if found.kind == "c" else self._real

    def _seed(self, direction: _Direction) -> Any:
        """The tree of ones where columns (or rows) have the color, and zeros."""
        signature = self._plan.signature
        colors = self._coloring.rows if direction.reverse else self._coloring.columns
        ones = colors == direction.color
        leaves, start = [], 0
        described: list[Any]
        if direction.by_row:
            library, device = signature.result_library()
            described = [(library, shape, dtype, device) for shape, dtype, _ in self._outputs]
        else:
            described = [tuple(leaf) for leaf in signature.primals]
        for library, shape, dtype, device in described:
            part = ones[start : start + prod(shape)].reshape(shape).astype(dtype)
            leaves.append(library.from_numpy(part, device))
            start += prod(shape)
        if not direction.by_row:
            return signature.like_active(leaves)
        return leaves[0] if self._y is None else unflatten(self._y, leaves)


class _Direction:
    """One color: where its entries come from, and where they go."""

    __slots__ = ("by_row", "call", "color", "reverse", "seed", "sources", "targets")

    def __init__(self, compression: Any, reverse: bool, color: int, by_row: bool) -> None:
        c, order = compression.coloring, compression.order
        self.reverse, self.color, self.by_row = reverse, color, by_row
        self.call: Any = None
        self.seed: Any = None
        self.targets = np.flatnonzero((c.by_row[order] == reverse) & (c.color[order] == color))
        self.sources = c.place[order][self.targets]


class _Scattered:
    """Entries that are written one direction after the other: no more memory than themselves."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._entries: Any = None

    def write(self, n: int, direction: _Direction, flat: Any, dtype: Any) -> None:
        if self._entries is None:
            self._entries = np.empty(self._count, dtype)
        self._entries[direction.targets] = flat[direction.sources]

    def entries(self) -> Any:
        return self._entries


class _Table:
    """The derivatives along all directions, row by row, from which entries are taken at once.

    That is faster, and so is memory that has been used before.
    """

    def __init__(self, compression: Compression, directions: Sequence[_Direction]) -> None:
        width = max(compression.sparsity.shape)
        self._shape = len(directions), width
        self._index = np.empty(len(compression.order), np.intp)
        for n, direction in enumerate(directions):
            self._index[direction.targets] = n * width + direction.sources
        # Popping and appending are safe from many threads.
        self._spare: list[Any] = []

    def filled(self) -> _Filled:
        return _Filled(self._shape, self._index, self._spare)


class _Filled:
    """A table while it is filled."""

    def __init__(self, shape: tuple[int, int], index: Any, spare: list[Any]) -> None:
        self._shape, self._index, self._spare = shape, index, spare
        self._rows: Any = None

    def write(self, n: int, direction: _Direction, flat: Any, dtype: Any) -> None:
        if self._rows is None:
            try:
                rows = self._spare.pop()
            except IndexError:
                rows = None
            fits = rows is not None and rows.dtype == dtype
            self._rows = rows if fits else np.empty(self._shape, dtype)
        self._rows[n, : flat.size] = flat

    def entries(self) -> Any:
        found = self._rows.reshape(-1).take(self._index, mode="clip")
        self._spare.append(self._rows)
        return found


def _along(base: Operator, reverse: bool, wanted: tuple[int, ...]) -> Operator:
    """The operator that derives along one direction, with the parts that ``base`` has before."""
    name = next(iter(base.names.values()))

    def first(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
        if reverse:
            y, pull, aux = at.adapter.pullback(at.f, at.x)
            return (y, pull(at.seeds())), aux
        y, dy, aux = at.adapter.pushforward(at.f, at.x, at.seeds(), value=at.value)
        return (y, dy), aux

    def second(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
        g = gradient_function(at)
        if reverse:
            dx, pull, rest = at.outer.pullback(g, at.x)
            return (rest[:1], dx, pull(at.seeds())), rest[1:]
        dx, hv, rest = at.outer.pushforward(g, at.x, at.seeds(), value=at.value)
        return (rest[:1], dx, hv), rest[1:]

    like_x = reverse or base.order == 2
    parts = (*base.parts[:-1], Part.LIKE_X if like_x else Part.LIKE_Y)
    return Operator(
        {wanted: name}, second if base.order == 2 else first, parts,
        order=base.order, seeds=Seeds.COTANGENTS if reverse and base.order == 1 else Seeds.TANGENTS,
        scalar=base.scalar, complex_arguments=base.complex_arguments, keywords=base.keywords,
    )  # fmt: skip


def _is_traced(tree: Any) -> bool:
    if type(tree) is np.ndarray:
        return False
    libraries = ((library_of(leaf), leaf) for leaf in leaves_of(tree))
    return any(library is not None and library.is_traced(leaf) for library, leaf in libraries)


def _flat(tree: Any) -> Any:
    """A derivative along one direction as one vector of NumPy."""
    if type(tree) is np.ndarray:
        return tree.reshape(-1)
    parts = []
    for leaf in leaves_of(tree):
        library = library_of(leaf)
        assert library is not None
        parts.append(np.reshape(library.to_numpy(leaf), -1))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
