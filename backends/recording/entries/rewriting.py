"""The rewriting of one gather: elements of a batch computed where they are.

Knows: how numbers get from the constant seeds of a batch of directions to the places in it from
which entries are gathered.
Must not know: what the program is for, how its graph is made, and how it is run.

A batch along seeds of zeros and ones is mostly zeros, since every place of an array has one of the
directions, or few. Entries that come about alike, through the same terms that are not zero, are
computed together, by the operations of the batch in their order, so that each is rounded as there.

A product of zero with infinity or NaN is NaN, which is lost. So whoever rewrites has to watch the
numbers that zeros were multiplied by: unless all are finite, the other program has to run.
"""

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from diffface.backends.recording.entries.graph import Graph, Value
from diffface.backends.recording.entries.seeds import (
    PRODUCTS,
    SUMS,
    Seeds,
    Unfit,
    arithmetic,
    groups_of,
    is_number,
)
from diffface.backends.recording.entries.vectors import CALL, Values, Vectors

# Fewer entries are gathered as fast.
_FEW = 1 << 11
# What the new operations may cost, in terms of the old ones.
_WORTH = 0.75


def are_many(count: int) -> bool:
    """Whether so many elements are gathered that it may pay to look at where they come from."""
    return count >= _FEW


def rewrite(graph: Graph, gather: Value) -> tuple[Value, dict[Value, bool]] | None:
    """Compute gathered elements where they are, if that pays.

    Returns
    -------
    new : value
        In place of ``gather``, a vector.
    guards : dict
        What has to be finite, and whether it must not be zero either.
    """
    try:
        with np.errstate(all="ignore"):
            rewriting = _Rewriting(graph, gather)
            new = rewriting.run()
    except Unfit:
        return None
    return None if new is None else (new, rewriting.guards)


# Of a vector: what some elements are of, where they are in the vector, and which ones they are. In
# place of a value there may be a number.
Segment = tuple[Any, Any, Any]


class _Rewriting:
    """Writes one gather anew.

    Attributes
    ----------
    guards : dict
        What zeros are multiplied by, and whether it divides them as well.
    """

    def __init__(self, graph: Graph, gather: Value) -> None:
        self._graph, self._gather = graph, gather
        self._seeds, self._vectors = Seeds(graph), Vectors(graph)
        self._made: dict[Any, Values] = {}
        self._replaced: set[Value] = set()
        self.guards: dict[Value, bool] = {}

    def run(self) -> Value | None:
        """Return the new value; None if the old one is about as good."""
        gather, shape = self._gather, self._graph.shape(self._gather)
        if gather not in self._seeds.values or len(shape) != 1 or not are_many(shape[0]):
            return None
        (count,) = shape
        kept, parts = self._seeds.kept, []
        for group in groups_of(self._seeds.codes(gather, kept(np.arange(count)))):
            own = kept(np.arange(len(group)))
            parts.append((group, self._values(((gather, own, kept(group)),), len(group))))
        joined = self._vectors.joined(np.zeros(count, self._graph.dtype), parts)
        if isinstance(joined, np.ndarray):
            return None
        self._guard()
        new = self._vectors.vector(joined)
        cost = self._vectors.cost + self._cost(self.guards)
        return new if cost < _WORTH * (self._cost(self._replaced) + count) else None

    def _values(self, segments: tuple[Segment, ...], count: int) -> Values:
        """A vector of segments, with zeros where there is none."""
        key = tuple((x, id(at), id(places)) for x, at, places in segments)
        if key not in self._made:
            self._seeds.step()
            self._made[key] = self._new_values(segments, count)
        return self._made[key]

    def _new_values(self, segments: tuple[Segment, ...], count: int) -> Values:
        constants = np.zeros(count, self._graph.dtype)
        # Elements of one array are taken together, and what is computed by one function.
        alike: dict[Any, list[Segment]] = {}
        for x, at, places in self._sources(segments):
            numbers = self._constants(x, places)
            if numbers is not None:
                constants[at] = numbers
                continue
            live = self._seeds.codes(x, places) != 0
            at, places = at[live], self._seeds.kept(places[live])
            if not len(at):
                continue
            if x in self._seeds.values:
                alike.setdefault(arithmetic(self._graph, x)[0], []).append((x, at, places))
            else:
                alike.setdefault(x, []).append((x, at, places))
        parts = [self._part(kind, found, count) for kind, found in alike.items()]
        return self._vectors.joined(constants, parts)

    def _sources(self, segments: tuple[Segment, ...]) -> list[Segment]:
        """Where the elements are moved from."""
        pending, found = [*segments[::-1]], []
        while pending:
            x, at, places = pending.pop()
            if is_number(x) or not self._seeds.moves(x):
                found.append((x, at, places))
                continue
            if x in self._seeds.values and not self._graph.is_view(x):
                self._replaced.add(x)
            sources = self._seeds.sources(x, places)
            pending += [(y, at[inner], where) for y, inner, where in sources]
        return found

    def _constants(self, x: Any, places: Any) -> Any:
        """The numbers at some places, if they are known."""
        if is_number(x):
            return x
        constant = self._graph.constant(x)
        return self._graph.number(x) if constant is None else constant[places]

    def _part(self, kind: Any, segments: list[Segment], count: int) -> tuple[Any, Values]:
        """The places of segments, and a vector of them alone."""
        kept, within, sources = self._seeds.kept, np.zeros(count, bool), np.zeros(count, np.int32)
        for _, at, places in segments:
            within[at], sources[at] = True, places
        ats = np.flatnonzero(within)
        if kind not in PRODUCTS + SUMS:
            return ats, self._vectors.all_of(kind, sources[ats])
        operands, numbers = [], np.cumsum(within) - 1
        for x, at, places in segments:
            self._replaced.add(x)
            own, terms = kept(numbers[at]), arithmetic(self._graph, x)[1]
            operands.append([(y, own, self._seeds.operand(y, x, places)) for y in terms])
        values = [self._values(found, len(ats)) for found in zip(*operands, strict=True)]
        if kind is np.multiply:
            self._guard_term(*values)
            self._guard_term(*values[::-1])
        return ats, self._vectors.combined(kind, values, len(ats))

    def _guard_term(self, zeros: Values, factor: Values) -> None:
        """Note what is multiplied by constants that are zero, after all."""
        if isinstance(zeros, np.ndarray) and not zeros.any() and not isinstance(factor, np.ndarray):
            self.guards.setdefault(self._vectors.vector(factor), False)

    def _guard(self) -> None:
        """Note what meets zeros."""
        for factor, places, divides in self._seeds.met:
            if factor in self._seeds.values:
                every = self._seeds.kept(np.arange(len(places)))
                found = self._values(((factor, every, places),), len(places))
                if isinstance(found, np.ndarray):
                    if not np.isfinite(found).all():
                        raise Unfit
                    continue
                factor = self._vectors.vector(found)
            self.guards[factor] = divides or self.guards.get(factor, False)

    def _cost(self, values: Iterable[Value]) -> float:
        """Of computing some values, in elements."""
        return float(sum(CALL + prod(self._graph.shape(x)) for x in values))
