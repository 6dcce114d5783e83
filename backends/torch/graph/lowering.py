"""Lowering: the last rewriting of a graph, for replay alone.

Knows: how the backward passes of indexing look in a graph, and which operations can overwrite.
Must not know: how the operations are written down.

The backward pass of a slice pads with zeros, and the padded pieces are then summed. Adding to a
part of what is there already needs neither the padding nor the sum over all of it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from diffface.backends.torch.graph.algebra import is_power_of_two
from diffface.backends.torch.graph.constants import keep
from diffface.backends.torch.graph.graph import (
    agree_but_for_strides,
    aten,
    aten_names,
    call,
    drop_dead,
    filling,
    looks_like,
    mark_sight_of_zero,
    name_of,
    sees_sign_of_zero,
    value_of,
)

# Powers of two, and numbers, that are far from the ends of the range of float32
_SCALE, _RANGE = 2**4, 2**60
# A filled tensor of more elements than this is made anew at every run
_KEPT = 1 << 16

# These start from a copy of their first argument, unless they may write into it
SCATTERS = aten_names(
    """
    index_add index_put masked_fill scatter scatter_add select_scatter slice_scatter
    """
)


def _onto_part(part: Callable[..., Tensor], method: str) -> Callable[..., Tensor]:
    def changed(into: Tensor, x: Tensor, *where: int) -> Tensor:
        result = into.clone()
        getattr(part(result, *where), method)(x)
        return result

    return changed


_PARTS: dict[Any, Callable[..., Tensor]] = {
    aten.slice_backward.default: aten.slice.Tensor,
    aten.select_backward.default: aten.select.int,
}
# By what pads a piece: the sum of a tensor with such a piece, and the difference
_SUMS = {pad: _onto_part(part, "add_") for pad, part in _PARTS.items()}
_DIFFERENCES = {pad: _onto_part(part, "sub_") for pad, part in _PARTS.items()}
# What each of them does to a part of a tensor
LOWERED: dict[Any, str] = {
    **dict.fromkeys(_SUMS.values(), "add_"), **dict.fromkeys(_DIFFERENCES.values(), "sub_")
}  # fmt: skip


# The signs of a tensor and of a number that is added to it
_SIGNS: dict[Any, tuple[int, int]] = {
    aten.add.Tensor: (1, 1), aten.sub.Tensor: (1, -1), aten.rsub.Scalar: (-1, 1),
}  # fmt: skip


def lower(module: fx.GraphModule) -> None:
    """Fuse sums with padded pieces and with numbers, and keep filled tensors."""
    mark_sight_of_zero(module.graph)
    place = {node: i for i, node in enumerate(module.graph.nodes)}
    for node in list(module.graph.nodes):
        if node.target is aten.add.Tensor and len(node.args) == 2 and not node.kwargs:
            # What is not in the piece keeps its sign where it is zero
            if sees_sign_of_zero(node):
                continue
            # Better a negative piece, which need not be negated then
            orders = sorted(
                (node.args, node.args[::-1]), key=lambda pair: _negated(pair[1]) is None
            )
            for into, piece in orders:
                if _fits(into, piece, node):
                    positive = _negated(piece)
                    if positive is not None and place.get(positive, place[node]) >= place[node]:
                        positive = None
                    _fuse(node, into, piece, positive)
                    break
        if node.target is aten.mul.Tensor and (found := _scaled_sum(node)) is not None:
            node.replace_all_uses_with(found)
        if filling(node) is not None and not _is_overwritten(node):
            with torch.no_grad():
                node.replace_all_uses_with(
                    keep(module, node, node.target(*node.args, **node.kwargs))
                )
    drop_dead(module.graph)
    module.recompile()


def _scaled_sum(node: fx.Node) -> fx.Node | None:
    """``c k + k x`` for ``(c + x) k``, in one pass, where that is the same.

    ``k`` is a power of two, so that the sum alone is rounded, whether the product with ``k`` and it
    are fused or not. Where ``k x`` is out of range, ``c`` is too small to change ``x``.
    """
    inner: Any
    k: Any
    inner, k = node.args
    if not isinstance(inner, fx.Node) or inner.target not in _SIGNS:
        return None
    if len(inner.users) > 1 or len(inner.args) != 2 or inner.kwargs:
        return None
    x: Any
    c: Any
    x, c = inner.args
    look, before = node.meta["val"], value_of(x)
    if look.dtype not in (torch.float32, torch.float64) or not isinstance(c, int | float):
        return None
    if before is None or not agree_but_for_strides(before, look):
        return None
    if not is_power_of_two(k) or not 1 <= abs(k) <= _SCALE or not 1 / _RANGE < abs(c) < _RANGE:
        return None
    if k < 0 and sees_sign_of_zero(node):
        return None
    of_x, of_c = _SIGNS[inner.target]
    return call(node, aten.rsub.Scalar, x, of_c * c * k, -of_x * k)


def _is_overwritten(node: fx.Node) -> bool:
    """Whether a filled tensor is better made anew at every run."""
    users = [user.op == "output" or name_of(user) in SCATTERS for user in node.users]
    return any(users) or node.meta["val"].numel() > _KEPT


def _fits(into: Any, piece: Any, total: fx.Node) -> bool:
    return (
        isinstance(into, fx.Node)
        and isinstance(piece, fx.Node)
        and piece.target in _SUMS
        and len(piece.users) == 1
        and into is not piece
        and into.meta["val"].dtype.is_floating_point | into.meta["val"].dtype.is_complex
        and into.meta["val"].is_contiguous()
        and looks_like(into.meta["val"], total.meta["val"])
        and piece.meta["val"].dtype == total.meta["val"].dtype
        and piece.meta["val"].shape == total.meta["val"].shape
    )


def _negated(piece: Any) -> fx.Node | None:
    """Return a node of which a padded piece has the negative values, if there is one."""
    if not isinstance(piece, fx.Node) or piece.target not in _SUMS:
        return None
    source: Any = piece.args[0]
    if source.target is aten.neg.default:
        found: fx.Node = source.args[0]
        return found
    if source.target is not aten.mul.Tensor or not isinstance(source.args[1], int | float):
        return None
    inner, factor = source.args
    if not factor < 0:
        return None
    opposite = (
        u for u in inner.users if u.target is aten.mul.Tensor and u.args == (inner, -factor)
    )
    return next(opposite, None)


def _fuse(total: fx.Node, into: fx.Node, piece: fx.Node, positive: fx.Node | None) -> None:
    """Write ``into + piece``, of which the values are those of ``-positive`` if that is known."""
    source, _, *where = piece.args
    if positive is None:
        target, args = _SUMS[piece.target], (into, source, *where)
    else:
        target, args = _DIFFERENCES[piece.target], (into, positive, *where)
    with total.graph.inserting_before(total):
        new = total.graph.call_function(target, args)
    new.meta["val"] = total.meta["val"]
    total.replace_all_uses_with(new)
    total.graph.erase_node(total)
