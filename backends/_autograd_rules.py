"""Lowering: from the functions that autograd calls to fewer, cheaper, plainer NumPy functions.

``lower`` is the only entry. A rule returns a node that computes the same as the call, or None where it
has nothing to offer; then the call stays as it is.
"""

from typing import Any

import numpy as np
from autograd.core import VSpace
from autograd.numpy import numpy_vjps, numpy_wrapper
from autograd.numpy.numpy_boxes import ArrayBox

from diffface.backends._autograd_algebra import broadcast, elementwise, thin
from diffface.backends._autograd_graph import Graph, Node, Shape, substitute

Args = tuple[Any, ...]
Kwargs = dict[str, Any]

GETITEM = ArrayBox.__getitem__.fun
MATRIX_PRODUCT = "...ij,...jk->...ik"  # autograd.numpy.linalg._dot


def scatter(base: Any, shape: Shape, dtype: Any, *updates: Any) -> Any:
    """Return `base` (or zeros) with ``x`` added at ``index`` for each (index, x) of `updates`."""
    result = np.zeros(shape, dtype) if base is None else np.array(base)
    for index, x in updates:
        np.add.at(result, index, x)
    return result


def cast(x: Any, dtype: Any) -> Any:
    """Return a copy of `x` of another dtype."""
    return x.astype(dtype)


def lower(graph: Graph, fn: Any, args: Args, kwargs: Kwargs, shape: Any, dtype: Any) -> Node:
    """Add the call ``fn(*args, **kwargs)``, whose result has this shape and dtype."""
    node = None
    if shape is not None:
        rule = _RULES.get(fn)
        if rule is not None:
            node = rule(graph, args, kwargs, shape, dtype)
        elif isinstance(fn, np.ufunc) and fn.signature is None and fn.nout == 1 and not kwargs:
            if len(args) == fn.nin:
                node = elementwise(graph, fn, args, shape, dtype)
    if node is None:
        node = graph.node(fn, args, kwargs, shape, dtype)
    if shape is not None and (node.shape != shape or node.dtype != dtype):
        raise AssertionError(f"lowering {fn} gave {node.shape} {node.dtype} for {shape} {dtype}")
    return node


# Shapes


def reshape(graph: Graph, x: Node, shape: Shape) -> Node:
    """Return `x` in another shape, without chains of reshapes."""
    while x.fn is np.reshape:
        x = x.args[0]
    if x.shape == shape:
        return x
    if x.fn is np.broadcast_to and x.args[0].size == 1:
        return broadcast(graph, reshape(graph, x.args[0], ()), shape)
    return graph.node(np.reshape, (x, shape), {}, shape, x.dtype)


def transpose(graph: Graph, x: Node, axes: Any) -> Node:
    """Return `x` with permuted axes, without chains of transposes."""
    axes = tuple(int(a) % x.ndim for a in axes)
    if x.fn is np.transpose:
        x, axes = x.args[0], tuple(x.args[1][a] for a in axes)
    if axes == tuple(range(x.ndim)):
        return x
    shape = tuple(x.shape[a] for a in axes)
    return graph.node(np.transpose, (x, axes), {}, shape, x.dtype)


def _reshape(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    order = kwargs.get("order") or "C"
    if order != "C" or len(args) > 2 or kwargs.keys() - {"order", "axis", "shape", "newshape"}:
        return None
    return reshape(graph, args[0], shape)


def _permute(function: Any) -> Any:
    """Return the rule of a function that permutes axes: try it on the axes' own numbers."""

    def rule(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node:
        x, *rest = args
        rest = [r.value if isinstance(r, Node) else r for r in rest]
        # A stride-0 dummy of the same shape whose strides are then the axes' numbers.
        dummy = np.lib.stride_tricks.as_strided(np.zeros(()), (1,) * x.ndim, range(8, 8 * x.ndim + 8, 8))
        return transpose(graph, x, [s // 8 - 1 for s in function(dummy, *rest, **kwargs).strides])

    return rule


def _identity(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    x = args[0]
    return x if isinstance(x, Node) and x.dtype == dtype and x.shape == shape else None


def _broadcast_to(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node:
    return broadcast(graph, args[0], shape)


def _repeat(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    x = args[0]
    axis = kwargs.get("axis", args[2] if len(args) > 2 else None)
    if isinstance(axis, int) and isinstance(args[1], int) and x.shape[axis] == 1:
        return broadcast(graph, x, shape)
    return None


def _getitem(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    x, index = args
    if x.fn is np.broadcast_to and thin(graph, x).size == 1:
        return broadcast(graph, reshape(graph, thin(graph, x), ()), shape)
    parts = index if isinstance(index, tuple) else (index,)
    if all(p is None or p is Ellipsis or p == slice(None) for p in parts if not isinstance(p, Node)) and not any(
        isinstance(p, Node) for p in parts
    ):
        return reshape(graph, x, shape)  # only new axes
    return None


# Sums and products


def _sum(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    x, *rest = args
    if len(rest) > 1 or kwargs.keys() - {"axis", "keepdims"} or not isinstance(x, Node):
        return None
    axis = kwargs.get("axis", rest[0] if rest else None)
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(a, (int, np.integer)) for a in axes):
        return None
    count = int(np.prod([x.shape[a] for a in axes], dtype=int))
    if x.dtype == dtype and count == 1:
        return reshape(graph, x, shape)
    source = thin(graph, x)
    if x.dtype == dtype and source.size == 1 and x.size and dtype.kind in "fc":
        product = elementwise(graph, np.multiply, (reshape(graph, source, ()), float(count)), (), dtype)
        return broadcast(graph, product, shape)
    keepdims = bool(kwargs.get("keepdims", False))
    return graph.node(np.add.reduce, (x, axis if axis is None else tuple(int(a) for a in axes)), {"keepdims": keepdims}, shape, dtype)


def _mean(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    x = args[0]
    if x.dtype != dtype or dtype.char not in "fdFD" or not x.size:
        return None
    total = _sum(graph, args, kwargs, shape, dtype)
    count = float(x.size // max(1, int(np.prod(shape, dtype=int))))
    return None if total is None else elementwise(graph, np.divide, (total, count), shape, dtype)


def _matmul(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    a, b = args
    if kwargs or dtype.char not in "fdFD" or not a.shape or not b.shape or a.dtype != dtype or b.dtype != dtype:
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
    if args[0] == MATRIX_PRODUCT and not kwargs and all(x.ndim >= 2 for x in args[1:]):
        if all(x.dtype == dtype for x in args[1:]) and dtype.char in "fdFD":
            return lower(graph, np.matmul, args[1:], {}, shape, dtype)
    return None


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
    y = reshape(graph, transpose(graph, b, [*right, *keep_b]), (inner, columns) if keep_b else (inner,))
    result = tuple(n for n, k in ((rows, keep_a), (columns, keep_b)) if k)
    return reshape(graph, graph.node(np.dot, (x, y), {}, result, dtype), shape)


def _dot_adjoint(which: int) -> Any:
    """Return the rule of autograd's ``dot_adjoint_0`` or ``_1``: the cases with at most two axes."""

    def rule(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
        other, g = args[:2]
        if g.dtype != dtype or other.dtype != dtype or other.ndim == 0 or max(g.ndim, other.ndim, len(shape)) > 2:
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


# Sparse gradients and functions of autograd's own


def _add(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    if kwargs:
        return None
    for a, b in (args, args[::-1]):
        if isinstance(b, Node) and b.fn is scatter and b.args[0] is None and b.shape == shape and b.dtype == dtype:
            if isinstance(a, Node) and a.shape == shape and a.dtype == dtype and not a.is_constant:
                for index, x in b.args[3:]:
                    a = scatter_add(graph, a, index, x, shape, dtype)
                return a
    return elementwise(graph, np.add, args, shape, dtype)


def _array(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    x = args[2]
    return reshape(graph, x, shape) if isinstance(x, Node) and x.dtype == dtype else None


def _array_of(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    return graph.node(np.array, (list(args[2:]),), {}, shape, dtype) if not args[0] and not args[1] else None


def _concatenate(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    if len(args) == 2 and args[1].dtype == dtype and args[0] is not None:
        return args[1]  # type: ignore[no-any-return]  # Args is a tuple of Any
    return graph.node(np.concatenate, (tuple(args[1:]), args[0]), {}, shape, dtype)


def _vspace_add(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    _, previous, x = args
    if previous is None:
        return x if x.dtype == dtype else graph.node(cast, (x, dtype), {}, shape, dtype)
    both = np.result_type(previous.dtype, x.dtype)
    total = lower(graph, np.add, (previous, x), {}, shape, both)
    return total if both == dtype else graph.node(cast, (total, dtype), {}, shape, dtype)


def _scalar_mul(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    return elementwise(graph, np.multiply, args[1:], shape, dtype)


def _covector(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    return args[1] if dtype.kind != "c" else elementwise(graph, np.conjugate, args[1:], shape, dtype)


def scatter_add(graph: Graph, previous: Node | None, index: Any, x: Node, shape: Shape, dtype: Any) -> Node:
    """Add ``previous + (zeros with x at index)``; additions in a row become one node."""
    updates: tuple[Any, ...] = ()
    if previous is not None and previous.fn is scatter:
        updates = previous.args[3:]
        previous = previous.args[0]
    for i, (other, y) in enumerate(updates):
        if _same_index(index, other) and x.shape == y.shape and x.dtype == y.dtype:
            both = elementwise(graph, np.add, (y, x), x.shape, x.dtype)
            updates = (*updates[:i], (index, both), *updates[i + 1 :])
            break
    else:
        updates = (*updates, (index, x))
    return graph.node(scatter, (previous, shape, dtype, *updates), {}, shape, dtype)


def _same_index(a: Any, b: Any) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same_index, a, b))
    return a is b or (type(a) is type(b) and not isinstance(a, (Node, list)) and bool(a == b))


_RULES: dict[Any, Any] = {
    **dict.fromkeys((np.reshape, np.ravel, np.squeeze, np.expand_dims, np.atleast_1d, np.atleast_2d), _reshape),
    **{f: _permute(f) for f in (np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.matrix_transpose)},
    **dict.fromkeys((np.copy, np.asarray, np.asanyarray, numpy_wrapper._astype.fun, np.real), _identity),
    np.add: _add,
    np.broadcast_to: _broadcast_to,
    np.repeat: _repeat,
    np.sum: _sum,
    np.mean: _mean,
    np.matmul: _matmul,
    np.dot: _dot,
    np.einsum: _einsum,
    np.tensordot: _tensordot,
    np.where: lambda g, a, k, s, d: elementwise(g, np.where, a, s, d) if len(a) == 3 else None,
    GETITEM: _getitem,
    numpy_vjps.dot_adjoint_0.fun: _dot_adjoint(0),
    numpy_vjps.dot_adjoint_1.fun: _dot_adjoint(1),
    numpy_wrapper._array_from_scalar_or_array.fun: _array,
    numpy_wrapper.array_from_args.fun: _array_of,
    numpy_wrapper.concatenate_args.fun: _concatenate,
    VSpace.add.fun: _vspace_add,
    VSpace.mut_add.fun: _vspace_add,
    VSpace.scalar_mul.fun: _scalar_mul,
    VSpace.covector.fun: _covector,
}
