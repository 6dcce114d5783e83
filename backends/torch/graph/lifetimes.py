"""Lifetimes in a functional graph: who owns a piece of memory, and until when.

Knows: which aten operations return memory of their own.
Must not know: what is done with the answer.

An operation that is not listed here is taken to return a view of any of its inputs.
"""

from typing import Any

from torch import fx

from diffface.backends.torch.graph.graph import aten_names, looks_like, name_of
from diffface.backends.torch.graph.lowering import LOWERED, SCATTERS

_ALLOCATING = aten_names(
    """
    _log_softmax _log_softmax_backward_data _softmax _softmax_backward_data
    abs acos add addcdiv addcmul addmm amax amin asin atan atan2 baddbmm bmm cat clamp clamp_max
    clamp_min clone constant_pad_nd cos cosh cumsum div dot elu eq erf erfc exp exp2 expm1 full
    gather ge gelu gt index index_put le leaky_relu log log10 log1p log2 logical_and logical_not
    logical_or lt masked_fill maximum mean minimum mm mul mv ne neg pow prod reciprocal relu rsqrt
    rsub select_backward select_scatter sigmoid sigmoid_backward sign silu sin sinh slice_backward
    slice_scatter softplus sqrt square stack sub sum tan tanh tanh_backward threshold_backward tril
    triu var where
    """
)


class Lifetimes:
    """Which nodes may share memory, and when each piece is used for the last time.

    Parameters
    ----------
    graph : Graph
        Functional, and in the order in which it is run.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self._order = {node: i for i, node in enumerate(graph.nodes)}
        self._parent: dict[fx.Node, fx.Node] = {}
        self._end: dict[fx.Node, int] = {}
        for node in graph.nodes:
            self._parent[node] = node
            self._end[node] = max((self._order[user] for user in node.users), default=-1)
            if node.op == "call_function" and not allocates(node):
                for source in node.all_input_nodes:
                    self.join(node, source)

    def memory(self, node: fx.Node) -> fx.Node:
        """Return the node that names the memory which ``node`` lies in."""
        while (parent := self._parent[node]) is not node:
            node = parent
        return node

    def join(self, x: fx.Node, y: fx.Node) -> None:
        """Note that ``x`` and ``y`` share memory."""
        x, y = self.memory(x), self.memory(y)
        self._parent[x] = y
        self._end[y] = max(self._end[x], self._end[y])

    def may_overwrite(self, x: object, at: fx.Node) -> bool:
        """Whether the operation ``at`` may put its result where its argument ``x`` is."""
        if not isinstance(x, fx.Node) or not allocates(x):
            return False
        memory = self.memory(x)
        others = [other for other in at.all_input_nodes if other is not x]
        return (
            self._end[memory] == self._order[at]
            and looks_like(x.meta["val"], at.meta["val"])
            and all(self.memory(other) is not memory for other in others)
            # Elementwise, each number is read before it is written; a scatter reads others, too
            and not (name_of(at) in SCATTERS and _count(x, at) > 1)
        )


def _count(x: fx.Node, at: fx.Node) -> int:
    """How often ``x`` is an argument of ``at``, itself or in a list."""
    found: list[fx.Node] = []
    fx.map_arg((at.args, at.kwargs), found.append)
    return found.count(x)


def allocates(node: fx.Node) -> bool:
    """Whether the node's result surely is in new memory, and no view of it."""
    if node.target in LOWERED:
        return True
    value: Any = node.meta.get("val")
    return name_of(node) in _ALLOCATING and not value.is_conj() and not value.is_neg()
