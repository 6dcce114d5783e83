"""Segments: sums of padded pieces, in the form that inductor compiles well.

Knows: what the operations are that pad, and that a zero which is added may be left out.
Must not know: where the sums come from.

The backward pass of slices pads each piece with zeros. Code for the sum asks at every element which
pieces reach it. Between two ends of pieces the answer is the same: the sum is put together from
such segments, each of which is computed by vector instructions.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from torch import fx

from diffface.backends.torch.graph.graph import (
    aten,
    call,
    drop_dead,
    mark_sight_of_zero,
    sees_sign_of_zero,
    value_of,
)

# To put fewer numbers together takes longer than to ask
_MANY = 1 << 12
# So many segments are code enough
_MOST = 8

_SUMS = (aten.add.Tensor, aten.sub.Tensor)
_PADS = (aten.slice_backward.default, aten.select_backward.default)


def join_segments(module: fx.GraphModule) -> None:
    """Put together from segments the sums in the graph of ``module`` that gain by it.

    They are results, which have to be in memory anyway, and sums in which no two pieces meet.
    """
    mark_sight_of_zero(module.graph)
    for node in reversed(list(module.graph.nodes)):
        if node.target in _SUMS and node.users and not sees_sign_of_zero(node):
            new = _joined(node)
            if new is not None:
                node.replace_all_uses_with(new)
                drop_dead(module.graph)
    module.recompile()


def _joined(root: fx.Node) -> fx.Node | None:
    look = root.meta["val"]
    is_plain = look.device.type == "cpu" and look.dtype.is_floating_point and look.is_contiguous()
    if not is_plain or look.numel() < _MANY:
        return None
    leaves = list(_leaves(root, root))
    pieces = [leaf for leaf in leaves if leaf.target in _PADS]
    if not pieces or len(leaves) > _MOST:
        return None
    axis = _place(pieces[0])[0]
    pieces = [piece for piece in pieces if _place(piece)[0] == axis]
    ends = {0, look.shape[axis], *(end for piece in pieces for end in _place(piece)[1:])}
    edges = sorted(ends)
    is_result = all(user.op == "output" for user in root.users)
    if not 3 <= len(edges) <= _MOST or not (is_result or _are_apart(pieces, leaves)):
        return None
    parts = [_part(root, root, axis, *ends) for ends in itertools.pairwise(edges)]
    shape = list(look.shape)
    for i, part in enumerate(parts):
        if part is None:
            shape[axis] = edges[i + 1] - edges[i]
            where = {"dtype": look.dtype, "device": look.device}
            parts[i] = call(root, aten.full.default, list(shape), 0.0, **where)
    return call(root, aten.cat.default, parts, axis)


def _leaves(node: Any, root: fx.Node) -> Iterator[fx.Node]:
    """What is summed, first to last; not more than can be used."""
    pending, count = [node], 0
    while pending and count <= _MOST:
        node = pending.pop()
        if _is_sum(node, root):
            pending += node.args[::-1]
        else:
            count += 1
            yield node


def _is_sum(node: fx.Node, root: fx.Node) -> bool:
    """Whether ``node`` is ``root``, or a sum that nothing but ``root`` needs."""
    if node.target not in _SUMS or len(node.args) != 2 or node.kwargs:
        return False
    if node is not root and len(node.users) != 1:
        return False
    like = root.meta["val"]
    values = [value_of(a) for a in (node, *node.args)]
    return all(v is not None and (v.shape, v.dtype) == (like.shape, like.dtype) for v in values)


def _place(piece: fx.Node) -> tuple[int, int, int]:
    """The axis along which something is padded, and from where to where it lies there.

    From and to are those of all where there are gaps.
    """
    shape = piece.meta["val"].shape
    axis: Any = piece.args[2]
    axis %= len(shape)
    n = shape[axis]
    if piece.target is aten.select_backward.default:
        index: Any = piece.args[3]
        return axis, index % n, index % n + 1
    start, end, step = piece.args[3:]
    start, end, _ = slice(start, end).indices(n)
    return (axis, start, max(start, end)) if step == 1 else (axis, 0, n)


def _are_apart(pieces: list[fx.Node], leaves: list[fx.Node]) -> bool:
    places = sorted(_place(piece)[1:] for piece in pieces)
    apart = all(end <= start for (_, end), (start, _) in itertools.pairwise(places))
    return apart and len(pieces) == len(leaves)


def _part(node: Any, root: fx.Node, axis: int, start: int, end: int) -> fx.Node | None:
    """The sum from ``start`` to ``end``; None if nothing reaches there."""
    if _is_sum(node, root):
        a, b = (_part(each, root, axis, start, end) for each in node.args)
        if b is None:
            return a
        if a is None:
            return b if node.target is aten.add.Tensor else call(root, aten.neg.default, b)
        return call(root, node.target, a, b)
    first = 0
    if node.target in _PADS and _place(node)[0] == axis:
        _, first, last = _place(node)
        if not first <= start < end <= last:
            return None
        if last - first < root.meta["val"].shape[axis]:
            source = node.args[0]
            is_row = node.target is aten.select_backward.default
            node = call(root, aten.unsqueeze.default, source, axis) if is_row else source
        else:
            first = 0
    return call(root, aten.slice.Tensor, node, axis, start - first, end - first)
