"""Parts of tensors in a traced graph: slices and rows that are read, written and padded.

Knows: what the aten operations on parts mean.
Must not know: how the graph is run.

A function that writes into memory becomes a chain of scatters, each of which copies all of it, and
its derivative reads the parts back. These rules keep every number to the bit.
"""

import math
from collections.abc import Callable
from typing import Any

from torch import fx

from diffface.backends.torch.graph.graph import (
    addresses_memory,
    agree_but_for_strides,
    aten,
    call,
    drop_dead,
    filling,
    name_of,
    root_of,
    value_of,
)

_WHOLE: tuple[Any, ...] = (0, None, None, 1)
# Where their part stands among the arguments, and whether it has a start and an end
_PLACES: dict[Any, tuple[int, bool]] = {
    aten.slice.Tensor: (1, True),
    aten.select.int: (1, False),
    aten.slice_scatter.default: (2, True),
    aten.select_scatter.default: (2, False),
    aten.slice_backward.default: (2, True),
    aten.select_backward.default: (2, False),
}
_WRITERS: dict[Any, tuple[Any, Any]] = {
    aten.slice.Tensor: (aten.slice_scatter.default, aten.slice_backward.default),
    aten.select.int: (aten.select_scatter.default, aten.select_backward.default),
}
_PADS: dict[Any, Any] = {
    aten.slice_scatter.default: aten.slice_backward.default,
    aten.select_scatter.default: aten.select_backward.default,
}


def scatter(node: fx.Node) -> fx.Node | None:
    """What is written over nothing but zeros is padded; what is written over twice, once."""
    if node.kwargs:
        return None
    into, source, *_ = node.args
    place = _place(node)
    if is_plus_zero(filling(into)):
        shape = list(node.meta["val"].shape)
        return call(node, _PADS[node.target], source, shape, *place)
    if into.target is node.target and _place(into) == place:  # type: ignore[union-attr,arg-type]
        return call(node, node.target, into.args[0], source, *place)  # type: ignore[union-attr]
    return None


def read(node: fx.Node) -> fx.Node | None:
    """A part that was just written or padded is what was put there."""
    source: Any = node.args[0]
    writer, pad = _WRITERS[node.target]
    if source.target not in (writer, pad) or source.kwargs or _place(source) != _place(node):
        return None
    found = source.args[1 if source.target is writer else 0]
    return found if _agree(found, node) else None


def copy(node: fx.Node) -> fx.Node | None:
    """What is copied into all of a tensor is there, whatever was there before."""
    source: Any = node.args[1]
    into, value = node.meta["val"], value_of(source)
    if value is None or value.dtype != into.dtype or value.device != into.device:
        return None
    if _agree(source, node):
        return source  # type: ignore[no-any-return]
    if value.shape == into.shape or into.is_conj() or into.is_neg():
        return None
    return call(node, aten.expand.default, source, list(into.shape))


def name_parts(module: fx.GraphModule) -> None:
    """Write views by address (as_strided) as slices and rows, where they are that.

    Torch's backward pass of a write into a part counts in the memory of the whole.
    """
    for node in module.graph.nodes:
        if not addresses_memory(node):
            continue
        is_view = name_of(node) == "aten::as_strided"
        if not is_view and name_of(node) != "aten::as_strided_scatter":
            continue
        whole, *address = node.args
        source = None if is_view else address.pop(0)
        views = _views(node, whole, *address)
        if views is None:
            continue
        new: Any = views[-1] if is_view else source
        for view in () if is_view else reversed(views[1:]):
            write = _WRITERS[view.target][0]
            new = call(node, write, view.args[0], new, *view.args[1:])
        if _agree(new, node):
            node.replace_all_uses_with(new)
    drop_dead(module.graph)


def _views(
    node: fx.Node, whole: Any, size: Any, stride: Any, offset: Any = None
) -> list[fx.Node] | None:
    """``whole`` and the slices and rows, each of the one before, that lead to an address."""
    base = whole.meta["val"]
    start = 0 if offset is None else offset - base.storage_offset()
    # An argument may lie elsewhere at run time
    if root_of(whole).op != "call_function" or not base.is_contiguous():
        return None
    if not 0 <= start < base.numel() or not math.prod(size):
        return None
    views, wanted = [whole], list(zip(size, stride, strict=True))
    rows = []
    for dim, (n, step) in enumerate(zip(base.shape, _strides(base.shape), strict=True)):
        first, start = divmod(start, step)
        count, by = wanted[0] if wanted else (0, 0)
        by = 1 if count == 1 else by // step if by % step == 0 else 0
        last = first + (count - 1) * by
        if not count or not by or last >= n:
            rows.append((dim, first))
            continue
        wanted.pop(0)
        if count != n:
            views.append(call(node, aten.slice.Tensor, views[-1], dim, first, last + 1, by))
    for dim, first in reversed(rows):
        views.append(call(node, aten.select.int, views[-1], dim, first))
    found = views[-1].meta["val"]
    expected = tuple(size), tuple(stride)
    return views if (tuple(found.shape), found.stride()) == expected else None


def _strides(shape: Any) -> list[int]:
    """Those of a contiguous tensor."""
    return [math.prod(shape[dim + 1 :]) for dim in range(len(shape))]


def _place(node: fx.Node) -> tuple[int, ...]:
    """The dim and index, or dim, start, end and step, of the part that an operation is about."""
    position, is_slice = _PLACES[node.target]
    whole: Any = node if node.target in _PADS.values() else node.args[0]
    shape = whole.meta["val"].shape
    given: Any = node.args[position:]
    if not is_slice:
        dim, index = given
        return dim % len(shape), index % shape[dim]
    dim, start, end, step = tuple(given) + _WHOLE[len(given) :]
    start, end, _ = slice(start, end).indices(shape[dim])
    return dim % len(shape), start, max(start, end), step


def _agree(x: Any, y: fx.Node) -> bool:
    value = value_of(x)
    return value is not None and agree_but_for_strides(value, y.meta["val"])


def is_plus_zero(number: Any) -> bool:
    """Whether it is a real zero without a sign."""
    return isinstance(number, (int, float)) and number == 0 and math.copysign(1, number) == 1


# Keyed by operation, for `diffface.backends.torch.graph.algebra`
RULES: dict[Any, Callable[[fx.Node], fx.Node | None]] = {
    aten.copy.default: copy,
    aten.select.int: read,
    aten.select_scatter.default: scatter,
    aten.slice.Tensor: read,
    aten.slice_scatter.default: scatter,
}
