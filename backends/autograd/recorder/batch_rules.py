"""What functions do when every value has the points as an axis more."""

from collections.abc import Callable
from typing import Any

import numpy as np

from diffface.backends.autograd.namespace.elementwise import cast_to
from diffface.backends.autograd.namespace.shapes import concat_along, stack_along
from diffface.backends.autograd.recorder.batch import Batch, replaced
from diffface.backends.autograd.recorder.functions import (
    cast,
    expand,
    gathered,
    joined,
    product,
    scatter,
    total,
)
from diffface.backends.autograd.recorder.graph import Args, Kwargs, Node, nodes_in
from diffface.backends.autograd.recorder.shapes import GETITEM

# None where it cannot be said.
Rule = Callable[[Batch, Node, Args, Kwargs], Node | None]


def elementwise(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    """The same function of operands that are lined up."""
    if kwargs or not all(isinstance(a, Node) for a in args):
        return None
    rank = len(node.shape)
    return batch.node(node.fn, tuple(batch.lined_up(a, rank) for a in args), node)


def _where(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    return elementwise(batch, node, args, kwargs) if len(args) == 3 else None


def _total(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    x, axes, keep = args
    axes = range(x.ndim) if axes is None else axes
    moved = tuple(int(a) % x.ndim + 1 for a in axes)
    return batch.node(total, (batch.known[x][0], moved, keep), node)


def _reduction(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    x, *rest = args
    options = dict(zip(("axis",), rest, strict=False)) | kwargs
    if len(rest) > 1 or options.keys() - {"axis", "keepdims"} or nodes_in(list(options.values())):
        return None
    axis, keep = options.get("axis"), bool(options.get("keepdims"))
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    moved = tuple(int(a) % x.ndim + 1 for a in axes)
    return batch.node(node.fn, (batch.known[x][0],), node, {"axis": moved, "keepdims": keep})


def _reshape(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    if len(args) != 2 or kwargs:
        return None
    return batch.reshaped(batch.known[args[0]][0], (batch.size, *node.shape))


def _transpose(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    x, axes = args
    return batch.transposed(batch.known[x][0], (0, *(int(a) % x.ndim + 1 for a in axes)))


def _broadcast_to(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    value = batch.lined_up(args[0], len(node.shape))
    return batch.node(np.broadcast_to, (value, (batch.size, *node.shape)), node)


def _cast(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    return batch.node(cast, (batch.known[args[0]][0], args[1]), node)


def _dot(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    a, b = args[:2]
    (x, x_moves), (y, y_moves) = batch.known[a], batch.known[b]
    if a.ndim not in (1, 2) or b.ndim not in (1, 2):
        return None
    if x_moves and y_moves and a.ndim == b.ndim == 1:
        both = batch.graph.node(np.multiply, (x, y), {}, x.shape, node.dtype)
        return batch.node(total, (both, (1,), False), node)
    if not x_moves and a.ndim == b.ndim == 1:
        return batch.node(np.matmul, (y, x), node)
    if not x_moves and b.ndim == 1 and a.ndim == 2:
        # One product of matrices, rather than many of a matrix with a vector.
        return batch.node(np.matmul, (y, batch.transposed(x, (1, 0))), node)
    if not y_moves and a.ndim == 1:
        return batch.node(np.matmul, (x, y), node)
    rows, columns = (a.shape if a.ndim == 2 else (1, *a.shape)), (*b.shape, 1)[:2]
    left = batch.reshaped(x, (batch.size, *rows) if x_moves else rows)
    right = batch.reshaped(y, (batch.size, *columns) if y_moves else columns)
    shape = (batch.size, rows[0], columns[1])
    made = batch.graph.node(np.matmul, (left, right), {}, shape, node.dtype)
    return batch.reshaped(made, (batch.size, *node.shape))


def _matmul(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    if kwargs or len(args) != 2 or min(a.ndim for a in args) < 2:
        return None
    rank = len(node.shape)
    return batch.node(np.matmul, tuple(batch.lined_up(a, rank) for a in args), node)


def _getitem(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    x, index = args
    value, moves = batch.known[x]
    place = _shifted(batch, index)
    return None if place is None or not moves else batch.node(GETITEM, (value, place), node)


def _scatter(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    base, shape, dtype, index, x = args
    place = _shifted(batch, index)
    if place is None:
        return None
    start = None if base is None else batch.spread(base)
    # What it is added to has as many axes as what the index takes.
    rank = np.empty(shape, bool)[_values(index)].ndim
    added = batch.lined_up(x, rank)
    return batch.node(scatter, (start, (batch.size, *shape), dtype, place, added), node)


def _array(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    parts = args[0] if len(args) == 1 and type(args[0]) is list and not kwargs else []
    if not parts or not all(isinstance(p, Node) and p.shape == node.shape[1:] for p in parts):
        return None
    return batch.node(np.stack, ([batch.spread(p) for p in parts], 1), node)


def _concatenate(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    parts, axis = args
    if kwargs or not isinstance(axis, int) or not all(isinstance(p, Node) for p in parts):
        return None
    spread = tuple(batch.spread(p) for p in parts)
    return batch.node(np.concatenate, (spread, axis % len(node.shape) + 1), node)


def _joined_whole(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    return _concatenate(batch, node, (args[0], 0), kwargs)


def _joined(fn: Any) -> Rule:
    """The rule of a function of an axis and then arrays, of one shape or of several."""

    def rule(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
        axis, *parts = args
        if kwargs or not isinstance(axis, int) or not all(isinstance(p, Node) for p in parts):
            return None
        spread = tuple(batch.spread(p) for p in parts)
        return batch.node(fn, (spread, axis % len(node.shape) + 1), node)

    return rule


def _elementwise_function(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    return None if len(args) != 1 or kwargs else elementwise(batch, node, args, kwargs)


def _of_matrices(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    """NumPy's functions of matrices take axes before those of the matrix."""
    if kwargs or not all(isinstance(a, Node) and a.ndim == 2 for a in args):
        return None
    return batch.node(node.fn, tuple(batch.spread(a) for a in args), node)


def _solve(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    a, b = args
    if kwargs or a.ndim != 2 or b.ndim not in (1, 2):
        return None
    right = batch.spread(b)
    columns = batch.reshaped(right, (*right.shape, 1)[:3])
    args = batch.spread(a), columns
    made = batch.graph.node(np.linalg.solve, args, {}, columns.shape, node.dtype)
    return batch.reshaped(made, (batch.size, *node.shape))


def _along_axis(batch: Batch, node: Node, args: Args, kwargs: Kwargs) -> Node | None:
    x, *rest = args
    options = dict(zip(("axis",), rest, strict=False)) | kwargs
    axis = options.get("axis", 0 if x.ndim == 1 else None)
    if len(rest) > 1 or options.keys() - {"axis"}:
        return None
    axis = 0 if axis is None and x.ndim == 1 else axis
    if isinstance(axis, tuple) and len(axis) == 1:
        (axis,) = axis
    if not isinstance(axis, int):
        return None
    return batch.node(node.fn, (batch.known[x][0],), node, {"axis": axis % x.ndim + 1})


def _shifted(batch: Batch, index: Any) -> Any:
    """An index behind the axis of the points; None where that would mean something else."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(not n.is_constant for n in nodes_in(index)):
        return None
    arrays = [p for p in parts if isinstance(p, (Node, list, np.ndarray, bool, np.bool_))]
    # An array among integers or beside another one may move its axes to the front.
    if arrays and (len(arrays) > 1 or any(isinstance(p, (int, np.integer)) for p in parts)):
        return None
    return (slice(None), *replaced(parts, batch.plain))


def _values(index: Any) -> Any:
    if isinstance(index, Node):
        return index.value
    if isinstance(index, tuple):
        return tuple(map(_values, index))
    if isinstance(index, slice):
        return slice(*map(_values, (index.start, index.stop, index.step)))
    return index


def _raw(primitive: Any) -> Any:
    """What autograd calls."""
    return primitive.fun


RULES: dict[Any, Rule] = {
    total: _total,
    **dict.fromkeys((np.max, np.amax, np.min, np.amin, np.prod), _reduction),
    np.where: _where,
    np.reshape: _reshape,
    np.transpose: _transpose,
    **dict.fromkeys((np.broadcast_to, expand), _broadcast_to),
    cast: _cast,
    **dict.fromkeys((np.dot, product), _dot),
    np.matmul: _matmul,
    GETITEM: _getitem,
    scatter: _scatter,
    np.array: _array,
    np.concatenate: _concatenate,
    joined: _joined_whole,
    gathered: _getitem,
    _raw(concat_along): _joined(np.concatenate),
    _raw(stack_along): _joined(np.stack),
    _raw(cast_to): _cast,
    **dict.fromkeys((np.real, np.imag, np.angle, np.nan_to_num), _elementwise_function),
    **dict.fromkeys((np.linalg.inv, np.linalg.det, np.linalg.cholesky), _of_matrices),
    np.linalg.solve: _solve,
    **dict.fromkeys((np.cumsum, np.cumprod, np.flip), _along_axis),
}
