"""Functional graphs: what a freshly recorded graph has that a functional one must not have.

Knows: how torch records writes, batched writes and sums with symbolic zeros.
Must not know: how a graph is recorded.
"""

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from diffface.backends.errors import CannotRecord
from diffface.backends.torch.graph.graph import aten, drop_dead, looks_like, root_of, writes


def written(func: Any, args: Any, kwargs: Any) -> Iterator[Any]:
    """Yield the arguments that ``func`` writes to, lists of tensors taken apart."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[position] if position < len(args) else kwargs.get(argument.name)
            yield from given if isinstance(given, (list, tuple)) else (given,)


def drop_expands(module: fx.GraphModule) -> None:
    """Drop the expansions that expand nothing.

    Functionalisation undoes an expansion as ``base + (view - base)``, which is wrong where the
    base is memory that nobody has written yet; torch's batching makes such expansions.
    """
    for node in module.graph.nodes:
        source = node.args[0] if node.target is aten.expand.default else None
        if source is not None and looks_like(source.meta["val"], node.meta["val"]):
            node.replace_all_uses_with(source)


def return_to_device(module: fx.GraphModule) -> bool:
    """Undo copies to the device "meta", which torch traces where it adds to a symbolic zero.

    The shape of such a sum is computed on that device, where tensors have no values. Some sums
    then stay there; the copy back to where the operands are is missing.
    """
    drop_dead(module.graph)
    found = False
    for node in module.graph.nodes:
        device = node.kwargs.get("device") if node.target is aten._to_copy.default else None
        if device is not None and device.type == "meta":
            node.kwargs = {**node.kwargs, "device": node.args[0].meta["val"].device}
            found = True
    module.recompile()
    return found


def pass_captured(module: fx.GraphModule) -> list[torch.Tensor]:
    """Make the captured tensors the first inputs of ``module``; returns them.

    Functionalisation knows the memory of inputs alone: it cannot follow what is written to a copy
    of another tensor.
    """
    used = [node for node in module.graph.nodes if node.op == "get_attr"]
    names = dict.fromkeys(str(node.target) for node in used)
    with module.graph.inserting_before(next(iter(module.graph.nodes))):
        inputs = {name: module.graph.placeholder(name) for name in names}
    for node in used:
        node.replace_all_uses_with(inputs[str(node.target)])
        module.graph.erase_node(node)
    module.recompile()
    return [getattr(module, name) for name in names]


def drop_writes(module: fx.GraphModule) -> None:
    """Forget the writes to the inputs, which functionalisation leaves at the end.

    The caller's arrays are the caller's: what a program scribbles on them is nobody's result.
    """
    for node in reversed(module.graph.nodes):
        if writes(node):
            if node.target is not aten.copy_.default or node.args[0].op != "placeholder":
                raise CannotRecord(f"it writes to a tensor in place with {node.target}")
            node.replace_all_uses_with(node.args[1])
            module.graph.erase_node(node)


def check_plain(module: fx.GraphModule) -> None:
    """Refuse what is not a graph of plain operations on plain tensors."""
    for node in module.graph.nodes:
        if node.op == "call_function":
            if not isinstance(node.target, OpOverload) and node.target is not operator.getitem:
                raise CannotRecord(f"it uses the higher-order operation {node.target}")
            # One that is written to through a view looks like an intermediate to the fake mode
            into = written(node.target, node.args, node.kwargs) if writes(node) else ()
            if any(root_of(x).op == "get_attr" for x in into if isinstance(x, fx.Node)):
                raise CannotRecord("it writes to a tensor that it captured")
        elif node.op == "get_attr":
            value = getattr(module, str(node.target), None)
            if not isinstance(value, torch.Tensor):
                raise CannotRecord(f"it captured an object of torch, {value!r}")
            if value.layout != torch.strided or value.is_quantized:
                raise CannotRecord(f"it captured a tensor of layout {value.layout}")


def carries(module: fx.GraphModule) -> bool:
    """Whether it captured a tensor that requires grad, not detached and no module's parameter."""
    for node in module.graph.nodes:
        if node.op == "get_attr" and any(x.target is not aten.detach.default for x in node.users):
            value = getattr(module, str(node.target))
            if value.requires_grad and not isinstance(value, torch.nn.Parameter):
                return True
    return False


def copy_captured(module: fx.GraphModule) -> None:
    """Copy the captured tensors, each once, so that later writes to them do not show."""
    copies: dict[int, torch.Tensor] = {}
    for name in {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}:
        value = getattr(module, name)
        if id(value) not in copies:
            with torch.no_grad():
                copies[id(value)] = value.detach().clone(memory_format=torch.contiguous_format)
        delattr(module, name)
        setattr(module, name, copies[id(value)])
