"""Memory of the results in a graph: which are new, and which may be written over.

Knows: which aten operations return memory of their own.
Must not know: what is done with the answer.

An operation that is not listed here is taken to return a view of any of its inputs.
"""

import operator
from typing import Any

import torch
from torch import fx

from diffface.backends.recording.lifetimes import Lifetimes
from diffface.backends.recording.workspace import Form
from diffface.backends.torch.graph.graph import aten_names, looks_like, name_of
from diffface.backends.torch.graph.look import Look
from diffface.backends.torch.graph.lowering import LOWERED, SCATTERS
from diffface.backends.torch.host import HOST

_ALLOCATING = aten_names(
    """
    _log_softmax _log_softmax_backward_data _softmax _softmax_backward_data abs acos add addcdiv
    addcmul addmm amax amin asin atan atan2 baddbmm bmm cat clamp clamp_max clamp_min clone
    constant_pad_nd cos cosh cumsum div dot elu eq erf erfc exp exp2 expm1 full gather ge gelu
    gt index index_put index_select le leaky_relu log log10 log1p log2 logical_and logical_not
    logical_or lt masked_fill maximum mean minimum mm mul mv ne neg pow prod reciprocal relu
    rsqrt rsub scatter select_backward select_scatter sigmoid sigmoid_backward sign silu sin sinh
    slice_backward slice_scatter softplus sqrt square stack sub sum tan tanh tanh_backward
    threshold_backward tril triu var where
    """
)


# Operations of torch's own.
_NAMESPACES = ("aten", "prims")

# Of their first argument, and of nothing else.
_VIEWS = aten_names("permute squeeze t transpose unsqueeze view")


def allocates(node: fx.Node) -> bool:
    """Whether the node's result surely is in new memory, and no view of it."""
    if node.target in LOWERED:
        return True
    if node.target is operator.getitem:
        # Each result of a call of the host lies in memory of its own
        source, position = node.args
        same = [user for user in source.users if user.args[1:] == (position,)]  # type: ignore[union-attr]
        return source.target is HOST and same == [node]  # type: ignore[union-attr]
    value: Any = node.meta.get("val")
    return name_of(node) in _ALLOCATING and not value.is_conj() and not value.is_neg()


def is_whole(node: fx.Node) -> bool:
    """Whether the node's result, contiguous, surely is all of a new memory, as a view or not."""
    count = node.meta["val"].numel()
    while not allocates(node):
        if name_of(node) not in _VIEWS:
            return False
        node = node.args[0]  # type: ignore[assignment] # what it is a view of
    value = node.meta["val"]
    return bool(value.is_contiguous() and value.numel() == count)


def lifetimes_of(graph: fx.Graph) -> Lifetimes[fx.Node]:
    """Until when each result of a functional graph is needed, in the order in which it is run."""
    *order, output = graph.nodes
    operands = lambda node: node.all_input_nodes
    return Lifetimes(order, operands, allocates, output.all_input_nodes, _keeps)


def _keeps(node: fx.Node) -> bool:
    """Whether code that is not torch's runs, which may keep what it is given."""
    if node.op != "call_function" or node.target is operator.getitem or node.target in LOWERED:
        return False
    return getattr(node.target, "namespace", "") not in _NAMESPACES


def may_overwrite(lifetimes: Lifetimes[fx.Node], x: object, at: fx.Node) -> bool:
    """Whether the operation ``at`` may put its result where its argument ``x`` is."""
    return (
        isinstance(x, fx.Node)
        and lifetimes.may_overwrite(x, at)
        and looks_like(x.meta["val"], at.meta["val"])
        # Elementwise, each number is read before it is written; a scatter reads others, too
        and not (name_of(at) in SCATTERS and _count(x, at) > 1)
    )


def _count(x: fx.Node, at: fx.Node) -> int:
    """How often ``x`` is an argument of ``at``, itself or in a list."""
    found: list[fx.Node] = []
    fx.map_arg((at.args, at.kwargs), found.append)
    return found.count(x)


def form_of(node: fx.Node) -> Form:
    """What the result of a node is like in memory, if it is one tensor on the CPU, row by row."""
    value = node.meta.get("val")
    if not isinstance(value, Look) or value.is_conj() or value.is_neg():
        return Form((), None, 0)
    if value.device.type != "cpu" or not value.is_contiguous():
        return Form((), None, 0)
    return Form(tuple(value.shape), value.dtype, value.numel() * value.dtype.itemsize)


def view_of(memory: Any, start: int, form: Form) -> torch.Tensor:
    """Return a tensor in memory, for inference mode and others."""
    with torch.inference_mode(mode=False):
        found = torch.from_numpy(memory[start : start + form.size])
        return found.view(form.dtype).view(form.shape)
