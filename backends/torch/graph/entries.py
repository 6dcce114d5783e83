"""Entries of sparse derivatives in a program: computed where they are, and watched for infinities.

Knows: what a graph must be like to be rewritten, and that two programs come of it.
Must not know: how entries are computed.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial, reduce
from math import isfinite
from operator import getitem
from typing import Any

from torch import fx

from diffface.backends.compiled import Arrays, Compiled, Program
from diffface.backends.recording.entries.rewriting import are_many, rewrite
from diffface.backends.torch.graph.direct import Direct
from diffface.backends.torch.graph.graph import (
    aten,
    call,
    drop_dead,
    is_random,
    mark_sight_of_zero,
    name_of,
    sees_sign_of_zero,
)
from diffface.backends.torch.graph.terms import Terms
from diffface.backends.torch.levels import are_plain


def gathers_entries(module: fx.GraphModule) -> bool:
    """Whether a program takes so many elements of something that it may pay to look at it."""
    gathers = (n for n in module.graph.nodes if n.target is aten.index_select.default)
    many = any(are_many(node.meta["val"].numel()) for node in gathers)
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
            sees = sees_sign_of_zero(node)
            found = None if sees else rewrite(Terms(module, node), node)
            if found is not None:
                new, guards = found
                node.replace_all_uses_with(new)
                sums += _sums(output, guards)
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

    def checked(run_fast: Program) -> Program:
        def run(*inputs: Any) -> Arrays:
            *outputs, total = run_fast(*inputs)
            return tuple(outputs) if isfinite(total) else run_general(*inputs)

        return run

    run_general, run_plain = general.run, checked(fast.run)
    run = lambda *inputs: run_plain(*inputs) if are_plain(*inputs) else run_general(*inputs)
    direct = fast.direct and Direct(checked(fast.direct.run))
    native: Any = fast.native
    # Only these know of the result that `run_fast` has besides.
    made = fast.run_by(run, general.into)
    return replace(made, native=replace(native, run=run), direct=direct)


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
