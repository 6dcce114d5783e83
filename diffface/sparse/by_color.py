"""Directions one by one: the entries of large sparse derivatives, or of unrolled programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """

    def __init__(
        self, plan: Plan, compression: Compression, outputs: Described, y: Spec | None,
        prepare: Callable[[Operator, tuple[int, ...]], Prepared],
    ) -> None:  # fmt: skip
        self._plan, self._outputs, self._y, c = plan, outputs, y, compression
        self._coloring, self._nnz = c.coloring, c.sparsity.nnz
        self._directions = [_Direction(c, False, k) for k in range(c.coloring.forward)]
        self._directions += [_Direction(c, True, k) for k in range(c.coloring.reverse)]
        # The first one brings the value along.
        self._last = (len(self._plan.operator.parts) - 1,)
        self._calls: dict[tuple[bool, tuple[int, ...]], Prepared] = {}
        for n, direction in enumerate(self._directions):
            wanted = self._wanted(n)
            if (direction.reverse, wanted) not in self._calls:
                operator = _along(self._plan.operator, direction.reverse, wanted)
                prepared = prepare(operator, wanted)
                self._calls[direction.reverse, wanted] = prepared
        small = len(self._directions) * max(c.sparsity.shape) <= KEPT
        self._seeds = [self._seed(d) for d in self._directions] if small else None

    @property
    def strategy(self) -> str:
        """How each direction is run."""
        return str(next(iter(self._calls.values())).strategy)

    @property
    def native(self) -> object:
        """The framework's own callable for one direction."""
        return next(iter(self._calls.values())).native

    def __call__(self, *args: Any, kwargs: Mapping[str, Any] | None = None) -> Any:
        entries: Any = None
        plan, first = self._plan, None
        for n, direction in enumerate(self._directions):
            call = self._calls[direction.reverse, self._wanted(n)]
            seed = self._seed(direction) if self._seeds is None else self._seeds[n]
            # A Hessian's rows are its columns.
            by_row = direction.reverse and plan.operator.order == 1
            name = "cotangents" if by_row else "tangents"
            raw = call(*args, **{name: seed}, kwargs=kwargs)
            several = plan.settings.has_aux or (n == 0 and len(plan.wanted) > 1)
            if n == 0:
                first = raw
            found = raw[len(plan.wanted) - 1 if n == 0 else 0] if several else raw
            flat = _flat(found)
            if direction.reverse and plan.settings.holomorphic:
                flat = np.conj(flat)
            if entries is None:
                entries = np.empty(self._nnz, self._dtype(flat.dtype))
            entries[direction.targets] = flat[direction.sources]
        leaf = plan.signature.primals[0]
        converted = leaf.library.from_numpy(entries, leaf.device)
        if not isinstance(first, tuple) or not (plan.settings.has_aux or len(plan.wanted) > 1):
            return converted
        place = len(plan.wanted) - 1
        return (*first[:place], converted, *first[place + 1 :])

    def _wanted(self, n: int) -> tuple[int, ...]:
        return self._plan.wanted if n == 0 else self._last

    def _dtype(self, found: Any) -> Any:
        return found if found.kind == "c" else self._plan.signature.primals[0].dtype

    def _seed(self, direction: _Direction) -> Any:
        """The tree of ones where columns (or rows) have the color, and zeros."""
        signature = self._plan.signature
        colors = self._coloring.rows if direction.reverse else self._coloring.columns
        ones = colors == direction.color
        leaves, start = [], 0
        described: list[Any]
        by_row = direction.reverse and self._plan.operator.order == 1
        if by_row:
            library, device = signature.result_library()
            described = [(library, shape, dtype, device) for shape, dtype, _ in self._outputs]
        else:
            described = [tuple(leaf) for leaf in signature.primals]
        for library, shape, dtype, device in described:
            part = ones[start : start + prod(shape)].reshape(shape).astype(dtype)
            leaves.append(library.from_numpy(part, device))
            start += prod(shape)
        if not by_row:
            return signature.like_active(leaves)
        return leaves[0] if self._y is None else unflatten(self._y, leaves)


class _Direction:
    """One color: where its entries come from, and where they go."""

    __slots__ = ("color", "reverse", "sources", "targets")

    def __init__(self, compression: Any, reverse: bool, color: int) -> None:
        c, order = compression.coloring, compression.order
        self.reverse, self.color = reverse, color
        self.targets = np.flatnonzero((c.by_row[order] == reverse) & (c.color[order] == color))
        self.sources = c.place[order][self.targets]


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


def _flat(tree: Any) -> Any:
    """A derivative along one direction as one vector of NumPy."""
    parts = []
    for leaf in leaves_of(tree):
        library = library_of(leaf)
        assert library is not None
        parts.append(np.reshape(library.to_numpy(leaf), -1))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
