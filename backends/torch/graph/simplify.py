"""Simplification of a traced graph: constants, algebra, common and dead operations.

Knows: in which order the rules apply.
Must not know: the rules, and how the graph is run.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import fx

from diffface.backends.errors import CannotRecord
from diffface.backends.torch.graph.algebra import rewrite
from diffface.backends.torch.graph.constants import fill, fold
from diffface.backends.torch.graph.graph import (
    addresses_memory,
    is_random,
    root_of,
    value_of,
)
from diffface.backends.torch.graph.layouts import Layouts


def simplify(module: fx.GraphModule) -> None:
    """Rewrite the graph of ``module`` in place.

    Parameters
    ----------
    module : GraphModule
        As `trace` gives it: functional, with a fake tensor in every ``meta["val"]``.

    Raises
    ------
    CannotRecord
        If the graph addresses the memory of an input, which at run time may lie elsewhere.
    """
    module.graph.eliminate_dead_code()
    # What one pass uncovers (an operand with one user left), the next one uses
    for _ in range(2):
        one_pass = _Pass(module)
        for node in list(module.graph.nodes):
            one_pass.visit(node)
        module.graph.eliminate_dead_code()
    _check_addresses(module)
    used = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    for name, _ in list(module.named_buffers()):
        if name not in used:
            delattr(module, name)
    module.recompile()


class _Pass:
    """One way through a graph, first node to last."""

    def __init__(self, module: fx.GraphModule) -> None:
        self._module = module
        self._layouts = Layouts(module)
        self._known: dict[Any, fx.Node] = {}

    def visit(self, node: fx.Node) -> None:
        """Put the cheapest node that does the same in the place of ``node``."""
        self._layouts.update(node)
        while node.op == "call_function" and not is_random(node) and value_of(node) is not None:
            for new in self._candidates(node):
                is_new = not new.users
                if self._layouts.replace(node, new):
                    break
            else:
                self._share(node, (node.target, _key(node.args), _key(node.kwargs)))
                return
            if not is_new:  # it had its visit
                return
            node = new
        if node.op == "get_attr":
            self._share(node, id(getattr(self._module, str(node.target))))

    def _candidates(self, node: fx.Node) -> Iterator[fx.Node]:
        for rule in (rewrite, fill, partial(fold, self._module)):
            new = rule(node)
            if new is not None:
                yield new

    def _share(self, node: fx.Node, key: Any) -> None:
        try:
            first = self._known.setdefault(key, node)
        except TypeError:  # an argument that cannot be hashed
            return
        if first is not node:
            self._layouts.replace(node, first)


def _key(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return tuple(_key(item) for item in x)
    if isinstance(x, dict):
        return tuple((name, _key(item)) for name, item in x.items())
    # 1 == 1.0 == True, and 0.0 == -0.0
    return (type(x), x, math.copysign(1, x)) if isinstance(x, (int, float)) else (type(x), x)


def _check_addresses(module: fx.GraphModule) -> None:
    """Refuse as_strided on inputs and constants: it counts from the start of their memory."""
    for node in module.graph.nodes:
        if addresses_memory(node) and root_of(node.args[0]).op != "call_function":
            raise CannotRecord("it addresses the memory of an argument (as_strided)")
