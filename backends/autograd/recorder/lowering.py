"""Lowering: from the functions that autograd calls to fewer, cheaper, plainer NumPy functions.

``lower`` is the only entry. A rule returns a node that computes the same as the call, or None where
it has nothing to offer; then the call stays as it is.
"""

from math import prod
from typing import Any

import numpy as np
from autograd.core import VSpace
from autograd.numpy import numpy_vjps, numpy_wrapper

from diffface.backends.autograd.namespace.shapes import concat_along
from diffface.backends.autograd.recorder.algebra import broadcast, elementwise, split_factor, thin
from diffface.backends.autograd.recorder.functions import (
    cast,
    gathered,
    is_elementwise,
    joined,
    product,
    total,
)
from diffface.backends.autograd.recorder.graph import (
    Args,
    Graph,
    Kwargs,
    Node,
    Rule,
    Shape,
    substitute,
)
from diffface.backends.autograd.recorder.scatter import add_to
from diffface.backends.autograd.recorder.shapes import SHAPE_RULES, identity, reshape, transpose

MATRIX_PRODUCT = "...ij,...jk->...ik"  # autograd.numpy.linalg._dot
# From this size on, memory that is used again saves more than it costs to ask for.
_LARGE = 256


def lower(graph: Graph, fn: Any, args: Args, kwargs: Kwargs, shape: Any, dtype: Any) -> Node:
    """Add the call ``fn(*args, **kwargs)``, whose result has this shape and dtype."""
    node = None
    if shape is not None:
        rule = _RULES.get(fn)
        if rule is not None:
            node = rule(graph, args, kwargs, shape, dtype)
        elif is_elementwise(fn, args, kwargs):
            node = elementwise(graph, fn, args, shape, dtype)
    if node is None:
        node = graph.node(fn, args, kwargs, shape, dtype)
    if shape is not None and (node.shape != shape or node.dtype != dtype):
        raise AssertionError(f"lowering {fn} gave {node.shape} {node.dtype} for {shape} {dtype}")
    return node


def _add(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    if kwargs:
        return None
    for a, b in (args, args[::-1]):
        alike = all(isinstance(x, Node) and (x.shape, x.dtype) == (shape, dtype) for x in (a, b))
        if alike and not a.is_constant:
            node = add_to(graph, a, b, shape, dtype)
            if node is not None:
                return node
    return elementwise(graph, np.add, args, shape, dtype)


def _array(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    x = args[2]
    return reshape(graph, x, shape) if isinstance(x, Node) and x.dtype == dtype else None


def _array_of(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    return (
        graph.node(np.array, (list(args[2:]),), {}, shape, dtype)
        if not args[0] and not args[1]
        else None
    )


def _concatenate(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    if len(args) == 2 and args[1].dtype == dtype and args[0] is not None:
        return args[1]  # type: ignore[no-any-return]  # Args is a tuple of Any
    parts, axis = tuple(args[1:]), args[0]
    if axis == 0 and prod(shape) >= _LARGE and all(p.dtype == dtype for p in parts):
        return graph.node(joined, (parts, shape, dtype), {}, shape, dtype)
    return graph.node(np.concatenate, (parts, axis), {}, shape, dtype)


def _take(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    x, index, *axis = args
    vector = x.ndim == 1 and axis in ([], [0], [-1]) and not kwargs
    if not vector or len(shape) != 1 or not isinstance(index, Node) or not index.is_constant:
        return None
    at = index.value
    if at.dtype != np.intp or at.size < _LARGE or at.min() < 0 or at.max() >= x.size:
        return None
    return graph.node(gathered, (x, index), {}, shape, dtype)


def _vspace_add(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    _, previous, x = args
    if previous is None:
        return x if x.dtype == dtype else graph.node(cast, (x, dtype), {}, shape, dtype)
    both = lower(graph, np.add, (previous, x), {}, shape, np.result_type(previous.dtype, x.dtype))
    return both if both.dtype == dtype else graph.node(cast, (both, dtype), {}, shape, dtype)


def _scalar_mul(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    return elementwise(graph, np.multiply, args[1:], shape, dtype)


def _covector(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    return (
        args[1] if dtype.kind != "c" else elementwise(graph, np.conjugate, args[1:], shape, dtype)
    )


def _where(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    return elementwise(graph, np.where, args, shape, dtype) if len(args) == 3 else None


# Sums and products of vectors and matrices


def _sum(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    x, *rest = args
    if len(rest) > 1 or kwargs.keys() - {"axis", "keepdims"} or not isinstance(x, Node):
        return None
    axis = kwargs.get("axis", rest[0] if rest else None)
    axes: Any = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(a, (int, np.integer)) for a in axes):
        return None
    count = int(np.prod([x.shape[a] for a in axes], dtype=int))
    if x.dtype == dtype and count == 1:
        return reshape(graph, x, shape)
    source = thin(graph, x)
    if x.dtype == dtype and source.size == 1 and x.size and dtype.kind in "fc":
        product = elementwise(
            graph, np.multiply, (reshape(graph, source, ()), float(count)), (), dtype
        )
        return broadcast(graph, product, shape)
    inner, factor = split_factor(x)
    if factor is not None and inner.shape == x.shape and dtype == x.dtype:
        summed = _sum(graph, (inner, *rest), kwargs, shape, dtype)
        return elementwise(graph, np.multiply, (summed, factor), shape, dtype)
    keepdims = bool(kwargs.get("keepdims", False))
    axes = axis if axis is None else tuple(int(a) for a in axes)
    return graph.node(total, (x, axes, keepdims), {}, shape, dtype)


def _mean(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    x = args[0]
    if x.dtype != dtype or dtype.char not in "fdFD" or not x.size:
        return None
    whole = _sum(graph, args, kwargs, shape, dtype)
    count = float(x.size // max(1, prod(shape)))
    return None if whole is None else elementwise(graph, np.divide, (whole, count), shape, dtype)


def _matmul(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    a, b = args
    if (
        kwargs
        or dtype.char not in "fdFD"
        or not a.shape
        or not b.shape
        or a.dtype != dtype
        or b.dtype != dtype
    ):
        return None
    if a.ndim == b.ndim == 2 and a.shape[1] == 1:  # an outer product
        return elementwise(graph, np.multiply, (a, b), shape, dtype)
    if a.ndim <= 2 and b.ndim <= 2:
        return _dot(graph, args, kwargs, shape, dtype)
    return None


def _dot(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    a, b = args
    if kwargs:
        return None
    if a.ndim == 0 or b.ndim == 0:
        return elementwise(graph, np.multiply, (a, b), shape, dtype)
    # A column or row that only exists for the product's sake: (A @ v[:, None]) is (A @ v)[:, None].
    if a.ndim == b.ndim == 2 and b.shape[1] == 1 and a.shape[0] != 1:
        column = _product(graph, a, reshape(graph, b, b.shape[:1]), shape[:1], dtype)
        return reshape(graph, column, shape)
    if a.ndim == b.ndim == 2 and a.shape[0] == 1:
        row = _product(graph, reshape(graph, a, a.shape[1:]), b, shape[1:], dtype)
        return reshape(graph, row, shape)
    return _product(graph, a, b, shape, dtype)


def _product(graph: Graph, a: Node, b: Node, shape: Shape, dtype: Any) -> Node:
    """Add ``np.dot`` of vectors and matrices; large ones in an array that the program may reuse."""
    if prod(shape) < _LARGE or a.dtype != dtype or b.dtype != dtype:
        return graph.node(np.dot, (a, b), {}, shape, dtype)
    return graph.node(product, (a, b, shape, dtype), {}, shape, dtype)


def _einsum(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    operands = args[1:]
    if kwargs or type(args[0]) is not str or args[0] != MATRIX_PRODUCT:
        return None
    if dtype.char not in "fdFD" or any(x.ndim < 2 or x.dtype != dtype for x in operands):
        return None
    product = _matmul(graph, operands, {}, shape, dtype)
    return product or graph.node(np.matmul, operands, {}, shape, dtype)


def _tensordot(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    a, b = args[:2]
    axes = substitute(kwargs.get("axes", args[2] if len(args) > 2 else 2), lambda node: node.value)
    if isinstance(axes, (int, np.integer)):
        axes = range(a.ndim - axes, a.ndim), range(int(axes))
    left, right = ([int(i) for i in np.atleast_1d(np.asarray(s, dtype=int))] for s in axes)
    left, right = [i % a.ndim for i in left], [i % b.ndim for i in right]
    keep_a = [i for i in range(a.ndim) if i not in left]
    keep_b = [i for i in range(b.ndim) if i not in right]
    inner = int(np.prod([a.shape[i] for i in left], dtype=int))
    rows = int(np.prod([a.shape[i] for i in keep_a], dtype=int))
    columns = int(np.prod([b.shape[i] for i in keep_b], dtype=int))
    if not left:  # an outer product
        a = reshape(graph, a, a.shape + (1,) * b.ndim)
        return elementwise(graph, np.multiply, (a, b), shape, dtype)
    x = reshape(graph, transpose(graph, a, [*keep_a, *left]), (rows, inner) if keep_a else (inner,))
    y = reshape(
        graph, transpose(graph, b, [*right, *keep_b]), (inner, columns) if keep_b else (inner,)
    )
    result = tuple(n for n, k in ((rows, keep_a), (columns, keep_b)) if k)
    return reshape(graph, _product(graph, x, y, result, dtype), shape)


def _dot_adjoint(which: int) -> Rule:
    """Return the rule of autograd's ``dot_adjoint_0`` or ``_1``: for at most two axes."""

    def rule(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
        other, g = args[:2]
        if (
            g.dtype != dtype
            or other.dtype != dtype
            or other.ndim == 0
            or max(g.ndim, other.ndim, len(shape)) > 2
        ):
            return None
        if len(shape) == 0:
            return _tensordot(graph, (g, other, other.ndim), {}, shape, dtype)
        if g.ndim == 0:
            return elementwise(graph, np.multiply, (g, other), shape, dtype)
        if which == 0:  # G = A @ B, result like A
            if other.ndim == 1:
                return _tensordot(graph, (g, other, 0), {}, shape, dtype)
            return _dot(graph, (g, transpose(graph, other, (1, 0))), {}, shape, dtype)
        if other.ndim == 1:
            return _tensordot(graph, (other, g, 0), {}, shape, dtype)
        return _dot(graph, (transpose(graph, other, (1, 0)), g), {}, shape, dtype)

    return rule


_RULES: dict[Any, Rule] = {
    **SHAPE_RULES,
    np.sum: _sum,
    np.mean: _mean,
    np.matmul: _matmul,
    np.dot: _dot,
    np.einsum: _einsum,
    np.tensordot: _tensordot,
    numpy_vjps.dot_adjoint_0.fun: _dot_adjoint(0),
    numpy_vjps.dot_adjoint_1.fun: _dot_adjoint(1),
    np.add: _add,
    np.where: _where,
    np.take: _take,
    concat_along.fun: _concatenate,  # type: ignore[attr-defined]  # of autograd.primitive
    numpy_wrapper._astype.fun: identity,
    numpy_wrapper._array_from_scalar_or_array.fun: _array,
    numpy_wrapper.array_from_args.fun: _array_of,
    numpy_wrapper.concatenate_args.fun: _concatenate,
    VSpace.add.fun: _vspace_add,
    VSpace.mut_add.fun: _vspace_add,
    VSpace.scalar_mul.fun: _scalar_mul,
    VSpace.covector.fun: _covector,
}
