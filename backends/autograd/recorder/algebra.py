"""Simplification of elementwise operations.

Every rewriting here is exact up to rounding, for finite and non-finite numbers alike, with one
exception: ``x + 0`` becomes ``x``, which keeps the sign of a negative zero where NumPy drops it
(and complex ``x * 1`` keeps an infinity where NumPy makes a NaN of it).
Never ``0 * x -> 0`` (wrong for infinities), never ``x - x -> 0``.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.graph import Graph, Node, Shape

# Constant factors are merged only in this range, far from overflow and underflow in float32, too.
_MODERATE = (1e-15, 1e15)


@lru_cache(maxsize=1024)
def common_shape(*shapes: Shape) -> Shape:
    """Return ``np.broadcast_shapes``, which takes longer than most NumPy functions."""
    return np.broadcast_shapes(*shapes)


def broadcast(graph: Graph, x: Node, shape: Shape) -> Node:
    """Return `x` repeated to `shape`; consumers that broadcast anyway look through this node."""
    if x.fn is np.broadcast_to:
        x = x.args[0]
    if x.shape == shape:
        return x
    single = x.shape == () and set(shape) == {1}
    return graph.node(np.reshape if single else np.broadcast_to, (x, shape), {}, shape, x.dtype)


def thin(graph: Graph, x: Any) -> Any:
    """Return what is broadcast in `x`, or `x` itself."""
    if isinstance(x, Node):
        if x.splat is not None and isinstance(x.value, np.ndarray):
            return graph.constant(x.splat)
        if x.fn is np.broadcast_to or (x.fn is np.reshape and x.args[0].shape == ()):
            return x.args[0]
        return x
    return graph.constant(x)


def elementwise(graph: Graph, fn: Any, args: tuple[Any, ...], shape: Shape, dtype: Any) -> Node:
    """Add ``fn(*args)`` for a function that works element by element and broadcasts."""
    operands = tuple([thin(graph, x) for x in args])
    found = simplify(graph, fn, operands, dtype)
    if found is None:
        small = common_shape(*[x.shape for x in operands])
        found = graph.node(fn, operands, {}, small, dtype)
    return found if found.shape == shape else broadcast(graph, found, shape)


def number(x: Node) -> Any:
    """Return the value of a constant scalar, or None."""
    return x.value if x.is_constant and x.shape == () else None


def simplify(graph: Graph, fn: Any, operands: tuple[Node, ...], dtype: Any) -> Node | None:
    """Return an equal, cheaper node of the broadcast shape of `operands` or smaller, or None."""
    rule: Any = _RULES.get(fn)
    if rule is None or dtype.kind not in "fc":
        return None
    if any(x.dtype.kind not in "fciub" for x in operands):
        return None
    result: Node | None = rule(graph, *operands, dtype)
    return result if result is None or result.dtype == dtype else None


def _apply(graph: Graph, fn: Any, *operands: Node) -> Node:
    dtype = np.result_type(*(_weak(x) for x in operands))
    shape = common_shape(*(x.shape for x in operands))
    return elementwise(graph, fn, operands, shape, dtype)


def _weak(x: Node) -> Any:
    """Return what decides the dtype of a result: Python numbers are weak, all else is strong."""
    return x.value if x.is_constant and type(x.value) in (int, float, complex) else x.dtype


def _add(graph: Graph, a: Node, b: Node, dtype: Any) -> Node | None:
    if _keeps(a, b, dtype) and number(b) == 0:
        return a
    if _keeps(b, a, dtype) and number(a) == 0:
        return b
    if a is b and dtype.kind == "f":
        return _apply(graph, np.multiply, a, graph.constant(2.0))
    if _is_negated(b):
        return _apply(graph, np.subtract, a, b.args[0])
    if _is_negated(a):
        return _apply(graph, np.subtract, b, a.args[0])
    return _shift(graph, a, b, 1, dtype) or _shift(graph, b, a, 1, dtype)


def _is_negated(x: Node) -> bool:
    # Integers wrap around, or have no sign at all.
    return x.fn is np.negative and x.dtype.kind in "fc"


def _subtract(graph: Graph, a: Node, b: Node, dtype: Any) -> Node | None:
    if _keeps(a, b, dtype) and number(b) == 0:
        return a
    if _is_negated(b):
        return _apply(graph, np.add, a, b.args[0])
    return _shift(graph, a, b, -1, dtype)


def _shift(graph: Graph, a: Node, b: Node, sign: int, dtype: Any) -> Node | None:
    """Turn ``(x + c) + d`` into ``x + (c + d)`` for constant arrays, no element of both non-zero.

    Sums with seeds are such, and as nothing is added to zero, nothing is rounded otherwise.
    """
    if not (_is_array(b, dtype) and a.fn in (np.add, np.subtract) and a.shape == b.shape):
        return None
    for k, c in enumerate(a.args):
        x = a.args[1 - k]
        if not _is_array(c, dtype) or x.dtype != dtype or not x.shape == c.shape == b.shape:
            continue
        if not ((c.value != 0) & (b.value != 0)).any():
            subtracted = a.fn is np.subtract and k == 1
            fn = np.add if (sign > 0) != subtracted else np.subtract
            both = _apply(graph, fn, c, b)
            return _apply(graph, a.fn, *((both, x) if k == 0 else (x, both)))
    return None


def _is_array(x: Node, dtype: Any) -> bool:
    """Whether `x` is a constant array of real numbers of this dtype."""
    return x.is_constant and x.shape != () and x.dtype == dtype and dtype.kind == "f"


def _multiply(graph: Graph, a: Node, b: Node, dtype: Any) -> Node | None:
    if number(a) is not None:
        a, b = b, a
    factor = number(b)
    if factor is not None:
        if factor == 1 and _keeps(a, b, dtype):
            return a
        if factor == -1 and _keeps(a, b, dtype) and dtype.kind == "f":
            return _negative(graph, a, dtype) or graph.node(np.negative, (a,), {}, a.shape, dtype)
        return _merge(graph, a, b, dtype)
    if a is b and dtype.kind == "f":
        return graph.node(np.square, (a,), {}, a.shape, dtype)
    for x, y in ((a, b), (b, a)):
        if _is_array(y, dtype) and (merged := _merge_array(graph, x, y, dtype)) is not None:
            return merged
    # Move a sign outwards, where an addition may absorb it.
    for x, y in ((a, b), (b, a)):
        if (
            x.fn is np.negative
            and x.dtype == dtype == y.dtype
            and x.shape == common_shape(x.shape, y.shape)
        ):
            return _apply(graph, np.negative, _apply(graph, np.multiply, x.args[0], y))
    return None


def _negative(graph: Graph, a: Node, dtype: Any) -> Node | None:
    if a.fn is np.negative and a.dtype == dtype:
        found: Node = a.args[0]
        return found
    if a.fn is np.multiply and a.dtype == dtype:
        inner, factor = _factor(a)
        if factor is not None and dtype.kind == "f":
            return _apply(graph, np.multiply, inner, graph.constant(-factor))
    return None


def _divide(graph: Graph, a: Node, b: Node, dtype: Any) -> Node | None:
    return a if number(b) == 1 and _keeps(a, b, dtype) else None


def _power(graph: Graph, a: Node, b: Node, dtype: Any) -> Node | None:
    exponent = number(b)
    if exponent is None or not _keeps(a, b, dtype):
        return None
    if exponent == 1:
        return a
    if exponent == 0:
        return graph.constant(dtype.type(1))  # of NaN and infinity, too
    if dtype.kind != "f":
        return None
    if exponent in (2, 3, 4):
        square = graph.node(np.square, (a,), {}, a.shape, dtype)
        if exponent == 2:
            return square
        if exponent == 3:
            return _apply(graph, np.multiply, square, a)
        return graph.node(np.square, (square,), {}, a.shape, dtype)
    return graph.node(np.reciprocal, (a,), {}, a.shape, dtype) if exponent == -1 else None


def _conjugate(graph: Graph, a: Node, dtype: Any) -> Node | None:
    return a if dtype.kind == "f" and a.dtype == dtype else None


def _keeps(x: Node, other: Node, dtype: Any) -> bool:
    """Whether `x` alone already has the dtype and shape of an operation with the scalar `other`."""
    return bool(
        x.dtype == dtype
        and other.shape == ()
        and not (x.is_constant and type(x.value) in (int, float))
    )


def split_factor(x: Node) -> tuple[Node, Any]:
    """Split ``y * c`` or ``-y`` into ``y`` and a constant ``c`` that a sum over `y` may share."""
    if _is_negated(x):
        return x.args[0], -1.0
    y, c = _factor(x)
    # Without a factor below 1, a sum may overflow that did not before.
    moderate = c is not None and 1.0 <= abs(c) < _MODERATE[1]
    return (y, c) if moderate and y.dtype == x.dtype and x.dtype.itemsize >= 4 else (x, None)


def _factor(product: Node) -> tuple[Node, Any]:
    """Split ``x * c`` into ``x`` and the number ``c``; without such a constant, ``c`` is None."""
    if product.fn is np.multiply and product.dtype.kind == "f":
        for x, c in (product.args, product.args[::-1]):
            if _is_real(number(c)):
                return x, number(c)
    return product, None


def _is_real(value: Any) -> bool:
    """Whether `value` is a signed number: one that may be negated without surprise."""
    return isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)


def _merge(graph: Graph, a: Node, b: Node, dtype: Any) -> Node | None:
    """Turn ``(x * c) * d`` into ``x * (c * d)`` and ``(-x) * d`` into ``x * (-d)``."""
    d = number(b)
    if a.dtype != dtype or dtype.kind != "f" or not _is_real(d):
        return None
    if a.fn is np.negative:
        return _apply(graph, np.multiply, a.args[0], graph.constant(-d))
    x, c = _factor(a)
    if c is None or x.dtype != dtype or dtype.itemsize < 4:
        return _merge_array(graph, a, b, dtype)
    factors = float(c), float(d), float(c) * float(d)
    if all(_MODERATE[0] < abs(v) < _MODERATE[1] for v in factors):
        return _apply(graph, np.multiply, x, graph.constant(factors[2]))
    return None


def _merge_array(graph: Graph, a: Node, b: Node, dtype: Any) -> Node | None:
    """Turn ``(x * c) * d`` into ``x * (c * d)``, where one of the constants is an array."""
    if a.fn is not np.multiply or dtype.itemsize < 4:
        return None
    for x, c in (a.args, a.args[::-1]):
        fits = c.is_constant and common_shape(c.shape, b.shape) in (c.shape, b.shape)
        if not (fits and x.dtype == c.dtype == dtype and (c.shape or b.shape)):
            continue
        if _is_moderate(c) and _is_moderate(b):
            both = _apply(graph, np.multiply, c, b)
            return _apply(graph, np.multiply, x, both) if _is_moderate(both) else None
    return None


def _is_moderate(x: Node) -> bool:
    """Whether constant factors are zero, or of a size at which they may be merged."""
    size = np.abs(x.value)
    return bool(((size == 0) | ((_MODERATE[0] < size) & (size < _MODERATE[1]))).all())


_RULES = {
    np.add: _add,
    np.subtract: _subtract,
    np.multiply: _multiply,
    np.negative: _negative,
    np.divide: _divide,
    np.power: _power,
    np.conjugate: _conjugate,
}
