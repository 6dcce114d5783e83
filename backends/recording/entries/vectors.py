"""Vectors: new values of a graph that are elements of others at some places.

Knows: how to compute as few numbers as possible, and each of them as it was before.
Must not know: which places, and what for.
"""

from collections.abc import Hashable
from math import prod
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.recording.entries.graph import Graph, Value

# What an operation costs besides its elements, in elements.
CALL = 4096

# At some places: the numbers themselves where they are constant, elements of a vector, or a vector
Values = Any


class Taken(NamedTuple):
    """Elements of a vector, before they are taken."""

    vector: Value
    places: Any


class Vectors:
    """Adds values to a graph.

    Attributes
    ----------
    cost : float
        Of what was added, in elements.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph, self._dtype = graph, graph.dtype
        self._made: dict[Hashable, Any] = {}
        # What a vector is a multiple of, and the number
        self._factors: dict[Value, tuple[Value, float]] = {}
        self.cost = 0.0

    def combined(self, function: Any, terms: list[Any], count: int) -> Values:
        """A function of what its operands have at some places, or of numbers."""
        terms = [_as_number(t) for t in terms]
        if all(isinstance(t, float | np.ndarray) for t in terms):
            found = function(*(np.asarray(t, self._dtype) for t in terms))
            return np.array(np.broadcast_to(found, count))
        if function is np.negative:
            return self._scaled(terms[0], -1.0)
        if function in _COMMUTATIVE and isinstance(terms[0], float | np.ndarray):
            terms = terms[::-1]
        x, y = terms
        if function is np.multiply and isinstance(y, float):
            return self._scaled(x, y) if y else np.zeros(count, self._dtype)
        if isinstance(y, float) and y == _NEUTRAL.get(function):
            return x
        if isinstance(x, float):
            if function is np.subtract and x == 0:
                return self._scaled(y, -1.0)
            x = np.full(count, x, self._dtype)
        return self._applied(function, x, y)

    def _scaled(self, x: Any, factor: float) -> Values:
        """The product with a number. One by -1 rounds nothing, and becomes a part of another."""
        inner, before = self._factors.get(_vector(x), (None, 1.0))
        if inner is not None and 1 in (abs(before), abs(factor)):
            x = Taken(inner, x.places) if isinstance(x, Taken) else inner
            factor *= before
        if factor == 1:
            return x
        if factor == -1:
            new = self._applied(np.negative, x)
        else:
            new = self._applied(np.multiply, x, factor)
        if isinstance(x, Taken) == isinstance(new, Taken):
            self._factors[_vector(new)] = _vector(x), factor
        return new

    def _applied(self, function: Any, *terms: Any) -> Values:
        """A function, of all of the vectors if elements are taken of all at the same places."""
        first = terms[0]
        if isinstance(first, Taken) and all(self._are_alike(t, first) for t in terms):
            args = [t.vector if isinstance(t, Taken) else t for t in terms]
            return Taken(self._apply(function, *args), first.places)
        return self._apply(function, *(self.vector(t) for t in terms))

    def _are_alike(self, x: Any, y: Taken) -> bool:
        """Whether most of two vectors is taken, at the same places, or one is a number."""
        if not isinstance(x, Taken):
            return isinstance(x, float)
        size = self._size(x.vector)
        same = size == self._size(y.vector) and np.array_equal(x.places, y.places)
        return bool(same and size <= 2 * len(x.places))

    def all_of(self, x: Value, places: Any) -> Taken:
        """Elements of an array that has no zeros of seeds."""
        key = x, "vector"
        if key not in self._made:
            self._made[key] = self._graph.flat(x)
        return Taken(self._made[key], places)

    def vector(self, x: Values) -> Any:
        """Values as one vector, unless they are numbers that are the same everywhere."""
        if isinstance(x, np.ndarray):
            return self._graph.held(x)
        if not isinstance(x, Taken):
            return x
        key = x.vector, x.places.tobytes()
        if key not in self._made:
            size, first, count = self._size(x.vector), int(x.places[0]), len(x.places)
            if size == 1:
                found = self._graph.repeated(x.vector, count)
            elif np.array_equal(x.places, np.arange(first, first + count)):
                found = x.vector
                if count < size:
                    found = self._graph.sliced(x.vector, first, first + count)
            else:
                found = self._graph.taken(x.vector, x.places)
                self.cost += CALL + 2 * count
            self._made[key] = found
        return self._made[key]

    def joined(self, constants: Any, parts: list[tuple[Any, Values]]) -> Values:
        """Constants, overwritten by parts, each with where it is."""
        moving = []
        for at, values in _merged(parts, len(constants)):
            if isinstance(values, np.ndarray):
                constants[at] = values
            elif np.array_equal(at, np.arange(len(constants))):
                return values
            else:
                moving.append((at, values))
        if not moving:
            return constants
        self.cost += sum(CALL + 2 * len(at) for at, _ in moving)
        return self._graph.placed(constants, [(at, self.vector(v)) for at, v in moving])

    def _apply(self, function: Any, *terms: Any) -> Value:
        key = function, *terms
        if key not in self._made:
            new = self._made[key] = self._graph.apply(function, *terms)
            self.cost += CALL + self._size(new)
        return self._made[key]

    def _size(self, x: Value) -> int:
        return prod(self._graph.shape(x))


_COMMUTATIVE = (np.add, np.multiply)
# What changes nothing as the second operand, but for the sign of a zero
_NEUTRAL: dict[Any, int] = {np.add: 0, np.divide: 1, np.subtract: 0}


def _vector(x: Any) -> Value:
    return x.vector if isinstance(x, Taken) else x


def _merged(parts: list[tuple[Any, Values]], count: int) -> list[tuple[Any, Values]]:
    """The parts of a vector; those that are elements of one other are one."""
    found: dict[Any, list[tuple[Any, Values]]] = {}
    for k, (at, values) in enumerate(parts):
        found.setdefault(values.vector if isinstance(values, Taken) else k, []).append((at, values))
    merged = []
    for (at, values), *more in found.values():
        if more:
            places = np.full(count, -1, np.int32)
            for each, taken in ((at, values), *more):
                places[each] = taken.places
            at = np.flatnonzero(places >= 0)
            values = Taken(values.vector, places[at])
        merged.append((at, values))
    return merged


def _as_number(term: Any) -> Any:
    """A constant that is the same everywhere as a number."""
    if isinstance(term, np.ndarray):
        same = len(term) and (term == term[0]).all()
        return float(term[0]) if same else term
    return float(term) if isinstance(term, int | float) else term
