"""Lowering of sums and products of vectors and matrices."""

from math import prod
from typing import Any

import numpy as np
from autograd.numpy import numpy_vjps

from diffface.backends.autograd.recorder.algebra import broadcast, elementwise, split_factor, thin
from diffface.backends.autograd.recorder.graph import (
    Args,
    Graph,
    Kwargs,
    Node,
    Rule,
    Shape,
    substitute,
)
from diffface.backends.autograd.recorder.kernels import total
from diffface.backends.autograd.recorder.shapes import reshape, transpose

MATRIX_PRODUCT = "...ij,...jk->...ik"  # autograd.numpy.linalg._dot


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
        column = graph.node(np.dot, (a, reshape(graph, b, b.shape[:1])), {}, shape[:1], dtype)
        return reshape(graph, column, shape)
    if a.ndim == b.ndim == 2 and a.shape[0] == 1:
        row = graph.node(np.dot, (reshape(graph, a, a.shape[1:]), b), {}, shape[1:], dtype)
        return reshape(graph, row, shape)
    return graph.node(np.dot, (a, b), {}, shape, dtype)


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
    return reshape(graph, graph.node(np.dot, (x, y), {}, result, dtype), shape)


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


PRODUCT_RULES: dict[Any, Rule] = {
    np.sum: _sum,
    np.mean: _mean,
    np.matmul: _matmul,
    np.dot: _dot,
    np.einsum: _einsum,
    np.tensordot: _tensordot,
    numpy_vjps.dot_adjoint_0.fun: _dot_adjoint(0),
    numpy_vjps.dot_adjoint_1.fun: _dot_adjoint(1),
}
