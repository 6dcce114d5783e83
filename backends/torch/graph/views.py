"""Views in a traced graph: reshapes and transpositions that undo each other.

Knows: which aten operations only read memory in another shape.
Must not know: how the graph is run.

Batching adds an axis before each operation and takes it away afterwards. Each step costs a call.
"""

from collections.abc import Callable
from typing import Any

from torch import fx

from diffface.backends.torch.graph.graph import aten, call, looks_like, value_of


def reshape(node: fx.Node) -> fx.Node | None:
    """The same numbers in the same order, of the first tensor that has them so."""
    base = first = node.args[0]
    if not _is_reshape(node):
        return None
    while _is_reshape(base):
        base = base.args[0]  # type: ignore[union-attr]
    if not isinstance(base, fx.Node) or base is first:
        return None
    if looks_like(base.meta["val"], node.meta["val"]):
        return base
    return call(node, aten.view.default, base, list(node.meta["val"].shape))


def transpose(node: fx.Node) -> fx.Node | None:
    """A reshape, or what was transposed before."""
    (source,) = node.args
    if not isinstance(source, fx.Node) or source.target is not node.target:
        return reshape(node)
    twice = source.args[0]
    fits = isinstance(twice, fx.Node) and looks_like(twice.meta["val"], node.meta["val"])
    return twice if fits else reshape(node)  # type: ignore[return-value]


def _is_reshape(x: Any) -> bool:
    """Whether ``x`` is a view of contiguous numbers in the same order."""
    if not isinstance(x, fx.Node) or x.target not in RULES:
        return False
    result, source = value_of(x), value_of(x.args[0])
    if result is None or source is None:
        return False
    # An axis of one may stand anywhere; any other that is moved leaves gaps.
    return source.is_contiguous() and result.is_contiguous() and result.dtype == source.dtype


RULES: dict[Any, Callable[[fx.Node], fx.Node | None]] = {
    aten._unsafe_view.default: reshape,
    aten.permute.default: reshape,
    aten.squeeze.dim: reshape,
    aten.squeeze.dims: reshape,
    aten.squeeze.default: reshape,
    aten.t.default: transpose,
    aten.transpose.int: reshape,
    aten.unsqueeze.default: reshape,
    aten.view.default: reshape,
}
