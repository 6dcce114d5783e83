"""Simplification of a traced graph: constants, algebra, common and dead operations.

Knows: in which order the rules apply.
Must not know: the rules, and how the graph is run.
"""

import math
from typing import Any

from torch import fx

from diffface.backends._errors import CannotRecord
from diffface.backends._torch_graph._algebra import rewrite
from diffface.backends._torch_graph._constants import fill, fold
from diffface.backends._torch_graph._graph import is_random, name_of, root_of, value_of

_Known = dict[Any, fx.Node]


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
        known: _Known = {}
        for node in list(module.graph.nodes):
            _visit(module, node, known)
        module.graph.eliminate_dead_code()
    _check_addresses(module)
    used = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    for name, _ in list(module.named_buffers()):
        if name not in used:
            delattr(module, name)
    module.recompile()


def _visit(module: fx.GraphModule, node: fx.Node, known: _Known) -> None:
    while node.op == "call_function" and not is_random(node) and value_of(node) is not None:
        new = rewrite(node) or fill(node) or fold(module, node)
        if new is None:
            _share(node, (node.target, _key(node.args), _key(node.kwargs)), known)
            return
        node.replace_all_uses_with(new)
        node = new
    if node.op == "get_attr":
        _share(node, id(getattr(module, str(node.target))), known)


def _share(node: fx.Node, key: Any, known: _Known) -> None:
    try:
        first = known.setdefault(key, node)
    except TypeError:  # an argument that cannot be hashed
        return
    if first is not node:
        node.replace_all_uses_with(first)


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
        addresses = name_of(node).startswith("aten::as_strided")
        if addresses and root_of(node.args[0]).op != "call_function":
            raise CannotRecord("it addresses the memory of an argument (as_strided)")
