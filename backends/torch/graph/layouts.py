"""Layouts: how the results in a graph lie in memory, kept true while the graph is rewritten.

Knows: that a cheaper operation may order its result otherwise, and who notices.
Must not know: the rules that rewrite.

A rule keeps values, not strides: ``zeros + x.T`` lies row by row, ``x.T`` does not. Everything
downstream is then looked at anew, since later passes go by the strides in ``meta["val"]``.
"""

from typing import Any

import torch
from torch import fx

from diffface.backends.errors import CannotRecord
from diffface.backends.torch.graph.graph import (
    addresses_memory,
    agree_but_for_strides,
    aten,
    bases_of,
    call,
    evaluate,
    looks_like,
    root_of,
    stand_in,
    value_of,
)


class Layouts:
    """What changes during one pass over a graph, first node to last.

    Parameters
    ----------
    module : GraphModule
        With a fake tensor in every ``meta["val"]``.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        self._module = module
        self._changed: set[fx.Node] = set()
        # It counts in the memory of its operand, so that nothing there may lie otherwise
        addressing = [node for node in module.graph.nodes if addresses_memory(node)]
        self._fixed = bool(addressing)
        # Nor may it be the memory of an input or a constant, which may start elsewhere
        self._addressed = {x for node in addressing for x in bases_of(node.args[0])}

    def update(self, node: fx.Node) -> None:
        """Bring ``meta["val"]`` up to date with the operands; those of a view are made to fit."""
        old = node.meta.get("val")
        if node.op == "get_attr" and isinstance(old, torch.Tensor):
            new: Any = stand_in(getattr(self._module, str(node.target)), node)
        elif node.op == "call_function" and not self._changed.isdisjoint(node.all_input_nodes):
            if addresses_memory(node):
                raise CannotRecord("it addresses memory (as_strided) that is laid out otherwise")
            new = self._again(node)
        else:
            return
        if new is not old and not _alike(new, old):
            node.meta["val"] = new
            self._changed.add(node)

    def replace(self, old: fx.Node, new: fx.Node) -> bool:
        """Let ``new`` take the place of ``old`` if it is the same but for its layout."""
        x, y = value_of(old), value_of(new)
        if x is None or y is None or not agree_but_for_strides(x, y):
            return False
        moved = x.stride() != y.stride() or x.storage_offset() != y.storage_offset()
        if moved and self._fixed:
            return False
        if old in self._addressed:
            if root_of(new).op != "call_function":
                return False
            self._addressed |= set(bases_of(new))
        old.replace_all_uses_with(new)
        # The users were recorded with the strides that the old one had at first
        if moved or old in self._changed:
            self._changed.add(new)
        return True

    def _again(self, node: fx.Node) -> Any:
        try:
            return evaluate(node)
        except (RuntimeError, ValueError):
            # A view that the new strides do not allow
            for x in node.all_input_nodes:
                if x in self._changed:
                    kwargs = {"memory_format": torch.contiguous_format}
                    node.replace_input_with(x, call(node, aten.clone.default, x, **kwargs))
            return evaluate(node)


def _alike(x: Any, y: Any) -> bool:
    """Whether two fake results, tensors or tuples of tensors, agree in all metadata."""
    if isinstance(x, (list, tuple)):
        return all(map(_alike, x, y))
    return not isinstance(x, torch.Tensor) or looks_like(x, y)
