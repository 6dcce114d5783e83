"""Seeds: constants that are mostly zeros, and what a program makes of them.

Knows: how an element of a batch of derivatives comes about, and from which terms that are not zero.
Must not know: how elements are computed anew.
"""

from hashlib import sha256
from math import prod
from typing import Any

import numpy as np

from diffface.backends.recording.entries.graph import Graph, Value

PRODUCTS = (np.divide, np.multiply)
SUMS = (np.add, np.negative, np.subtract)
FUNCTIONS = PRODUCTS + SUMS

# Of more places the maps take much memory; so many steps are followed, and so many places kept.
_MANY, _STEPS, _PLACES = 1 << 23, 1000, 1 << 26
# Of how an element comes about; two that differ may have the same, which costs time at most.
_CODE = np.uint32
# Elements that are a smaller part of all are one group.
_PART = 1 / 50


class Unfit(Exception):
    """The program is better left as it is."""


class Seeds:
    """The part of a program that seeds have to do with.

    Attributes
    ----------
    values : dict
        What is, up to products, moves and sums, made of constants with zeros; in order.
    met : list
        ``(factor, places, divides)``: what meets zeros, where, and whether it divides them.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.values = _seeded(graph)
        self._maps: dict[Value, Any] = {}
        self._sources: dict[tuple[Value, int], list[tuple[Value, Any, Any]]] = {}
        self._codes: dict[tuple[Value, int], Any] = {}
        self._numbers: dict[Value, int] = {}
        self.met: list[tuple[Value, Any, bool]] = []
        # Keys hold places by their addresses, so equal ones are the same and live as long as this.
        self._kept: dict[bytes, Any] = {}
        self._steps = self._count = 0

    def moves(self, x: Value) -> bool:
        """Whether it is followed to where a value has its elements from."""
        return (x in self.values or self._graph.is_view(x)) and bool(self._graph.moved(x))

    # Where numbers come from.

    def _map(self, x: Value) -> Any:
        """For each element that is moved: its number among those of all operands, from 1 on.

        Zero is where there is no operand, but a zero.
        """
        if x not in self._maps:
            if self._size(x) > _MANY:
                raise Unfit
            numbers, start = [], 1
            for shape in map(self._graph.shape, self._graph.moved(x)):
                numbers.append(np.arange(start, start + prod(shape), dtype=np.int32).reshape(shape))
                start += prod(shape)
            self._maps[x] = self._graph.moves(x, numbers).reshape(-1)
        return self._maps[x]

    def _size(self, x: Value) -> int:
        return prod(self._graph.shape(x))

    def sources(self, x: Value, places: Any) -> list[tuple[Value, Any, Any]]:
        """``(operand, where among the places, places in it)`` of what is moved."""
        key = x, id(places)
        if key not in self._sources:
            self._sources[key] = self._new_sources(x, places)
        return self._sources[key]

    def _new_sources(self, x: Value, places: Any) -> list[tuple[Value, Any, Any]]:
        found, start, numbers = [], 1, self._map(x)[places]
        for operand in self._graph.moved(x):
            size = self._size(operand)
            at = np.flatnonzero((numbers >= start) & (numbers < start + size)).astype(np.int32)
            if len(at):
                found.append((operand, at, self.kept(numbers[at] - start)))
            start += size
        return found

    def operand(self, operand: Any, x: Value, places: Any) -> Any:
        """The places in an operand that is broadcast to the shape of a result."""
        if is_number(operand):
            return places
        own, shape = self._graph.shape(operand), self._graph.shape(x)
        if own == shape:
            return places
        if prod(shape) > _MANY:
            raise Unfit
        numbers = np.broadcast_to(np.arange(prod(own), dtype=np.int32).reshape(own), shape)
        return self.kept(numbers.reshape(-1)[places])

    def kept(self, places: Any) -> Any:
        """Places that live as long as this, so that their address stands for them."""
        places = places.astype(np.int32, copy=False)
        key = sha256(places).digest()
        if key not in self._kept:
            self._count += len(places)
            self._kept[key] = places
        return self._kept[key]

    def step(self) -> None:
        """Count a step, up to a limit."""
        self._steps += 1
        if self._steps > 2 * _STEPS or self._count > _PLACES:
            raise Unfit

    # Which terms are zero.

    def codes(self, x: Value, places: Any) -> Any:
        """Numbers that tell how each element comes about: 0 for zeros, 1 for other constants."""
        constant, number = self._graph.constant(x), self._graph.number(x)
        if constant is not None:
            return (constant[places] != 0).astype(_CODE)
        if number is not None:
            return np.full(len(places), number != 0, _CODE)
        moves = self.moves(x)
        if not moves and x not in self.values:
            own = 2 + self._numbers.setdefault(x, len(self._numbers))
            return np.full(len(places), own, _CODE)
        key = x, id(places)
        if key not in self._codes:
            self.step()
            find = self._codes_of_moved if moves else self._codes_of_terms
            self._codes[key] = find(x, places)
        return self._codes[key]

    def _codes_of_moved(self, x: Value, places: Any) -> Any:
        codes = np.zeros(len(places), _CODE)
        for operand, at, inner in self.sources(x, places):
            codes[at] = self.codes(operand, inner)
        return codes

    def _codes_of_terms(self, x: Value, places: Any) -> Any:
        function, operands = arithmetic(self._graph, x)
        terms = []
        for operand in operands:
            if is_number(operand):
                terms.append(np.full(len(places), operand != 0, _CODE))
            else:
                terms.append(self.codes(operand, self.operand(operand, x, places)))
        if function in PRODUCTS:
            self._note_zeros(x, operands, places, terms)
        a, b = terms if len(terms) == 2 else (terms[0], terms[0])
        mixed = _mixed(_mixed(a, b), np.array([FUNCTIONS.index(function)], _CODE))
        codes = np.where((a <= 1) & (b <= 1), np.maximum(a, b), mixed)
        zero = (a == 0) | (b == 0) if function is np.multiply else (a == 0) & (b == 0)
        if function is np.divide:
            zero = a == 0
        return np.where(zero, _CODE(0), codes)

    def _note_zeros(
        self, x: Value, operands: tuple[Any, ...], places: Any, codes: list[Any]
    ) -> None:
        for k, factor in enumerate(operands):
            if _is_known(self._graph, factor):
                continue
            met = (codes[1 - k] == 0) & (codes[k] != 0)
            if met.any():
                divides = k == 1 and arithmetic(self._graph, x)[0] is np.divide
                where = self.operand(factor, x, places)[met]
                self.met.append((factor, self.kept(where), divides))


def arithmetic(graph: Graph, x: Value) -> tuple[Any, tuple[Any, ...]]:
    """The function and the operands of what is known to be arithmetic; constants come last."""
    found = graph.arithmetic(x)
    assert found is not None
    function, terms = found
    if function in (np.add, np.multiply) and _is_known(graph, terms[0]):
        terms = terms[::-1]
    return function, terms


def _is_known(graph: Graph, x: Any) -> bool:
    """Whether it is a number or constants."""
    return is_number(x) or graph.constant(x) is not None or graph.number(x) is not None


def is_number(x: Any) -> bool:
    """Whether an operand is a number rather than a value."""
    return isinstance(x, int | float)


def _seeded(graph: Graph) -> dict[Value, None]:
    """What is, up to products, moves and sums, made of constants that may be seeds; in order."""
    found: dict[Value, None] = {}
    for x in graph.needed():
        if not graph.is_followed(x):
            continue
        constant = graph.constant(x)
        if constant is not None:
            # Without zeros they may be multiples of seeds, too.
            vary = not constant.all() or (constant != constant[:1]).any()
            if vary and _are_finite(graph, constant):
                found[x] = None
        elif _carries_zeros(graph, x, found):
            found[x] = None
    return found


def _carries_zeros(graph: Graph, x: Value, seeded: dict[Value, None]) -> bool:
    if operands := graph.moved(x):
        return graph.pads(x) or any(y in seeded for y in operands)
    function, terms = graph.arithmetic(x) or (None, ())
    if not any(y in seeded for y in terms):
        return False
    if function in PRODUCTS:
        return _is_product_of_one(graph, function, terms, seeded)
    return all(_are_finite(graph, y) for y in terms if is_number(y))


def _is_product_of_one(
    graph: Graph, function: Any, terms: tuple[Any, ...], seeded: dict[Value, None]
) -> bool:
    """Whether one factor has zeros of seeds, and the other is finite numbers or none of them."""
    a, b = terms
    if function is np.divide and b in seeded:
        return False
    other = b if a in seeded else a
    if is_number(other):
        return _are_finite(graph, other) and (other != 0 or function is np.multiply)
    if other in seeded:
        return graph.constant(a) is not None or graph.constant(b) is not None
    constant, number = graph.constant(other), graph.number(other)
    if constant is not None:
        return _are_finite(graph, constant)
    return number is None or (_are_finite(graph, number) and number != 0)


def _are_finite(graph: Graph, numbers: Any) -> bool:
    """Whether constants are, in the precision of the graph."""
    return bool((np.abs(numbers) <= np.finfo(graph.dtype).max).all())


def groups_of(codes: Any) -> list[Any]:
    """The entries that come about alike, and the rest."""
    found, number, counts = np.unique(codes, return_inverse=True, return_counts=True)
    apart = (found <= 1) | (counts >= _PART * len(codes))
    groups = [np.flatnonzero(number == k) for k in np.flatnonzero(apart)]
    rest = np.flatnonzero(~apart[number])
    return [*groups, rest] if len(rest) else groups


def _mixed(a: Any, b: Any) -> Any:
    """A large number for each pair."""
    mixed = (a * _CODE(0x9E3779B1)) ^ (b * _CODE(0xC2B2AE35) + _CODE(0x165667B1))
    mixed ^= mixed >> _CODE(15)
    return mixed * _CODE(0x27D4EB2F) | _CODE(1 << 31)
