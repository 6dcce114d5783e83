"""Emission: a simplified graph becomes Python source, one cheap call after the other.

Knows: which spelling of an operation is the cheapest to call.
Must not know: where the graph comes from, and what the operations are for.

At small sizes time goes into calls, not into arithmetic. What pays, as measured on torch 2.13 CPU:
0.4 us where a result overwrites an operand, 0.6 us where a number is a 0-d tensor already, 0.6 us
for indexing with a ready slice, 0.2 to 0.6 us per call below autograd's dispatch keys.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from diffface.backends._compiled import Program
from diffface.backends._torch_bindings import binding, brief
from diffface.backends._torch_graph import aten, filling, name_of
from diffface.backends._torch_lifetimes import Lifetimes, allocates
from diffface.backends._torch_lowering import add_select, add_slice, normal_slice

_OVERWRITING = frozenset(
    f"aten::{name}"
    for name in """
    abs acos add addcdiv addcmul asin atan clamp clamp_max clamp_min cos cosh div erf erfc exp exp2
    expm1 index_add index_put log log10 log1p log2 masked_fill mul neg pow reciprocal rsqrt scatter
    scatter_add sigmoid sign sin sinh sqrt square sub tan tanh tril triu
    """.split()
)
_COMMUTATIVE = (aten.add.Tensor, aten.mul.Tensor)
_NUMERIC = (
    aten.add.Tensor,
    aten.div.Tensor,
    aten.mul.Tensor,
    aten.rsub.Scalar,
    aten.sub.Tensor,
)
# In lower precisions an operation rounds a number differently than a 0-d tensor
_EXACT = (torch.float32, torch.float64, torch.complex64, torch.complex128)

# A hand-written program would run under no_grad; staying below autograd altogether costs the same
# and makes every call cheaper. Autocast acted at preparation, where it was on.
_BELOW = torch._C.DispatchKeySet(torch._C.DispatchKey.AutogradFunctionality)
for _key in ("ADInplaceOrView", "AutocastCPU", "AutocastCUDA"):
    _BELOW = _BELOW | torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _key))


def emit(module: fx.GraphModule) -> tuple[str, Program]:
    """Write down the graph of ``module`` as a Python function.

    Parameters
    ----------
    module : GraphModule
        Simplified and lowered.

    Returns
    -------
    tuple
        The source, and the function. It is re-entrant, takes inputs of any strides, and returns
        new, contiguous tensors.
    """
    return _Emitter(module).function()


@dataclass
class _Line:
    """One statement, and which variables it needs."""

    text: str
    needs: set[str] = field(default_factory=set)


class _Emitter:
    def __init__(self, module: fx.GraphModule) -> None:
        self._module = module
        self._lifetimes = Lifetimes(module.graph)
        self._variables: dict[fx.Node, str] = {}
        self._inputs: list[str] = []
        self._lines: list[_Line] = []
        self._constants: dict[str, Any] = {
            "below": torch._C._ExcludeDispatchKeyGuard,
            "autograd": _BELOW,
        }

    def function(self) -> tuple[str, Program]:
        for node in self._module.graph.nodes:
            self._visit(node)
        source = self._source()
        scope = dict(self._constants)
        exec(compile(source, "<diffface replay>", "exec"), scope)
        run: Program = scope["run"]
        return source, run

    def _source(self) -> str:
        *body, result = self._lines
        text = [f"def run({', '.join(self._inputs)}):", "    with below(autograd):"]
        later = set(result.needs)
        lines = [f"        {result.text}"]
        for line in reversed(body):
            # Memory goes back as early as it would without a graph
            dead = sorted(line.needs - later)
            lines.append(f"        {line.text}" + (f"; del {', '.join(dead)}" if dead else ""))
            later |= line.needs
        return "\n".join([*text, *reversed(lines), ""])

    # Nodes

    def _visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self._variables[node] = name = f"x{len(self._inputs)}"
            self._inputs.append(name)
            if node.meta["val"].dim() and node.users:
                self._write(f"if not {name}.is_contiguous(): {name} = {name}.contiguous()")
        elif node.op == "get_attr":
            self._variables[node] = self._constant(getattr(self._module, str(node.target)), "c")
        elif node.op == "output":
            self._return(node)
        elif node.target in _TEMPLATES and _TEMPLATES[node.target](self, node):
            return
        elif not self._overwrite(node):
            self._assign(node, self._expression(node))

    def _return(self, node: fx.Node) -> None:
        results, seen = [], set()
        for output in node.args[0]:  # type: ignore[union-attr]
            memory = self._lifetimes.memory(output)
            shown = self._variables[output]
            if not output.meta["val"].is_contiguous():
                contiguous = self._constant(torch.contiguous_format)
                shown = f"{shown}.clone(memory_format={contiguous})"
            elif not allocates(output) or memory in seen:
                shown = f"{shown}.clone()"
            seen.add(memory)
            results.append(shown)
        self._write(f"return ({''.join(f'{shown}, ' for shown in results)})", *node.args[0])

    def _overwrite(self, node: fx.Node) -> bool:
        """Let a result take the place of an operand that nobody needs any more."""
        if name_of(node) not in _OVERWRITING:
            return False
        args, kwargs = brief(node.target, node.args, node.kwargs)  # type: ignore[arg-type]
        if not self._lifetimes.may_overwrite(args[0], node):
            args = args[::-1]
            if node.target not in _COMMUTATIVE or len(args) != 2 or kwargs:
                return False
            if not self._lifetimes.may_overwrite(args[0], node):
                return False
        into, *rest = args
        name = name_of(node).partition("::")[2]
        shown = self._arguments(rest, kwargs, node)
        self._write(f"{self._variables[into]}.{name}_({shown})", *node.all_input_nodes)
        self._take_place(node, into)
        return True

    def _expression(self, node: fx.Node) -> str:
        if not isinstance(node.target, torch._ops.OpOverload):  # operator.getitem
            source, position = node.args
            return f"{self._variables[source]}[{position!r}]"  # type: ignore[index]
        args, kwargs = brief(node.target, node.args, node.kwargs)
        result = node.meta["val"]
        fakes, fake_kwargs = fx.map_arg((args, kwargs), lambda x: x.meta["val"])
        found = binding(node.target, fakes, fake_kwargs, result)
        if node.target is aten.rsub.Scalar and len(args) == 2:
            number = self._number(args[1], node)
            if number is not None:
                sub = self._constant(torch._C._VariableFunctions.sub, "sub")
                return f"{sub}({number}, {self._variables[args[0]]})"  # type: ignore[index]
        name = self._constant(found, node.target._schema.name.partition("::")[2])
        return f"{name}({self._arguments(args, kwargs, node)})"

    # Statements

    def _write(self, text: str, *needs: Any) -> None:
        self._lines.append(
            _Line(text, {self._variables[x] for x in needs if self._is_local(x)})
        )

    def _is_local(self, x: Any) -> bool:
        return isinstance(x, fx.Node) and x.op != "get_attr"

    def _assign(self, node: fx.Node, expression: str, *more: fx.Node) -> str:
        self._variables[node] = name = f"v{len(self._variables)}"
        self._write(f"{name} = {expression}", *node.all_input_nodes, *more)
        return name

    def _take_place(self, node: fx.Node, of: fx.Node) -> None:
        self._variables[node] = self._variables[of]
        self._lifetimes.join(node, of)

    # Arguments

    def _arguments(self, args: Any, kwargs: dict[str, Any], node: fx.Node) -> str:
        shown = [self._number(x, node) or self._show(x) for x in args]
        return ", ".join([*shown, *(f"{name}={self._show(x)}" for name, x in kwargs.items())])

    def _number(self, x: Any, node: fx.Node) -> str | None:
        """Show a number as a 0-d tensor, which spares torch from making one at every run."""
        value = node.meta["val"]
        if node.target not in _NUMERIC or isinstance(x, (fx.Node, bool)):
            return None
        first: Any = node.args[0]
        if value.device.type != "cpu" or value.dtype not in _EXACT:
            return None
        if first.meta["val"].dtype != value.dtype:
            return None
        return self._constant(torch.tensor(x, dtype=value.dtype), "n")

    def _show(self, x: Any) -> str:
        if isinstance(x, fx.Node):
            return self._variables[x]
        if isinstance(x, (list, tuple)):
            return f"({''.join(f'{self._show(item)}, ' for item in x)})"
        if x is None or isinstance(x, (bool, int, str)):
            return repr(x)
        return self._constant(x)

    def _constant(self, value: Any, name: str = "k") -> str:
        for known, other in self._constants.items():
            if other is value:
                return known
        name = f"{name}_{len(self._constants)}"
        self._constants[name] = value
        return name

    # Parts of tensors

    def part(self, shown: str, whole: torch.Tensor, where: tuple[Any, ...]) -> str:
        """Show a view of a part of a tensor: (dim, index) or (dim, start, end, step)."""
        if len(where) == 2:
            return f"{shown}.select({where[0]}, {where[1]})"
        dim, start, end, step = (*where, 0, None, None, 1)[:4] if not where else _slice(where)
        if dim % whole.dim() == 0:
            return f"{shown}[{self._constant(slice(start, end, step), 's')}]"
        begin, length = normal_slice(whole.shape[dim], start, end)
        return f"{shown}.narrow({dim}, {begin}, {length})"

    def slice(self, node: fx.Node) -> bool:
        source, *where = node.args
        whole = source.meta["val"]  # type: ignore[union-attr]
        if not _is_simple(where, whole):
            return False
        self._assign(node, self.part(self._variables[source], whole, _slice(where)))  # type: ignore[index]
        return True

    def pad(self, node: fx.Node) -> bool:
        source, shape, *where = node.args
        whole = node.meta["val"]
        if not _is_simple(where, whole):
            return False
        shown = self._variables[source]  # type: ignore[index]
        name = self._assign(node, f"{shown}.new_zeros({self._show(shape)})")
        self._lines[-1].needs.clear()
        self._write(f"{self.part(name, whole, tuple(where))}.copy_({shown})", source, node)
        return True

    def update(self, node: fx.Node) -> bool:
        into, source, *where = node.args
        whole = node.meta["val"]
        adds = node.target in (add_slice, add_select)
        where = where if adds or len(where) == 2 else list(_slice(where))
        if not whole.is_contiguous() or not _is_simple(where, whole):
            return False
        if self._lifetimes.may_overwrite(into, node):
            self._take_place(node, into)  # type: ignore[arg-type]
        else:
            self._assign(node, f"{self._variables[into]}.clone()")  # type: ignore[index]
        view = self.part(self._variables[node], whole, tuple(where))
        method = "add_" if adds else "copy_"
        self._write(f"{view}.{method}({self._variables[source]})", source, node)  # type: ignore[index]
        return True
