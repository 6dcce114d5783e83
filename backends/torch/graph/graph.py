"""A traced graph: the few questions and edits that every pass over it needs.

Knows: ``torch.fx`` nodes whose ``meta["val"]`` holds what the result looks like.
Must not know: what the operations mean.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from diffface.backends.torch.graph import look
from diffface.backends.torch.graph.look import Look

aten = torch.ops.aten


def aten_names(names: str) -> frozenset[str]:
    """Return what `name_of` gives for operations written as one text with spaces between."""
    return frozenset(f"aten::{name}" for name in names.split())


def name_of(node: fx.Node) -> str:
    """Return the name of the node's operation without its overload: ``"aten::mul"``."""
    return node.target._schema.name if isinstance(node.target, OpOverload) else ""


def value_of(x: Any) -> Look | None:
    """Return what the result of ``x`` looks like, if it is one tensor."""
    found = x.meta.get("val") if isinstance(x, fx.Node) else None
    return found if isinstance(found, Look) else None


def writes(node: fx.Node) -> bool:
    """Whether the node's operation writes to an argument."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def drop_dead(graph: fx.Graph) -> None:
    """Drop the calls and constants that nobody needs, and that do nothing besides."""
    for node in reversed(graph.nodes):
        is_unused = node.op in ("call_function", "get_attr") and not node.users
        if is_unused and not writes(node) and not is_random(node):
            graph.erase_node(node)


def is_random(node: fx.Node) -> bool:
    """Whether two calls of the node's operation may differ."""
    return (
        isinstance(node.target, OpOverload)
        and torch.Tag.nondeterministic_seeded in node.target.tags
    )


def addresses_memory(node: fx.Node) -> bool:
    """Whether the node's operation counts in the memory of its operand, whatever lies there."""
    return name_of(node).startswith("aten::as_strided")


# What these make of a zero is the same number for either sign, but for the sign of a zero
_BLIND = aten_names(
    """
    _log_softmax _log_softmax_backward_data _softmax _softmax_backward_data _to_copy _unsafe_view
    abs add addcmul addmm alias amax amin asinh atan baddbmm bmm cat clamp clamp_max clamp_min clone
    constant_pad_nd cos cosh cumsum detach dot elu eq erf erfc exp expand expm1 gather ge gelu gt
    index index_add index_put index_select le leaky_relu lift_fresh_copy log log1p logsumexp lt
    masked_fill maximum mean minimum mm mul mv ne neg permute relu rsub scatter scatter_add select
    select_backward select_scatter sigmoid sigmoid_backward silu sin sinh slice slice_backward
    slice_scatter softplus sqrt square squeeze stack sub sum t tan tanh tanh_backward
    threshold_backward transpose tril triu unsqueeze var view where
    """
)


def mark_sight_of_zero(graph: fx.Graph) -> None:
    """Note at every node whether an operation can tell the sign of a zero in its result."""
    for node in reversed(graph.nodes):
        sees = False
        for user in node.users:
            if user.op == "call_function" and (
                user.meta["sees"] or _tells_sign_of_zero(user, node)
            ):
                sees = True
                break
        node.meta["sees"] = sees


def _tells_sign_of_zero(user: fx.Node, node: fx.Node) -> bool:
    value, name = user.meta.get("val"), name_of(user)
    if not isinstance(value, Look) or value.is_complex():
        return True
    if name == "aten::div":
        return user.args[1] is node
    if user.target is aten.pow.Tensor_Scalar:
        return not user.args[1] > 0  # type: ignore[operator]
    return name not in _BLIND


def sees_sign_of_zero(node: fx.Node) -> bool:
    """Whether an operation can tell the sign of a zero in the result of ``node``."""
    return bool(node.meta.get("sees", True))


def root_of(x: Any) -> fx.Node:
    """Return the node in whose memory the result of ``x`` lies, as far as schemas tell."""
    *_, root = bases_of(x)
    return root


def bases_of(x: Any) -> Iterator[fx.Node]:
    """Yield ``x``, what it is a view of, and so on to the node whose memory it is."""
    yield x
    while x.op == "call_function":
        schema = x.target._schema if isinstance(x.target, OpOverload) else None
        if schema is not None and not any(result.alias_info for result in schema.returns):
            break
        x = x.args[0]
        yield x


def call(place: fx.Node, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
    """Insert a call before ``place`` and find out what its result looks like."""
    with place.graph.inserting_before(place):
        new = place.graph.call_function(target, args, kwargs)
    new.meta["val"] = evaluate(new)
    return new


def evaluate(node: fx.Node) -> Any:
    """Find out what the result of a call looks like, given what its operands look like."""
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda x: x.meta["val"])
    return look.evaluate(node.target, args, kwargs)  # type: ignore[arg-type]


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


def looks_like(x: Look, y: Look) -> bool:
    """Whether two results agree in all metadata."""
    return agree_but_for_strides(x, y) and x.stride() == y.stride()


def agree_but_for_strides(x: Look, y: Look) -> bool:
    """Whether two results agree in all metadata but for their layout in memory."""
    return (
        x.shape == y.shape
        and x.dtype == y.dtype
        and x.device == y.device
        and x.is_conj() == y.is_conj()
        and x.is_neg() == y.is_neg()
    )
