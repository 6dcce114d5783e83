"""Attention of short sequences: products of matrices, in place of torch's fused kernel.

Knows: the fused kernel for the processor, its backward pass, and what they hand over.
Must not know: what the products are compiled to.

The fused kernel works through long sequences in blocks, so that the weights need not be in memory,
and computes them again in its backward pass. Where all of them fit into the cache of a core, they
are kept here, and products of all heads at once take two thirds of the time.
"""

from typing import Any

import torch
from torch import Tensor, fx

from diffface.backends.torch.graph.graph import aten

_FUSED = aten._scaled_dot_product_flash_attention_for_cpu.default
_BACKWARD = aten._scaled_dot_product_flash_attention_for_cpu_backward.default
# So many bytes of weights are in the cache from one product to the next
_CACHE = 1 << 20
# Others the fused kernel computes with in float32
_DTYPES = (torch.float32, torch.float64)


def open_attention(module: fx.GraphModule) -> None:
    """Put products and a softmax in the place of fused attention of short sequences.

    Parameters
    ----------
    module : GraphModule
        With a `Look` in every ``meta["val"]``; that of the weights stays the one of what the fused
        kernel hands over. Results lie in memory as they did, for the views that follow.
    """
    for node in list(module.graph.nodes):
        if node.target is not _FUSED or not _is_short(node):
            continue
        results = [user for user in node.users if user.args[1] == 0]
        handed = [user for user in node.users if user.args[1] == 1]
        passes = [user for each in handed for user in each.users]
        if any(user.target is not _BACKWARD or user.args[5] not in handed for user in passes):
            continue  # what is handed over is needed for itself
        q = node.args[0].meta["val"]
        scale = node.kwargs.get("scale")
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        _compute(node, _attention, (*node.args[:3], scale), results)
        for each in passes:
            g, q, k, v, _, weights = each.args[:6]
            _compute(each, _attention_backward, (g, q, k, v, weights, scale), list(each.users))
    module.recompile()


def _is_short(node: fx.Node) -> bool:
    q, k, v = (x.meta["val"] for x in node.args[:3])  # type: ignore[union-attr]
    others = [*node.args[3:], *(x for name, x in node.kwargs.items() if name != "scale")]
    return (
        not any(others)  # no dropout, no mask
        and q.dtype in _DTYPES
        and q.shape[:2] == k.shape[:2] == v.shape[:2]
        and bool(q.numel() and k.numel())
        and q.shape[:3].numel() * k.shape[2] * q.dtype.itemsize <= _CACHE
    )


def _compute(node: fx.Node, target: Any, args: tuple[Any, ...], results: list[fx.Node]) -> None:
    """Let ``target`` compute what ``node`` does, with ``results`` laid out as they were."""
    node.target, node.args, node.kwargs = target, args, {}
    for result in results:
        with node.graph.inserting_after(result):
            new = node.graph.call_function(_laid_out, (result, result.meta["val"].stride()))
        new.meta = dict(result.meta)
        for user in list(result.users):
            if user is not new:
                user.replace_input_with(result, new)


def _laid_out(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    order = sorted(range(x.dim()), key=lambda axis: -strides[axis])
    return x.permute(order).contiguous().permute([order.index(axis) for axis in range(x.dim())])


# The weights are kept with a column for each query: inductor computes many columns at once.


def _attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    weights = torch.softmax(k @ q.mT * scale, -2)
    return weights.mT @ v, weights


def _attention_backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, weights: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    scores = aten._softmax_backward_data(v @ g.mT, weights, -2, weights.dtype) * scale
    return scores.mT @ k, scores @ q, weights @ g
