"""Simplification of a traced graph: constants, algebra, common and dead operations.

Knows: in which order the rules apply, and how results lie in memory meanwhile.
Must not know: the rules, and how the graph is run.

A rule keeps values, not strides: ``zeros + x.T`` lies row by row, ``x.T`` does not. Everything
downstream is then looked at again, since later passes go by the strides in ``meta["val"]``.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import fx

from diffface.backends.errors import CannotRecord
from diffface.backends.torch.graph.algebra import rewrite
from diffface.backends.torch.graph.constants import fill, fold
from diffface.backends.torch.graph.graph import (
    addresses_memory,
    agree_but_for_strides,
    aten,
    bases_of,
    call,
    drop_dead,
    evaluate,
    is_random,
    looks_like,
    mark_sight_of_zero,
    root_of,
    value_of,
)
from diffface.backends.torch.graph.look import Look
from diffface.backends.torch.graph.memory import allocates


def simplify(module: fx.GraphModule) -> None:
    """Rewrite the graph of ``module`` in place.

    Parameters
    ----------
    module : GraphModule
        As `trace` gives it: functional, with a `Look` in every ``meta["val"]``.

    Raises
    ------
    CannotRecord
        If the graph addresses the memory of an input, which at run time may lie elsewhere.
    """
    drop_dead(module.graph)
    # What one pass uncovers (an operand with one user left), the next one uses
    for _ in range(2):
        mark_sight_of_zero(module.graph)
        one_pass = _Pass(module)
        for node in list(module.graph.nodes):
            one_pass.visit(node)
        drop_dead(module.graph)
    _check_addresses(module)
    used = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    for name, _ in list(module.named_buffers()):
        if name not in used:
            delattr(module, name)


class _Pass:
    """One way through a graph, first node to last."""

    def __init__(self, module: fx.GraphModule) -> None:
        self._module = module
        self._layouts = _Layouts(module)
        self._known: dict[Any, fx.Node] = {}
        self._rules = (rewrite, fill, partial(fold, module))

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
        for rule in self._rules:
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
    if type(x) is fx.Node:
        return x
    if isinstance(x, (list, tuple)):
        return tuple([_key(item) for item in x])
    if isinstance(x, dict):
        return tuple((name, _key(item)) for name, item in x.items())
    # 1 == 1.0 == True, and 0.0 == -0.0, in complex numbers, too
    if isinstance(x, complex):
        return complex, _key(x.real), _key(x.imag)
    return (type(x), x, math.copysign(1, x)) if isinstance(x, (int, float)) else (type(x), x)


def _check_addresses(module: fx.GraphModule) -> None:
    """Refuse as_strided on inputs and constants: it counts from the start of their memory."""
    for node in module.graph.nodes:
        if addresses_memory(node) and root_of(node.args[0]).op != "call_function":
            raise CannotRecord("it addresses the memory of an argument (as_strided)")


class _Layouts:
    """What lies otherwise in memory, during one pass over a graph, first node to last.

    Parameters
    ----------
    module : GraphModule
        With a `Look` in every ``meta["val"]``.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        self._module = module
        self._changed: set[fx.Node] = set()
        # Those among them that only start elsewhere in their memory
        self._shifted: set[fx.Node] = set()
        # It counts in the memory of its operand, so that nothing there may lie otherwise
        addressing = [node for node in module.graph.nodes if addresses_memory(node)]
        self._fixed = bool(addressing)
        # Nor may it be the memory of an input or a constant, which may start elsewhere
        self._addressed = {x for node in addressing for x in bases_of(node.args[0])}

    def update(self, node: fx.Node) -> None:
        """Bring ``meta["val"]`` up to date with the operands; those of a view are made to fit."""
        old = node.meta.get("val")
        if node.op == "get_attr" and isinstance(old, Look):
            new: Any = Look(getattr(self._module, str(node.target)))
        elif node.op == "call_function" and self._touches(node):
            if addresses_memory(node):
                raise CannotRecord("it addresses memory (as_strided) that is laid out otherwise")
            if allocates(node) and self._are_shifted(node):
                return
            new = self._again(node)
        else:
            return
        if new is not old and not _alike(new, old):
            node.meta["val"] = new
            self._changed.add(node)
            if _differ_by_offset(new, old):
                self._shifted.add(node)

    def _touches(self, node: fx.Node) -> bool:
        return bool(self._changed) and not self._changed.isdisjoint(node.all_input_nodes)

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
            if x.stride() == y.stride() and (old not in self._changed or old in self._shifted):
                self._shifted.add(new)
            else:
                self._shifted.discard(new)
        return True

    def _are_shifted(self, node: fx.Node) -> bool:
        return all(x in self._shifted for x in node.all_input_nodes if x in self._changed)

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


def _differ_by_offset(x: Any, y: Any) -> bool:
    pair = isinstance(x, Look) and isinstance(y, Look)
    return pair and agree_but_for_strides(x, y) and x.stride() == y.stride()


def _alike(x: Any, y: Any) -> bool:
    """Whether two looks, or tuples of looks, agree in all metadata."""
    if isinstance(x, (list, tuple)):
        return all(map(_alike, x, y))
    return not isinstance(x, Look) or looks_like(x, y)
