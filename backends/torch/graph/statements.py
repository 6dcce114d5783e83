"""Statements: the lines of an emitted function, in order.

Knows: which results may take the place of an operand, and how parts of tensors are updated.
Must not know: where inputs, constants and results come from.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from diffface.backends.recording.lifetimes import Lifetimes
from diffface.backends.recording.workspace import Workspace
from diffface.backends.torch.graph.graph import aten, aten_names, name_of
from diffface.backends.torch.graph.lowering import LOWERED
from diffface.backends.torch.graph.memory import form_of, may_overwrite
from diffface.backends.torch.graph.spelling import Spelling, binding, binding_into, brief

_OVERWRITING = aten_names(
    """
    abs acos add addcdiv addcmul asin atan clamp clamp_max clamp_min cos cosh div erf erfc exp exp2
    expm1 index_add index_put log log10 log1p log2 masked_fill mul neg pow reciprocal rsqrt scatter
    scatter_add sigmoid sign sin sinh sqrt square sub tan tanh tril triu
    """
)
# Rounded alike, however their operands lie in memory
_ROUNDED = aten_names("add sub rsub mul div neg")
# So many numbers are written to `out`, as others are: the same code of torch is in the cache
_MANY = 1 << 12
_COMMUTATIVE = (aten.add.Tensor, aten.mul.Tensor)
_PADS = (aten.slice_backward.default, aten.select_backward.default)
_UPDATES = (aten.slice_scatter.default, aten.select_scatter.default, *LOWERED)
_UPDATING = (*_UPDATES, aten.scatter.src)
# Defaults of aten.slice and aten.slice_scatter, after the tensors
_WHOLE = (0, None, None, 1)


@dataclass
class _Line:
    """One statement, and which variables it needs."""

    text: str
    needs: set[str]


class Statements:
    """Lines of code for the nodes of a graph, added in the order of the graph.

    Parameters
    ----------
    lifetimes : Lifetimes
        Of the same graph; told about every result that takes the place of an operand.
    spelling : Spelling
        Told about every new variable.
    workspace : Workspace
        Told about every result that is computed in it.
    given : dict
        Variables in whose place there is a tensor already, and its name.
    bare : iterable of Node, optional
        Inputs that are nothing but memory, row by row, and surely of the shape that they show;
        None where no tensor is.

    Attributes
    ----------
    trusted : set of Node
        Those of the inputs where something relies on that.
    """

    def __init__(
        self, lifetimes: Lifetimes[fx.Node], spelling: Spelling, workspace: Workspace[fx.Node],
        given: dict[str, str], bare: Iterable[fx.Node] | None,
    ) -> None:  # fmt: skip
        self._given, self._workspace = given, workspace
        self._lifetimes, self._spelling = lifetimes, spelling
        self._bare = None if bare is None else {*bare}
        self.trusted: set[fx.Node] = set()
        # Padded already
        self._padded: set[fx.Node] = set()
        self._lines: list[_Line] = []

    def write(self, text: str, *needs: Any) -> None:
        """Add a line that needs the results of some nodes."""
        nodes = [x for x in needs if isinstance(x, fx.Node) and x.op != "get_attr"]
        self._lines.append(_Line(text, {self._spelling.show(x) for x in nodes}))

    def add(self, node: fx.Node) -> None:
        """Add the lines that compute the result of ``node``, the cheapest that fit."""
        ways = (self._slice, self._within, self._pad, self._update, self._overwrite)
        if not any(way(node) for way in ways):
            self._assign(node, self._expression(node), self._expression_into)
        self._workspace.release(node)

    def text(self) -> list[str]:
        """Return the lines, with memory given back as early as if a person had written them."""
        later: set[str] = set()
        lines: list[str] = []
        for line in reversed(self._lines):
            # Those in the workspace are taken again.
            dead = sorted(n for n in line.needs - later if n[0] != "b") if lines else []
            lines.append(line.text + (f"; del {', '.join(dead)}" if dead else ""))
            later |= line.needs
        return lines[::-1]

    def _assign(
        self, node: fx.Node, expression: str,
        into: Callable[[fx.Node, str], str | None] = lambda *_: None,
        needs: Iterable[fx.Node] | None = None,
    ) -> None:  # fmt: skip
        """Compute a result in new memory, or ``into`` what is given, if there is a way."""
        needs = node.all_input_nodes if needs is None else needs
        name = f"v{len(self._lines)}"
        given = self._given.get(name) or self._place(node, into)
        written = into(node, given) if given else None
        if given and written:
            self._spelling.variable(node, given)
            self.write(written, *needs)
        else:
            self._spelling.variable(node, name)
            self.write(f"{name} = {expression}", *needs)

    def _place(self, node: fx.Node, into: Callable[[fx.Node, str], str | None]) -> str | None:
        """Return the tensor of the workspace to compute a result in, if there is a way."""
        form = form_of(node)
        may_hold = self._workspace.may_hold
        if not may_hold(node, form) or into(node, "") is None:
            return None
        # What parts are added to until it is a result would have to be copied from there.
        if not may_hold(_updated(node), form):
            return None
        return self._workspace.place(node, form)

    def _may_overwrite(self, x: Any, at: fx.Node) -> bool:
        fits = may_overwrite(self._lifetimes, x, at)
        return fits and self._workspace.may_pass_on(x, at)

    def _take_place(self, node: fx.Node, of: fx.Node) -> None:
        self._spelling.variable(node, self._spelling.show(of))
        self._lifetimes.join(node, of)
        if self._bare is not None and of in self._bare:
            self._bare.add(node)

    def _expression(self, node: fx.Node) -> str:
        show, constant = self._spelling.show, self._spelling.constant
        if not isinstance(node.target, OpOverload):
            if node.target in LOWERED:
                shown = self._spelling.arguments(node.args, {}, node)
                return f"{constant(node.target, LOWERED[node.target].strip('_'))}({shown})"
            source, position = node.args  # of operator.getitem
            return f"{show(source)}[{position!r}]"
        args, kwargs = brief(node.target, node.args, node.kwargs)
        difference = self._number_minus(node, args)
        if difference is not None:
            return difference
        looks: Any = fx.map_arg((args, kwargs), lambda x: x.meta["val"])
        found = binding(node.target, looks[0], looks[1], node.meta.get("val"))
        name = constant(found, node.target._schema.name.partition("::")[2])
        return f"{name}({self._spelling.arguments(args, kwargs, node)})"

    def _number_minus(self, node: fx.Node, args: Any, out: str = "") -> str | None:
        if node.target is not aten.rsub.Scalar:
            return None
        number = self._spelling.number(args[1], node)
        if number is None:
            return None
        subtract = self._spelling.constant(torch.sub, "sub")
        scale = "".join(f", alpha={self._spelling.show(alpha)}" for alpha in args[2:])
        return f"{subtract}({number}, {self._spelling.show(args[0])}{scale}{out})"

    def _expression_into(self, node: fx.Node, given: str) -> str | None:
        if not isinstance(node.target, OpOverload):
            return None
        args, kwargs = brief(node.target, node.args, node.kwargs)
        difference = self._number_minus(node, args, f", out={given}")
        if difference is not None:
            return difference
        looks: Any = fx.map_arg((args, kwargs), lambda x: x.meta["val"])
        found = binding_into(node.target, looks[0], looks[1], node.meta.get("val"))
        if found is None:
            return None
        name = self._spelling.constant(found, node.target._schema.name.partition("::")[2])
        shown = self._spelling.arguments(args, kwargs, node)
        return f"{name}({shown}{', ' if shown else ''}out={given})"

    def _overwrite(self, node: fx.Node) -> bool:
        """Let the result take the place of an operand that nobody needs any more."""
        if name_of(node) not in _OVERWRITING:
            return False
        args, kwargs = brief(node.target, node.args, node.kwargs)  # type: ignore[arg-type]
        # The methods do not take an index of None, which the operations do.
        if any(isinstance(a, list | tuple) and any(i is None for i in a) for a in args):
            return False
        orders = [args]
        if node.target in _COMMUTATIVE and len(args) == 2 and not kwargs:
            orders.append(args[::-1])
        for into, *rest in orders:
            if self._may_overwrite(into, node):
                shown, name = self._spelling.show(into), name_of(node).partition("::")[2]
                many = self._bare is not None and node.meta["val"].numel() >= _MANY
                written = many and name_of(node) in _ROUNDED and self._expression_into(node, shown)
                if not written:
                    written = f"{shown}.{name}_({self._spelling.arguments(rest, kwargs, node)})"
                self.write(written, *node.all_input_nodes)
                self._take_place(node, into)
                return True
        return False

    # Parts of tensors

    def _slice(self, node: fx.Node) -> bool:
        if node.target is not aten.slice.Tensor:
            return False
        source, *where = node.args
        part = self._part(source, source, (*where, *_WHOLE[len(where) :]))
        if part is not None:
            self._assign(node, part)
        return part is not None

    def _within(self, node: fx.Node) -> bool:
        """Compute a result that is only put among zeros in its place there."""
        pad = next(iter(node.users), node)
        if len(node.users) != 1 or pad.target not in _PADS or name_of(node) not in _ROUNDED:
            return False
        first, look = node.args[0], node.meta["val"]
        if len(node.args) > 2 or node.kwargs or not isinstance(first, fx.Node):
            return False
        operand = first.meta["val"]
        if look.is_complex() or operand.dtype != look.dtype or not operand.dim():
            return False
        if self._expression_into(node, "") is None or not self._zeros(pad, first):
            return False
        self._padded.add(pad)
        part = self._part(pad, pad, pad.args[2:])
        self.write(str(self._expression_into(node, str(part))), pad, *node.all_input_nodes)
        return True

    def _pad(self, node: fx.Node) -> bool:
        """Put a tensor among zeros."""
        if node in self._padded:
            return True
        if node.target not in _PADS:
            return False
        source, _, *where = node.args
        if not self._zeros(node, source):
            return False
        self._into_part(node, "copy_", source, where)
        return True

    def _zeros(self, pad: fx.Node, like: Any) -> bool:
        """Make the zeros that something is put among, if it can be; ``like`` is of their kind."""
        _, shape, *where = pad.args
        if self._spelling.part("", pad.meta["val"], tuple(where)) is None:
            return False
        zeros = self._spelling.zeros(shape, like, pad.meta["val"], self._bare is not None)
        self._assign(pad, zeros, lambda _, given: f"{given}.zero_()", [like])
        if self._bare is not None:
            self._bare.add(pad)
        return True

    def _update(self, node: fx.Node) -> bool:
        """Write or add to a part of a tensor, or of a copy where it is still needed."""
        if node.target not in _UPDATES or not node.meta["val"].is_contiguous():
            return False
        into, source, *where = node.args
        if node.target is aten.slice_scatter.default:
            where = [*where, *_WHOLE[len(where) :]]
        if self._part(into, node, where) is None:
            return False
        if self._may_overwrite(into, node):
            self._take_place(node, into)  # type: ignore[arg-type]
        else:
            shown = self._spelling.show(into)
            self._assign(node, f"{shown}.clone()", lambda _, given: f"{given}.copy_({shown})")
        method = LOWERED.get(node.target, "copy_")
        self._into_part(node, method, source, where)
        return True

    def _into_part(self, node: fx.Node, method: str, source: Any, where: Any) -> None:
        part = self._part(node, node, where)
        self.write(f"{part}.{method}({self._spelling.show(source)})", node, source)

    def _part(self, shown: Any, like: Any, where: Any) -> str | None:
        """Write a part of a tensor; ``where`` is (dim, index) or (dim, start, end, step)."""
        bare = self._bare is not None and shown in self._bare
        if bare:
            self.trusted.add(shown)
        name = self._spelling.show(shown)
        return self._spelling.part(name, like.meta["val"], tuple(where), bare)


def _updated(node: fx.Node) -> fx.Node:
    """What a result has become after updates of its parts, one after the other."""
    while True:
        updates = [u for u in node.users if u.target in _UPDATING and u.args[0] is node]
        if not updates:
            return node
        node = updates[-1]
