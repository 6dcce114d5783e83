"""Lowering: from the functions that autograd calls to fewer, cheaper, plainer NumPy functions.

``lower`` is the only entry. A rule returns a node that computes the same as the call, or None where
it has nothing to offer; then the call stays as it is.
"""

from math import prod
from typing import Any

import numpy as np
from autograd.core import VSpace
from autograd.numpy import numpy_wrapper

from diffface.backends.autograd.recorder.algebra import elementwise
from diffface.backends.autograd.recorder.graph import Args, Graph, Kwargs, Node, Rule, Shape
from diffface.backends.autograd.recorder.kernels import cast, scatter
from diffface.backends.autograd.recorder.products import PRODUCT_RULES
from diffface.backends.autograd.recorder.shapes import (
    SHAPE_RULES,
    identity,
    only_new_axes,
    reshape,
)


def lower(graph: Graph, fn: Any, args: Args, kwargs: Kwargs, shape: Any, dtype: Any) -> Node:
    """Add the call ``fn(*args, **kwargs)``, whose result has this shape and dtype."""
    node = None
    if shape is not None:
        rule = _RULES.get(fn)
        if rule is not None:
            node = rule(graph, args, kwargs, shape, dtype)
        elif _is_elementwise(fn) and len(args) == fn.nin and not kwargs:
            node = elementwise(graph, fn, args, shape, dtype)
    if node is None:
        node = graph.node(fn, args, kwargs, shape, dtype)
    if shape is not None and (node.shape != shape or node.dtype != dtype):
        raise AssertionError(f"lowering {fn} gave {node.shape} {node.dtype} for {shape} {dtype}")
    return node


def _is_elementwise(fn: Any) -> bool:
    return isinstance(fn, np.ufunc) and fn.signature is None and fn.nout == 1


def _add(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    if kwargs:
        return None
    for a, b in (args, args[::-1]):
        nodes = isinstance(a, Node) and isinstance(b, Node) and (a.shape, a.dtype) == (shape, dtype)
        if not nodes or a.is_constant or b.fn is not scatter or b.args[0] is not None:
            continue
        if (b.shape, b.dtype) == (shape, dtype):
            node: Node = a
            for index, x in b.args[3:]:
                node = scatter_add(graph, node, index, x, shape, dtype)
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
    return graph.node(np.concatenate, (tuple(args[1:]), args[0]), {}, shape, dtype)


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


def scatter_add(
    graph: Graph, previous: Node | None, index: Any, x: Node, shape: Shape, dtype: Any
) -> Node:
    """Add ``previous + (zeros with x at index)``; additions in a row become one node."""
    if only_new_axes(index) and x.dtype == dtype and x.size == prod(shape):
        x = reshape(graph, x, shape)
        added = (previous, x)
        return x if previous is None else lower(graph, np.add, added, {}, shape, dtype)
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


def _where(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    return elementwise(graph, np.where, args, shape, dtype) if len(args) == 3 else None


_RULES: dict[Any, Rule] = {
    **SHAPE_RULES,
    **PRODUCT_RULES,
    np.add: _add,
    np.where: _where,
    numpy_wrapper._astype.fun: identity,
    numpy_wrapper._array_from_scalar_or_array.fun: _array,
    numpy_wrapper.array_from_args.fun: _array_of,
    numpy_wrapper.concatenate_args.fun: _concatenate,
    VSpace.add.fun: _vspace_add,
    VSpace.mut_add.fun: _vspace_add,
    VSpace.scalar_mul.fun: _scalar_mul,
    VSpace.covector.fun: _covector,
}
