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

from diffface.backends.torch.graph.constants import keep
from diffface.backends.torch.graph.graph import (
    aten,
    aten_names,
    drop_dead,
    filling,
    looks_like,
    mark_sight_of_zero,
    name_of,
    sees_sign_of_zero,
)

# A filled tensor of more elements than this is made anew at every run
_KEPT = 1 << 16

# These start from a copy of their first argument, unless they may write into it
SCATTERS = aten_names(
    """
    index_add index_put masked_fill scatter scatter_add select_scatter slice_scatter
    """
)


def add_slice(into: Tensor, x: Tensor, dim: int, start: int, end: int, step: int) -> Tensor:
    """Return ``into`` with ``x`` added to a slice of it."""
    result = into.clone()
    aten.slice.Tensor(result, dim, start, end, step).add_(x)
    return result


def add_select(into: Tensor, x: Tensor, dim: int, index: int) -> Tensor:
    """Return ``into`` with ``x`` added to one row of it."""
    result = into.clone()
    result.select(dim, index).add_(x)
    return result


_SUMS: dict[Any, Callable[..., Tensor]] = {
    aten.slice_backward.default: add_slice,
    aten.select_backward.default: add_select,
}
LOWERED = frozenset(_SUMS.values())


def lower(module: fx.GraphModule) -> None:
    """Fuse sums of padded pieces, and keep filled tensors, in the graph of ``module``."""
    mark_sight_of_zero(module.graph)
    for node in list(module.graph.nodes):
        if node.target is aten.add.Tensor and len(node.args) == 2 and not node.kwargs:
            # What is not in the piece keeps its sign where it is zero
            if sees_sign_of_zero(node):
                continue
            for into, piece in (node.args, node.args[::-1]):
                if _fits(into, piece, node):
                    _fuse(node, into, piece)
                    break
        if filling(node) is not None and not _is_overwritten(node):
            with torch.no_grad():
                node.replace_all_uses_with(
                    keep(module, node, node.target(*node.args, **node.kwargs))
                )
    drop_dead(module.graph)
    module.recompile()


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


def _fuse(total: fx.Node, into: fx.Node, piece: fx.Node) -> None:
    source, _, *where = piece.args
    with total.graph.inserting_before(total):
        new = total.graph.call_function(_SUMS[piece.target], (into, source, *where))
    new.meta["val"] = total.meta["val"]
    total.replace_all_uses_with(new)
    total.graph.erase_node(total)
