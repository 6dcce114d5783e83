"""Diagonals: parts of a sparse Jacobian with at most one entry in each row.

Knows: what linear operations make of the derivatives of their operands by the coordinates of the
arguments, when every element depends on few of these.
Must not know: which entries are wanted, and what becomes of infinities.

A Jacobian whose rows have three entries is three arrays of the shape of the results, and three
arrays of integers that say by which coordinate. Each operation of a program of derivatives acts on
these in place of a batch of directions, most of whose elements are zeros.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from diffface.backends.compiled import Array
from diffface.backends.jax.arrays import JAX_ARRAYS, take

# An element that depends on more coordinates has too many diagonals, and is left to a batch.
_MOST = 32


class Unfit(Exception):
    """The program is better left as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Diagonal:
    """Derivatives of the elements of an array, of each by one coordinate of the arguments.

    Attributes
    ----------
    columns : ndarray of int
        By which coordinate, of the shape of the array; -1 where there is no derivative.
    values : ndarray or jax.Array
        The derivatives, and zeros where there is none. Those of NumPy are constants.
    """

    columns: Any
    values: Any

    @property
    def constant(self) -> bool:
        """Whether the values are known."""
        return isinstance(self.values, np.ndarray)

    def where(self, places: Any) -> "Diagonal":
        """A part of it."""
        values = self.values
        if self.constant:
            values = np.where(places, values, np.zeros((), values.dtype))
        else:
            values = lax.select(jnp.asarray(places), values, jnp.zeros_like(values))
        return Diagonal(np.where(places, self.columns, -1), values)


# All of them together are the derivative of one array.
Diagonals = list[Diagonal]


@dataclass(frozen=True, slots=True)
class Factor:
    """An operand that does not depend on the direction; ``known`` is its value, if it is one."""

    value: Any
    known: Any


def identity(shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> list[Diagonals]:
    """The derivatives of arguments by themselves."""
    found, start = [], 0
    for shape, dtype in zip(shapes, dtypes, strict=True):
        columns = np.arange(start, start + prod(shape), dtype=np.int32).reshape(shape)
        found.append([Diagonal(columns, np.ones(shape, dtype))])
        start += prod(shape)
    return found


def operand(values: Any) -> Array:
    """Values as an operand of JAX."""
    if not isinstance(values, np.ndarray):
        return values
    number = uniform(values)
    return jnp.asarray(values) if number is None else lax.full(values.shape, number)


def gathered(leaves: Sequence[Diagonals], avals: Sequence[Any], rows: Any, columns: Any) -> Array:
    """Derivatives of elements of several arrays, side by side, by one coordinate for each."""
    dtype = jnp.result_type(*(a.dtype for a in avals))
    constants, index = np.zeros(len(rows), dtype), np.full(len(rows), -1)
    parts: list[Array] = []
    start = size = 0
    for diagonals, aval in zip(leaves, avals, strict=True):
        own = np.flatnonzero((rows >= start) & (rows < start + prod(aval.shape)))
        place = rows[own] - start
        for d in diagonals:
            hit = d.columns.reshape(-1)[place] == columns[own]
            if d.constant:
                constants[own[hit]] = d.values.reshape(-1)[place[hit]]
            elif hit.any():
                index[own[hit]] = size + place[hit]
                parts.append(
                    lax.convert_element_type(lax.reshape(d.values, (d.values.size,)), dtype)
                )
                size += d.values.size
        start += prod(aval.shape)
    if not parts:
        return jnp.asarray(constants)
    fixed = index < 0
    if fixed.any():
        numbers, which = np.unique(constants[fixed], return_inverse=True)
        index[fixed] = size + which
        parts.append(jnp.asarray(numbers))
    return take(lax.concatenate(parts, 0), jnp.asarray(index.astype(JAX_ARRAYS.index)))


def as_zero(x: Factor) -> Diagonals:
    """No derivative at all."""
    check_zero(x)
    return []


def total(lists: Sequence[Diagonals], subtract: bool = False) -> Diagonals:
    """The derivative of a sum, or of a difference of two."""
    found = []
    for columns, parts in aligned(lists):
        values = None
        for k, part in enumerate(parts):
            if part is not None and k and subtract:
                values = _minus(values, part)
            elif part is not None:
                values = _plus(values, part)
        found.append(Diagonal(columns, values))
    return found


def aligned(lists: Sequence[Diagonals]) -> list[tuple[Any, list[Any]]]:
    """What belongs together: columns, and the values of each list that have these, or None.

    Derivatives of an element by the same coordinate come together, and others where there is room.
    """
    slots: list[list[Any]] = []

    def put(slot: list[Any], k: int, d: Diagonal) -> None:
        slot[0] = np.where(d.columns >= 0, d.columns, slot[0])
        slot[1][k] = _plus(slot[1][k], d.values)

    def put_where_room_is(k: int, d: Diagonal) -> None:
        for slot in slots:
            if ((d.columns < 0) | (slot[0] < 0)).all():
                return put(slot, k, d)
        if len(slots) == _MOST:
            raise Unfit("too many diagonals")
        slots.append([np.full_like(d.columns, -1), [None] * len(lists)])
        put(slots[-1], k, d)
        return None

    for k, diagonals in enumerate(lists):
        for d in diagonals:
            there = d.columns >= 0
            matches = [(slot, there & (slot[0] == d.columns)) for slot in slots]
            matches = [(slot, same) for slot, same in matches if same.any()]
            if len(matches) == 1:
                slot, same = matches[0]
                if (same | ~there | (slot[0] < 0)).all():
                    put(slot, k, d)
                    continue
            for slot, same in matches:
                put(slot, k, d.where(same))
                there &= ~same
            if not matches:
                put_where_room_is(k, d)
            elif there.any():
                put_where_room_is(k, d.where(there))
    return [(columns, parts) for columns, parts in slots]


def _plus(x: Any, y: Any) -> Any:
    if x is None:
        return y
    constant = isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    return x + y if constant else lax.add(operand(x), operand(y))


def _minus(x: Any, y: Any) -> Any:
    if x is None:
        return -y if isinstance(y, np.ndarray) else lax.neg(y)
    constant = isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    return x - y if constant else lax.sub(operand(x), operand(y))


def spread(d: Diagonal, shape: tuple[int, ...]) -> Diagonal:
    """Numbers are spread over the array that they meet."""
    if d.columns.shape == shape:
        return d
    values = (np if d.constant else jnp).broadcast_to(d.values, shape)
    return Diagonal(np.broadcast_to(d.columns, shape), values)


def check_zero(x: Any) -> None:
    """Refuse an operand that would add something else than derivatives."""
    if not isinstance(x, Factor) or x.known is None or np.any(x.known):
        raise Unfit("it is not linear")


def uniform(values: Any) -> Any:
    """The number that a constant has everywhere, or None."""
    if not values.size:
        return None
    first = values.reshape(-1)[0]
    return first if (values == first).all() else None
