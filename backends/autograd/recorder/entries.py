"""Entries of sparse derivatives in a program: computed where they are, and watched for infinities.

Knows: what a graph must be like to be rewritten, and that two programs come of it.
Must not know: how entries are computed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.compile import compile_graph, compile_watched
from diffface.backends.autograd.recorder.functions import (
    cast,
    gathered,
    is_trusted,
    joined,
    watched,
)
from diffface.backends.autograd.recorder.graph import Graph, Node, substitute
from diffface.backends.autograd.recorder.program import live
from diffface.backends.autograd.recorder.terms import Terms
from diffface.backends.compiled import Compiled
from diffface.backends.recording.entries.rewriting import are_many, rewrite

# To these, zeros of both signs are the same.
_BLIND = {cast, gathered, joined, np.concatenate, np.reshape}


def compile_entries(graph: Graph, inputs: list[Node], outputs: list[Node]) -> Compiled:
    """Compile a graph; elements that it gathers are computed where they are, if that pays."""
    general, order = compile_graph(inputs, outputs), live(outputs)
    gathers = list(filter(_gathers_many, order))
    # What else runs in it must not run twice.
    if not gathers or not all(node.fn is None or is_trusted(node.fn) for node in order):
        return general
    new, guards = list(outputs), dict[Node, bool]()
    for gather in reversed(gathers):
        new = _rewritten(graph, gather, new, guards)
    if new == outputs:
        return general
    watch = graph.node(watched, (tuple(guards.items()),), {}, (), np.dtype(float))
    return compile_watched(inputs, new, watch if guards else None, general)


def _gathers_many(node: Node) -> bool:
    return node.fn is gathered and node.dtype.char in "fd" and are_many(node.size)


def _rewritten(
    graph: Graph, gather: Node, outputs: list[Node], guards: dict[Node, bool]
) -> list[Node]:
    """Outputs without a gather, if that pays, and what has to be finite then."""
    order = live(outputs)
    if gather not in order or gather in _seeing(order):
        return outputs  # it was a part of another one, or it is better left
    found = rewrite(Terms(graph, order, gather), gather)
    if found is None:
        return outputs
    new, own = found
    for guard, divides in own.items():
        guards[guard] = divides or guards.get(guard, False)
    shape, dtype = gather.shape, gather.dtype
    if new.shape != shape:  # one number is all of them
        new = graph.node(np.broadcast_to, (new, shape), {}, shape, dtype)
    changed = {gather: new}
    for node in order:
        if any(parent in changed for parent in node.parents):
            changed[node] = _with(graph, node, changed)
    return [changed.get(node, node) for node in outputs]


def _seeing(order: Sequence[Node]) -> set[Node]:
    """Nodes the sign of whose zeros something else may tell."""
    seeing: set[Node] = set()
    for node in reversed(order):
        if node in seeing or node.fn not in _BLIND:
            seeing.update(node.parents)
    return seeing


def _with(graph: Graph, node: Node, changed: dict[Node, Node]) -> Node:
    """The same call, on changed nodes."""
    new = lambda x: changed.get(x, x)
    fn: Any = node.fn
    kwargs = {name: substitute(x, new) for name, x in node.kwargs.items()}
    return graph.node(fn, substitute(node.args, new), kwargs, node.shape, node.dtype)
