"""What linear operations make of diagonals: derivatives of results from those of operands.

Knows: which operations of JAX are linear, and how each acts on derivatives element by element.
Must not know: which entries are wanted, and what becomes of infinities.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from diffface.backends.jax.diagonals import (
    Diagonal,
    Diagonals,
    Factor,
    Unfit,
    aligned,
    as_zero,
    check_zero,
    operand,
    spread,
    total,
    uniform,
)
from diffface.backends.jax.structure import MOVES, by_numpy

# Sums over so many elements are written as additions.
_SHORT = 8


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
    return [_scaled(e, spread(d, shape), factor, divides, shape) for d in diagonals]


def _scaled(e: Any, d: Diagonal, factor: Factor, divides: bool, shape: Any) -> Diagonal:
    if d.constant and factor.known is not None:
        with np.errstate(all="ignore"):
            values = (np.divide if divides else np.multiply)(d.values, factor.known)
        return Diagonal(d.columns, values)
    number = uniform(d.values) if d.constant else None
    if divides or number not in (1, -1):
        # Some are numbers, which JAX spreads.
        return Diagonal(d.columns, _bind(e, operand(d.values), factor.value))
    values = jnp.broadcast_to(factor.value, shape)
    return Diagonal(d.columns, values if number == 1 else lax.neg(values))


def _added(e: Any, operands: Sequence[Any]) -> Diagonals:
    shape = tuple(e.outvars[0].aval.shape)
    lists = [_spread_all(x, shape) for x in operands]
    return total(lists, subtract=e.primitive.name == "sub")


def _chosen(e: Any, operands: Sequence[Any]) -> Diagonals:
    which, *cases = operands
    if isinstance(which, list):
        raise Unfit("a choice by a derivative")
    found = []
    shape, dtype = e.outvars[0].aval.shape, e.outvars[0].aval.dtype
    for columns, parts in aligned([_spread_all(x, tuple(shape)) for x in cases]):
        values = [jnp.zeros(shape, dtype) if part is None else operand(part) for part in parts]
        found.append(Diagonal(columns, _bind(e, which.value, *values)))
    return found


# Of many elements


def _moved(e: Any, operands: Sequence[Any]) -> list[Diagonals]:
    name = e.primitive.name
    if name == "pad":
        operands, around = operands[:1], operands[1]
        check_zero(around)
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


def _spread_all(x: Diagonals | Factor, shape: tuple[int, ...]) -> Diagonals:
    return as_zero(x) if isinstance(x, Factor) else [spread(d, shape) for d in x]


def _bind(e: Any, *operands: Any) -> Any:
    return e.primitive.bind(*operands, **e.params)
