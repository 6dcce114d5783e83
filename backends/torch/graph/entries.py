"""Entries of sparse derivatives, computed where they are rather than gathered from a batch.

Knows: how numbers get from the constant seeds of a batch of directions to the places in it from
which entries are gathered.
Must not know: what the program is for, and how the graph is run.

A batch along seeds of zeros and ones is mostly zeros, since every place of an array has one of the
directions, or few. Entries that come about alike, through the same terms that are not zero, are
computed together, by the operations of the batch in their order, so that each is rounded as there.

A product of zero with infinity or NaN is NaN, which is lost. So the program returns, besides its
results, the sum of all numbers that zeros were multiplied by: unless it is finite, the other
program has to run.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial, reduce
from math import isfinite
from operator import getitem
from typing import Any

import numpy as np
from torch import fx

from diffface.backends.compiled import Arrays, Compiled
from diffface.backends.torch.graph.graph import (
    aten,
    call,
    drop_dead,
    filling,
    is_random,
    mark_sight_of_zero,
    name_of,
    sees_sign_of_zero,
)
from diffface.backends.torch.graph.seeds import PRODUCTS, Seeds, Unfit, groups_of, is_view
from diffface.backends.torch.graph.vectors import CALL, Values, Vectors
from diffface.backends.torch.levels import are_plain

# Fewer entries are gathered as fast.
_FEW = 1 << 11
# What the new operations may cost, in terms of the old ones.
_WORTH = 0.75


def gathers_entries(module: fx.GraphModule) -> bool:
    """Whether a program takes so many elements of something that it may pay to look at it."""
    gathers = (n for n in module.graph.nodes if n.target is aten.index_select.default)
    many = any(node.meta["val"].numel() >= _FEW for node in gathers)
    return many and not any(map(_forbids, module.graph.nodes))


def compute_entries(module: fx.GraphModule) -> bool:
    """Compute gathered elements of batches where they are; return whether that pays.

    If so, the program has one result more, a number that is finite if the others may be used.

    Parameters
    ----------
    module : GraphModule
        Simplified, and one that `gathers_entries`; it is changed.
    """
    mark_sight_of_zero(module.graph)
    sums: list[fx.Node] = []
    gathers = (node for node in module.graph.nodes if node.target is aten.index_select.default)
    output = module.graph.output_node()
    count = len(output.args[0])  # type: ignore[arg-type]
    for node in reversed([*gathers]):
        if node.users:  # else it was a part of another one
            rewriting = _Rewriting(module, node)
            try:
                new = rewriting.run()
            except Unfit:
                new = None
            if new is not None:
                node.replace_all_uses_with(new)
                sums += _sums(output, rewriting.guards)
                results: Any = output.args[0]
                output.args = ((*results[:count], *sums),)
            drop_dead(module.graph)
    if sums:
        total = reduce(partial(call, output, aten.add.Tensor), sums)
        output.args = ((*results[:count], total),)
    module.recompile()
    return bool(sums)


def guarded(fast: Compiled, general: Compiled) -> Compiled:
    """Let a program of `compute_entries` run, and the general one where it may not be used."""
    run_fast, run_general = fast.run, general.run

    def run(*inputs: Any) -> Arrays:
        if not are_plain(*inputs):
            return run_general(*inputs)
        *outputs, total = run_fast(*inputs)
        return tuple(outputs) if isfinite(total) else run_general(*inputs)

    native: Any = fast.native
    # Only these know of the result that `run_fast` has besides.
    return replace(fast.run_by(run, general.into), native=replace(native, run=run))


def copy_of(module: fx.GraphModule) -> fx.GraphModule:
    """The same program, with the same constants, to be changed apart."""
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    new = fx.GraphModule(module, graph)
    new.meta.update(module.meta)
    return new


def _forbids(node: fx.Node) -> bool:
    """Whether a program with this must not run twice."""
    if node.op != "call_function" or node.target is getitem:
        return False
    return is_random(node) or not name_of(node).startswith(("aten::", "prims::"))


def _sums(place: fx.Node, guards: dict[fx.Node, bool]) -> Iterator[fx.Node]:
    """The sums of what zeros are multiplied by, and of inverses of what divides them."""
    for node, divides in guards.items():
        yield call(place, aten.sum.default, node)
        if divides:
            yield call(place, aten.sum.default, call(place, aten.reciprocal.default, node))


class _Rewriting:
    """Writes one gather anew.

    Attributes
    ----------
    guards : dict
        What zeros are multiplied by, and whether it divides them as well.
    """

    def __init__(self, module: fx.GraphModule, gather: fx.Node) -> None:
        self._gather = gather
        self._seeds, self._vectors = Seeds(module, gather), Vectors(module, gather)
        self._made: dict[tuple[fx.Node, int], Values] = {}
        self._replaced: set[fx.Node] = set()
        self.guards: dict[fx.Node, bool] = {}

    def run(self) -> fx.Node | None:
        """Return the new node; None if the old one is about as good."""
        gather = self._gather
        count = gather.meta["val"].numel()
        if gather not in self._seeds.nodes or gather.meta["val"].dim() != 1 or count < _FEW:
            return None
        if sees_sign_of_zero(gather):
            return None
        groups = groups_of(self._seeds.codes(gather, np.arange(count), {}))
        joined = self._vectors.joined(count, [(g, self._values(gather, g)) for g in groups])
        if isinstance(joined, np.ndarray):
            return None
        new: fx.Node = self._vectors.vector(joined)
        cost = self._vectors.cost + _cost(self.guards)
        return new if cost < _WORTH * (_cost(self._replaced) + count) else None

    def _values(self, node: fx.Node, places: Any) -> Values:
        """What a node has at some places."""
        key = node, id(self._seeds.kept(places))
        if key not in self._made:
            self._seeds.step()
            if node in self._seeds.nodes and node.op == "call_function" and not is_view(node):
                self._replaced.add(node)
            self._made[key] = self._new_values(node, places)
        return self._made[key]

    def _new_values(self, node: fx.Node, places: Any) -> Values:
        seeds, vectors, count = self._seeds, self._vectors, len(places)
        if filling(node) is not None:
            return vectors.combined(aten.add.Tensor, [filling(node), 0], count)
        if node.op == "get_attr":
            return seeds.constant(node)[places]
        if seeds.moves(node):
            sources = seeds.sources(node, places)
            return vectors.joined(count, [(at, self._values(x, p)) for x, at, p in sources])
        if node not in seeds.nodes:
            return vectors.all_of(node, places)
        terms: list[Any] = [
            self._values(x, seeds.operand(x, node, places)) if isinstance(x, fx.Node) else x
            for x in node.args
        ]
        if node.target in PRODUCTS:
            x, y = node.args
            self._guard(x, y, node.target is aten.div.Tensor)
            self._guard(y, x, False)
        return vectors.combined(node.target, terms, count)

    def _guard(self, zeros: Any, factor: Any, divides: bool) -> None:
        varies = isinstance(factor, fx.Node) and factor.op != "get_attr"
        if zeros in self._seeds.nodes and varies and filling(factor) is None:
            self.guards[factor] = divides or self.guards.get(factor, False)


def _cost(nodes: Iterable[fx.Node]) -> float:
    """Of computing some nodes, in elements."""
    return float(sum(CALL + node.meta["val"].numel() for node in nodes))
