"""Constants in a traced graph: what depends on no input is computed at preparation.

Knows: which aten operations make or keep a tensor that is filled with one number.
Must not know: how the graph is run.
"""

from typing import Any

import torch
from torch import fx

from diffface.backends.torch.graph.graph import (
    aten,
    aten_names,
    filled,
    filling,
    name_of,
    value_of,
)
from diffface.backends.torch.graph.look import Look

# A constant of more elements than this is computed at every run rather than kept
_LIMIT = 1 << 20

_FILLED_WITH = {
    "aten::_efficientzerotensor": 0,
    "aten::new_ones": 1,
    "aten::new_zeros": 0,
    "aten::ones": 1,
    "aten::ones_like": 1,
    "aten::zeros": 0,
    "aten::zeros_like": 0,
}
_FILLED_WITH_ARGUMENT = {
    "aten::full": 1,
    "aten::full_like": 1,
    "aten::new_full": 2,
    "aten::scalar_tensor": 0,
}
# Of tensors filled with one number each, these make another one
_ELEMENTWISE = aten_names(
    """
    _to_copy _unsafe_view abs add alias clone cos detach div exp expand lift_fresh lift_fresh_copy
    log log1p mul neg permute pow reciprocal repeat rsqrt rsub select sin slice sqrt square squeeze
    sub t transpose unsqueeze view
    """
)


def fill(node: fx.Node) -> fx.Node | None:
    """Replace a node whose result is filled with one known number by ``aten.full``."""
    name = name_of(node)
    value = node.meta["val"]
    if value.is_conj() or value.is_neg() or value.layout != torch.strided:
        return None
    if name in _FILLED_WITH:
        return filled(node, _number(_FILLED_WITH[name], value.dtype))
    if name in _FILLED_WITH_ARGUMENT and not _is_canonical(node):
        number = node.args[_FILLED_WITH_ARGUMENT[name]]
        return filled(node, _number(number, value.dtype))
    if name not in _ELEMENTWISE or not value.numel():
        return None
    inputs = node.all_input_nodes
    for x in inputs:
        if filling(x) is None:
            return None
    return filled(node, _evaluate(node).flatten()[0].item()) if inputs else None


def fold(module: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """Compute a node that depends on no input; keep the result on ``module``."""
    inputs = node.all_input_nodes
    # The offset in as_strided counts from the start of a memory that a constant's copy lacks
    if node.target in (aten.full.default, aten.as_strided.default):
        return None
    for x in inputs:
        if x.op != "get_attr" and x.target is not aten.full.default:
            return None
    values = [value_of(x) for x in (node, *inputs)]
    if any(x is None or x.numel() > _LIMIT for x in values):
        return None

    def actual(x: fx.Node) -> Any:
        return getattr(module, str(x.target)) if x.op == "get_attr" else _evaluate(x)

    args, kwargs = fx.map_arg((node.args, node.kwargs), actual)
    with torch.no_grad():
        constant: torch.Tensor = node.target(*args, **kwargs).clone()  # type: ignore[operator]
    number = _everywhere(constant)
    return keep(module, node, constant) if number is None else filled(node, number)


def _everywhere(constant: torch.Tensor) -> Any:
    """The real number that fills a tensor, the sign of a zero included; None if none does."""
    if constant.is_complex() or not constant.numel():
        return None
    first = constant.flatten()[0]
    same = (constant == first) & (torch.signbit(constant) == torch.signbit(first))
    return first.item() if bool(same.all()) else None


def keep(module: fx.GraphModule, place: fx.Node, constant: torch.Tensor) -> fx.Node:
    """Insert a constant before ``place`` whose result it is."""
    count = 0
    while hasattr(module, name := f"_folded{count}"):
        count += 1
    module.register_buffer(name, constant)
    with place.graph.inserting_before(place):
        new = place.graph.get_attr(name)
    new.meta["val"] = Look(constant)
    return new


def _number(number: Any, dtype: torch.dtype) -> Any:
    """Round a number to what a tensor of ``dtype`` holds."""
    return torch.tensor(number, dtype=dtype).item()


def _is_canonical(node: fx.Node) -> bool:
    return node.target is aten.full.default and node.kwargs.get("dtype") is not None


def _evaluate(node: fx.Node) -> torch.Tensor:
    """Run the node's operation on filled tensors that take no memory."""

    def actual(x: fx.Node) -> torch.Tensor:
        value = x.meta["val"]
        number = torch.tensor(filling(x), dtype=value.dtype, device=value.device)
        return number.expand(value.shape)

    if node.target is aten.full.default:
        return actual(node).contiguous()
    args, kwargs = fx.map_arg((node.args, node.kwargs), actual)
    with torch.no_grad():
        result: torch.Tensor = node.target(*args, **kwargs)  # type: ignore[operator]
    return result
