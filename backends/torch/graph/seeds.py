"""Seeds: constants that are mostly zeros, and what a program makes of them.

Knows: how an element of a batch of derivatives comes about, and from which terms that are not zero.
Must not know: how elements are computed anew.
"""

from math import isfinite, prod
from typing import Any

import numpy as np
import torch
from torch import fx

from diffface.backends.torch.graph.graph import (
    aten,
    aten_names,
    filling,
    name_of,
    value_of,
)
from diffface.backends.torch.graph.look import Look

# Of more places the maps take much memory; so many steps are followed, and so many places kept.
_MANY, _STEPS, _PLACES = 1 << 23, 1000, 1 << 26
# Elements that are a smaller part of all are one group.
_PART = 1 / 50

# These move elements, and may put zeros around them.
_MOVES = aten_names(
    """
    _unsafe_view alias cat clone detach expand flip index_select permute select select_backward
    select_scatter slice slice_backward slice_scatter squeeze stack t transpose unsqueeze view
    """
)
_LINEAR = (
    aten.add.Tensor, aten.div.Tensor, aten.mul.Tensor, aten.neg.default, aten.rsub.Scalar,
    aten.sub.Tensor,
)  # fmt: skip
PRODUCTS = (aten.div.Tensor, aten.mul.Tensor)
_REAL = (torch.float32, torch.float64)
_VIEWS = _MOVES - aten_names("cat clone flip index_select stack") - aten_names(
    "select_backward select_scatter slice_backward slice_scatter"
)  # fmt: skip


class Unfit(Exception):
    """The program is better left as it is."""


class Seeds:
    """The part of a program that seeds have to do with.

    Parameters
    ----------
    module : GraphModule
    end : Node
        What is asked about, and all that it is made of.

    Attributes
    ----------
    nodes : dict
        What is, up to products, moves and sums, made of constants with zeros; in order.
    """

    def __init__(self, module: fx.GraphModule, end: fx.Node) -> None:
        self._module = module
        self.nodes = _seeded(module, end)
        self._maps: dict[fx.Node, Any] = {}
        # Keys hold places by their addresses, so they have to live as long
        self._alive: list[Any] = []
        self._steps = self._count = 0

    def moves(self, node: fx.Node) -> bool:
        """Whether it is followed to where a node has its elements from."""
        return name_of(node) in _MOVES and (node in self.nodes or is_view(node))

    def constant(self, node: fx.Node) -> Any:
        """The numbers of a constant."""
        value = getattr(self._module, str(node.target))
        return self._maps.setdefault(node, value.detach().reshape(-1).numpy())

    # Where numbers come from.

    def _map(self, node: fx.Node) -> Any:
        """For each element that a node moves: its number among those of all operands, from 1 on.

        Zero is where there is no operand, but a zero.
        """
        if node not in self._maps:
            if node.meta["val"].numel() > _MANY:
                raise Unfit
            start = 1

            def numbered(x: fx.Node) -> Any:
                nonlocal start
                if x is node.args[-1] and node.target is aten.index_select.default:
                    return getattr(self._module, str(x.target))
                look: Look = x.meta["val"]
                found = torch.from_numpy(np.arange(start, start + look.numel())).view(look.shape)
                start += look.numel()
                return found

            args = fx.map_arg(node.args, numbered)
            moved: Any = node.target(*args)  # type: ignore[operator]
            self._maps[node] = moved.reshape(-1).numpy()
        return self._maps[node]

    def sources(self, node: fx.Node, places: Any) -> list[tuple[fx.Node, Any, Any]]:
        """``(operand, where among the places, places in it)`` of what a node moves."""
        found, start, numbers = [], 1, self._map(node)[places]
        operands: list[fx.Node] = []
        fx.map_arg(node.args, operands.append)
        if node.target is aten.index_select.default:
            operands.pop()
        for x in operands:
            size = x.meta["val"].numel()
            at = np.flatnonzero((numbers >= start) & (numbers < start + size))
            if len(at):
                found.append((x, at, self.kept(numbers[at] - start)))
            start += size
        return found

    def operand(self, x: fx.Node, node: fx.Node, places: Any) -> Any:
        """The places in an operand that is broadcast to the shape of a node's result."""
        own, shape = x.meta["val"].shape, node.meta["val"].shape
        if own == shape:
            return places
        if prod(shape) > _MANY:
            raise Unfit
        numbers = np.broadcast_to(np.arange(prod(own)).reshape(own), shape)
        return self.kept(numbers.reshape(-1)[places])

    def kept(self, places: Any) -> Any:
        """Places that live as long as this, so that their address stands for them."""
        self._count += len(places)
        self._alive.append(places)
        return places

    def step(self) -> None:
        """Count a step, up to a limit."""
        self._steps += 1
        if self._steps > 2 * _STEPS or self._count > _PLACES:
            raise Unfit

    # Which terms are zero.

    def codes(self, node: fx.Node, places: Any, known: dict[Any, Any]) -> Any:
        """Numbers that tell how each element comes about: 0 for zeros, 1 for other constants."""
        if (node, id(places)) in known:
            return known[node, id(places)]
        self.step()
        if node.op == "get_attr":
            codes = (self.constant(node)[places] != 0).astype(np.int64)
        elif filling(node) is not None:
            codes = np.full(len(places), int(filling(node) != 0))
        elif node not in self.nodes:
            codes = np.full(len(places), 2)
        elif name_of(node) in _MOVES:
            codes = np.zeros(len(places), np.int64)
            for k, (x, at, inner) in enumerate(self.sources(node, places)):
                own = self.codes(x, inner, known)
                codes[at] = np.where(own > 1, _mixed(own, k + 3), own) if k else own
        else:
            codes = self._codes_of_terms(node, places, known)
        known[node, id(places)] = codes
        return codes

    def _codes_of_terms(self, node: fx.Node, places: Any, known: dict[Any, Any]) -> Any:
        terms = []
        for x in node.args:
            if isinstance(x, fx.Node):
                terms.append(self.codes(x, self.operand(x, node, places), known))
            else:
                terms.append(np.full(len(places), int(x != 0)))
        if len(terms) == 1:
            return terms[0]
        a, b = terms
        codes = np.where((a <= 1) & (b <= 1), np.maximum(a, b), _mixed(a, b))
        zero = (a == 0) | (b == 0) if node.target is aten.mul.Tensor else (a == 0) & (b == 0)
        if node.target is aten.div.Tensor:
            zero = a == 0
        return np.where(zero, 0, codes)


def _seeded(module: fx.GraphModule, gather: fx.Node) -> dict[fx.Node, None]:
    """What is, up to products, moves and sums, made of constants with zeros; in order."""
    needed = {gather}
    found: dict[fx.Node, None] = {}
    for node in reversed(module.graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    for node in module.graph.nodes:
        value = value_of(node)
        if node not in needed or value is None or value.dtype not in _REAL:
            continue
        if node.op == "get_attr":
            constant = getattr(module, str(node.target))
            if constant.isfinite().all() and not constant.all():
                found[node] = None
        elif node.op == "call_function" and _carries_zeros(module, node, found):
            found[node] = None
    return found


def _carries_zeros(module: fx.GraphModule, node: fx.Node, seeded: dict[fx.Node, None]) -> bool:
    operands = node.all_input_nodes
    if not any(x in seeded for x in operands) or node.meta["val"].device.type != "cpu":
        return False
    if node.target is aten.index_select.default:
        return node.args[0] in seeded and node.args[2].op == "get_attr"  # type: ignore[union-attr]
    if any(x.meta["val"].dtype != node.meta["val"].dtype for x in operands):
        return False
    if name_of(node) in _MOVES:
        return True
    if node.target not in _LINEAR or len(node.args) > 2 or node.kwargs:
        return False
    if any(not isinstance(x, fx.Node | int | float) for x in node.args):
        return False
    if node.target in PRODUCTS:
        return _is_product_of_one(module, node, seeded)
    return all(isfinite(x) for x in node.args if isinstance(x, int | float))


def _is_product_of_one(module: fx.GraphModule, node: fx.Node, seeded: dict[fx.Node, None]) -> bool:
    """Whether one factor has zeros of seeds, and the other is a finite number or none of them."""
    a, b = node.args
    if node.target is aten.div.Tensor and b in seeded:
        return False
    other: Any = b if a in seeded else a
    if not isinstance(other, fx.Node):
        return isfinite(other) and (other != 0 or node.target is aten.mul.Tensor)
    if other.op == "get_attr":
        constant = getattr(module, str(other.target))
        return bool(constant.isfinite().all()) and other not in seeded and bool(constant.all())
    number = filling(other)
    return other not in seeded and (number is None or (isfinite(number) and number != 0))


def groups_of(codes: Any) -> list[Any]:
    """The entries that come about alike, and the rest."""
    found, number, counts = np.unique(codes, return_inverse=True, return_counts=True)
    apart = (found <= 1) | (counts >= _PART * len(codes))
    groups = [np.flatnonzero(number == k) for k in np.flatnonzero(apart)]
    rest = np.flatnonzero(~apart[number])
    return [*groups, rest] if len(rest) else groups


def _mixed(a: Any, b: Any) -> Any:
    """A number above 2 for each pair."""
    mixed = (np.asarray(a, np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ (
        np.asarray(b, np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F) + np.uint64(0x165667B19E3779F9)
    )
    mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(2)).astype(np.int64) + 3


def is_view(node: fx.Node) -> bool:
    """Whether a node only looks at its operand in another way."""
    return name_of(node) in _VIEWS
