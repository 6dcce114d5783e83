"""Gathers: elements of arrays by index, in the form that inductor compiles well."""

from typing import Any

import torch
from torch import fx

from diffface.backends.compiled import Arrays
from diffface.backends.torch.graph.graph import aten

GATHERS = (aten.index_select.default, aten.index.Tensor, aten.gather.default)
# As `gather_within` writes them
_UNCHECKED = (aten.gather.default, aten.index_put.default)
_RESHAPES = (aten.view.default, aten.reshape.default, aten._unsafe_view.default)
_WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)


def gather_within(module: fx.GraphModule, constants: Arrays) -> tuple[Arrays, set[int]]:
    """Let constant indices that are all within a vector be used as they are.

    Inductor would look for negative ones and add the length, at every call.

    Parameters
    ----------
    module : GraphModule
        It is changed; after its inputs it takes the constants.
    constants : tuple of Tensor
        Their values.

    Returns
    -------
    constants : tuple of Tensor
        Those to pass from now on: `aten.gather` takes indices of 64 bits alone.
    within : set of int
        Which of all inputs are such indices.
    """
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    start = len(inputs) - len(constants)
    found, within = list(constants), set()
    for n, (index, value) in enumerate(zip(inputs[start:], constants, strict=True)):
        users = list(index.users)
        if not (users and all(_takes(user, index, value) for user in users)):
            continue
        found[n] = value.to(torch.int64)
        index.meta["val"] = found[n]
        within.add(start + n)
        for user in users:
            if user.target is aten.scatter.src:
                # Of these alone inductor makes one after the other in the same memory.
                user.args = (user.args[0], [index], user.args[3])
                user.target = aten.index_put.default
            else:
                user.args = (user.args[0], 0, index)
                user.target = aten.gather.default
    module.recompile()
    return tuple(found), within


def _takes(node: fx.Node, index: fx.Node, value: torch.Tensor) -> bool:
    """Whether ``node`` takes or writes elements of a vector at ``index``, none of them outside."""
    source: Any
    values: Any = None
    axis: Any = 0
    if node.target is aten.index_select.default:
        source, axis, at = node.args
    elif node.target is aten.index.Tensor:
        source, indices = node.args
        at = indices[0] if isinstance(indices, list) and len(indices) == 1 else None
    elif node.target is aten.scatter.src:
        source, axis, at, values = node.args
    else:
        return False
    if source is index or at is not index or value.ndim != 1 or not value.numel():
        return False
    if values is not None and (values is index or not _are_places(value, values)):
        return False
    length = source.meta["val"].shape
    fits = len(length) == 1 and axis in (0, -1) and value.dtype in (torch.int32, torch.int64)
    return bool(fits and value.min() >= 0 and value.max() < length[0])


def _are_places(index: torch.Tensor, values: fx.Node) -> bool:
    """Whether each of the values has a place of its own."""
    return index.shape == values.meta["val"].shape and len(index.unique()) == len(index)


def all_within(module: fx.GraphModule, within: set[int]) -> bool:
    """Whether the only whole numbers that anything reads are indices by `gather_within`."""
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    known = {inputs[n] for n in within}
    for node in module.graph.nodes:
        for read in node.all_input_nodes:
            is_known = read in known and node.target in _UNCHECKED
            value = read.meta.get("val")
            whole = not isinstance(value, torch.Tensor) or value.dtype in _WHOLE
            if node.op == "call_function" and whole and not is_known:
                return False
    return bool(within)


def compute_before_gathers(module: fx.GraphModule) -> None:
    """Keep arrays in memory from which about all elements are gathered.

    Inductor would compute each of them anew for each index.
    """
    for node in list(module.graph.nodes):
        if node.target not in GATHERS or node.args[0].op == "placeholder":
            continue
        source, value = node.args[0], node.args[0].meta["val"]
        if 2 * node.meta["val"].numel() < value.numel():
            continue
        # In the shape in which it is computed: inductor vectorizes no loop over two axes in one.
        made = source
        while made.target in _RESHAPES:
            made = made.args[0]
        copy = copied(made, node)
        copy.meta["val"] = made.meta["val"].contiguous()
        # This is how inductor is told: it works on memory, and on nothing else.
        place = list(value.shape), list(value.contiguous().stride()), 0
        with module.graph.inserting_before(node):
            kept = module.graph.call_function(aten.as_strided.default, (copy, *place))
        kept.meta["val"] = value.contiguous()
        node.replace_input_with(source, kept)
    module.recompile()


def copied(node: fx.Node, before: fx.Node) -> fx.Node:
    """A copy of the value of ``node``, contiguous, made before another node."""
    kwargs: Any = {"memory_format": torch.contiguous_format}
    with before.graph.inserting_before(before):
        return before.graph.call_function(aten.clone.default, (node,), kwargs)
