"""A traced graph: the few questions and edits that every pass over it needs.

Knows: ``torch.fx`` nodes whose ``meta["val"]`` holds a fake tensor.
Must not know: what the operations mean.
"""

from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

aten = torch.ops.aten


def aten_names(names: str) -> frozenset[str]:
    """Return what `name_of` gives for operations written as one text with spaces between."""
    return frozenset(f"aten::{name}" for name in names.split())


def name_of(node: fx.Node) -> str:
    """Return the name of the node's operation without its overload: ``"aten::mul"``."""
    return node.target._schema.name if isinstance(node.target, OpOverload) else ""


def value_of(x: Any) -> torch.Tensor | None:
    """Return the fake tensor that stands for the result of ``x``, if it is one tensor."""
    found = x.meta.get("val") if isinstance(x, fx.Node) else None
    return found if isinstance(found, torch.Tensor) else None


def is_random(node: fx.Node) -> bool:
    """Whether two calls of the node's operation may differ."""
    return (
        isinstance(node.target, OpOverload)
        and torch.Tag.nondeterministic_seeded in node.target.tags
    )


def root_of(x: Any) -> fx.Node:
    """Return the node in whose memory the result of ``x`` lies, as far as schemas tell."""
    while x.op == "call_function":
        schema = x.target._schema if isinstance(x.target, OpOverload) else None
        if schema is not None and not any(result.alias_info for result in schema.returns):
            break
        x = x.args[0]
    found: fx.Node = x
    return found


def call(place: fx.Node, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
    """Insert a call before ``place`` and find out what its result looks like."""
    with place.graph.inserting_before(place):
        new = place.graph.call_function(target, args, kwargs)
    fake = place.meta["val"]
    fake_args, fake_kwargs = fx.map_arg((args, kwargs), lambda node: node.meta["val"])
    with fake.fake_mode:
        new.meta["val"] = target(*fake_args, **fake_kwargs)
    return new


def filled(place: fx.Node, number: Any) -> fx.Node:
    """Insert before ``place`` a tensor that looks like its result, with one number everywhere."""
    like = place.meta["val"]
    return call(
        place,
        aten.full.default,
        list(like.shape),
        number,
        dtype=like.dtype,
        device=like.device,
    )


def filling(x: Any) -> Any:
    """Return the number that fills a tensor, or that ``x`` is; None for anything else."""
    if isinstance(x, fx.Node):
        return x.args[1] if x.target is aten.full.default else None
    return x if isinstance(x, (int, float, complex)) and not isinstance(x, bool) else None


def looks_like(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether two fake tensors agree in all metadata."""
    return (
        x.shape == y.shape
        and x.dtype == y.dtype
        and x.device == y.device
        and x.stride() == y.stride()
        and x.is_conj() == y.is_conj()
        and x.is_neg() == y.is_neg()
    )
