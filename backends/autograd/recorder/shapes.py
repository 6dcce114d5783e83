"""Lowering of functions that move or repeat elements without computing."""

from collections.abc import Callable
from typing import Any

import numpy as np
from autograd.numpy.numpy_boxes import ArrayBox

from diffface.backends.autograd.recorder.algebra import broadcast, thin
from diffface.backends.autograd.recorder.graph import Args, Graph, Kwargs, Node, Rule, Shape

GETITEM = ArrayBox.__getitem__.fun


def reshape(graph: Graph, x: Node, shape: Shape) -> Node:
    """Return `x` in another shape, without chains of reshapes."""
    while x.fn is np.reshape and len(x.args) == 2 and not x.kwargs:
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
    x = args[0]
    order = next((a for a in args[1:] if isinstance(a, str)), kwargs.get("order") or "C").upper()
    if order not in ("C", "F") or kwargs.keys() - {"order", "axis", "shape", "newshape"}:
        return None
    if order == "C":
        return reshape(graph, x, shape)
    # Column by column is row by row of what is transposed.
    turned = reshape(graph, transpose(graph, x, range(x.ndim)[::-1]), shape[::-1])
    return transpose(graph, turned, range(turned.ndim)[::-1])


def _permute(function: Callable[..., Any]) -> Rule:
    """Return the rule of a function that permutes axes: try it on the axes' own numbers."""

    def rule(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node:
        x, *rest = args
        rest = [r.value if isinstance(r, Node) else r for r in rest]
        # A stride-0 dummy of the same shape whose strides are then the axes' numbers.
        dummy = np.lib.stride_tricks.as_strided(
            np.zeros(()), (1,) * x.ndim, range(8, 8 * x.ndim + 8, 8)
        )
        return transpose(graph, x, [s // 8 - 1 for s in function(dummy, *rest, **kwargs).strides])

    return rule


def identity(graph: Graph, args: Args, kwargs: Kwargs, shape: Shape, dtype: Any) -> Node | None:
    """The argument itself, where it has the shape and dtype of the result."""
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
    return reshape(graph, x, shape) if only_new_axes(index) else None


def only_new_axes(index: Any) -> bool:
    """Whether an index takes everything, and at most adds axes."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        p is None or p is Ellipsis or (isinstance(p, slice) and p == slice(None)) for p in parts
    )


SHAPE_RULES: dict[Any, Rule] = {
    **dict.fromkeys((np.reshape, np.ravel, np.squeeze, np.expand_dims), _reshape),
    **dict.fromkeys((np.atleast_1d, np.atleast_2d), _reshape),
    **{f: _permute(f) for f in (np.transpose, np.swapaxes, np.moveaxis, np.rollaxis)},
    np.matrix_transpose: _permute(np.matrix_transpose),
    **dict.fromkeys((np.copy, np.asarray, np.asanyarray, np.real), identity),
    np.broadcast_to: _broadcast_to,
    np.repeat: _repeat,
    GETITEM: _getitem,
}
