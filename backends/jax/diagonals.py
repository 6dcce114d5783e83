"""Diagonals: parts of a sparse Jacobian with at most one entry in each row.

Knows: what linear operations make of the derivatives of their operands by the coordinates of the
arguments, when every element depends on few of these.
Must not know: which entries are wanted, and what becomes of infinities.

A Jacobian whose rows have three entries is three arrays of the shape of the results, and three
arrays of integers that say by which coordinate. Each operation of a program of derivatives acts on
these in place of a batch of directions, most of whose elements are zeros.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from diffface.backends.compiled import Array
from diffface.backends.jax.arrays import take
from diffface.backends.jax.structure import MOVES, by_numpy

# An element that depends on more coordinates has too many diagonals, and is left to a batch.
_MOST = 32
# Sums over so many elements are written as additions.
_SHORT = 8


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
    number = _uniform(values)
    return jnp.asarray(values) if number is None else lax.full(values.shape, number)


def applied(e: Any, operands: Sequence[Diagonals | Factor]) -> list[Diagonals]:
    """The derivatives of the results of an equation that is linear in those with diagonals.

    Raises
    ------
    Unfit
        If it is another operation, or has too many diagonals.
    """
    name = e.primitive.name
    if name in MOVES:
        return _moved(e, operands)
    rule = _RULES.get(name)
    if rule is None:
        raise Unfit(name)
    return [rule(e, operands)]


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
    return take(lax.concatenate(parts, 0), jnp.asarray(index.astype(np.int32)))


def as_zero(x: Factor) -> Diagonals:
    """No derivative at all."""
    _check_zero(x)
    return []


# Of each element alone


def _alone(e: Any, operands: Sequence[Any]) -> Diagonals:
    dtype = e.outvars[0].aval.dtype
    by_name: dict[str, Callable[[Any], Any]] = {"neg": np.negative}
    of_constants = by_name.get(e.primitive.name, lambda values: values.astype(dtype))
    return [
        Diagonal(d.columns, of_constants(d.values) if d.constant else _bind(e, d.values))
        for d in operands[0]
    ]


def _product(e: Any, operands: Sequence[Any]) -> Diagonals:
    divides, shape = e.primitive.name == "div", tuple(e.outvars[0].aval.shape)
    first = isinstance(operands[0], list)
    if isinstance(operands[first], list) or (divides and not first):
        raise Unfit("a product of derivatives")
    diagonals, factor = (operands[0], operands[1]) if first else (operands[1], operands[0])
    return [_scaled(e, _spread(d, shape), factor, divides, shape) for d in diagonals]


def _scaled(e: Any, d: Diagonal, factor: Factor, divides: bool, shape: Any) -> Diagonal:
    if d.constant and factor.known is not None:
        with np.errstate(all="ignore"):
            values = (np.divide if divides else np.multiply)(d.values, factor.known)
        return Diagonal(d.columns, values)
    number = _uniform(d.values) if d.constant else None
    if divides or number not in (1, -1):
        # Some are numbers, which JAX spreads.
        return Diagonal(d.columns, _bind(e, operand(d.values), factor.value))
    values = jnp.broadcast_to(factor.value, shape)
    return Diagonal(d.columns, values if number == 1 else lax.neg(values))


def _added(e: Any, operands: Sequence[Any]) -> Diagonals:
    shape = tuple(e.outvars[0].aval.shape)
    lists = [_spread_all(x, shape) for x in operands]
    return total(lists, subtract=e.primitive.name == "sub")


def total(lists: Sequence[Diagonals], subtract: bool = False) -> Diagonals:
    """The derivative of a sum, or of a difference of two."""
    found = []
    for columns, parts in _aligned(lists):
        values = None
        for k, part in enumerate(parts):
            if part is not None and k and subtract:
                values = _minus(values, part)
            elif part is not None:
                values = _plus(values, part)
        found.append(Diagonal(columns, values))
    return found


def _chosen(e: Any, operands: Sequence[Any]) -> Diagonals:
    which, *cases = operands
    if isinstance(which, list):
        raise Unfit("a choice by a derivative")
    found = []
    shape, dtype = e.outvars[0].aval.shape, e.outvars[0].aval.dtype
    for columns, parts in _aligned([_spread_all(x, tuple(shape)) for x in cases]):
        values = [jnp.zeros(shape, dtype) if part is None else operand(part) for part in parts]
        found.append(Diagonal(columns, _bind(e, which.value, *values)))
    return found


# Of many elements


def _moved(e: Any, operands: Sequence[Any]) -> list[Diagonals]:
    name = e.primitive.name
    if name == "pad":
        operands, around = operands[:1], operands[1]
        _check_zero(around)
    lists = [as_zero(x) if isinstance(x, Factor) else x for x in operands]
    avals = [v.aval for v in e.invars[: len(lists)]]
    found: list[Diagonals] = [[] for _ in e.outvars]
    for k in range(max(map(len, lists))):
        own = [d[k] if k < len(d) else None for d in lists]
        pairs = [*zip(own, avals, strict=True)]
        absent = [np.full(a.shape, -1, np.int32) if d is None else d.columns for d, a in pairs]
        columns = by_numpy(e, [*absent, np.int32(-1)] if name == "pad" else absent)
        values = [np.zeros(a.shape, a.dtype) if d is None else d.values for d, a in pairs]
        if name == "pad":
            values.append(np.zeros((), avals[0].dtype))
        many: Any = None
        if columns is None:
            raise Unfit(name)
        if all(isinstance(v, np.ndarray) for v in values):
            many = by_numpy(e, values)
        if many is None:
            many = e.primitive.bind(*map(operand, values), **e.params)
            many = many if e.primitive.multiple_results else [many]
        for place, c, v in zip(found, columns, many, strict=True):
            place.append(Diagonal(c, v))
    return found


def _taken(e: Any, operands: Sequence[Any]) -> Diagonals:
    """Elements from places that are known."""
    source, *others = operands
    places = [x.known if isinstance(x, Factor) else None for x in others]
    if isinstance(source, Factor) or any(p is None for p in places):
        raise Unfit("places that are not known")
    shape = e.invars[0].aval.shape
    params = dict(e.params)
    if "fill_value" in params:
        params["fill_value"] = -1
    with jax.ensure_compile_time_eval():
        numbers = jnp.arange(prod(shape), dtype=jnp.int32).reshape(shape)
        at = np.asarray(e.primitive.bind(numbers, *map(jnp.asarray, places), **params))
    outside = at < 0
    if outside.any() and e.params["fill_value"] != 0:
        raise Unfit("places outside")

    def of_constants(a: Any, else_: int) -> Any:
        return np.where(outside, else_, a.reshape(-1)[at]).astype(a.dtype)

    found = []
    for d in source:
        if d.constant:
            values = of_constants(d.values, 0)
        else:
            values = _bind(e, d.values, *(x.value for x in others))
        found.append(Diagonal(of_constants(d.columns, -1), values))
    return found


def _summed(e: Any, operands: Sequence[Any]) -> Diagonals:
    axes = e.params["axes"]
    shape = e.invars[0].aval.shape
    if prod(shape[a] for a in axes) > _SHORT:
        raise Unfit("a long sum")
    lists = []
    for index in np.ndindex(*(shape[a] for a in axes)):
        at: list[Any] = [slice(None)] * len(shape)
        for axis, i in zip(axes, index, strict=True):
            at[axis] = i
        lists.append([Diagonal(d.columns[(*at,)], d.values[(*at,)]) for d in operands[0]])
    return total(lists)


_RULES: dict[str, Callable[[Any, Sequence[Any]], Diagonals]] = {
    "neg": _alone, "copy": _alone, "copy_p": _alone, "convert_element_type": _alone,
    "mul": _product, "div": _product, "add": _added, "add_any": _added, "sub": _added,
    "select_n": _chosen, "gather": _taken, "dynamic_slice": _taken, "reduce_sum": _summed,
}  # fmt: skip


# Several diagonals


def _aligned(lists: Sequence[Diagonals]) -> list[tuple[Any, list[Any]]]:
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


def _spread(d: Diagonal, shape: tuple[int, ...]) -> Diagonal:
    """Numbers are spread over the array that they meet."""
    if d.columns.shape == shape:
        return d
    spread = np.broadcast_to if d.constant else jnp.broadcast_to
    return Diagonal(np.broadcast_to(d.columns, shape), spread(d.values, shape))


def _spread_all(x: Diagonals | Factor, shape: tuple[int, ...]) -> Diagonals:
    return as_zero(x) if isinstance(x, Factor) else [_spread(d, shape) for d in x]


def _check_zero(x: Any) -> None:
    if not isinstance(x, Factor) or x.known is None or np.any(x.known):
        raise Unfit("it is not linear")


def _uniform(values: Any) -> Any:
    """The number that a constant has everywhere, or None."""
    if not values.size:
        return None
    first = values.reshape(-1)[0]
    return first if (values == first).all() else None


def _bind(e: Any, *operands: Any) -> Any:
    return e.primitive.bind(*operands, **e.params)
