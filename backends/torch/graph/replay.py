"""Replay: a graph run as straight-line Python, one cheap call after the other.

The default for torch.

Knows: the passes from a simplified graph to a function.
Must not know: where the graph comes from, and what the operations are for.

At small sizes time goes into calls, not into arithmetic. What pays, as measured on torch 2.13 CPU:
0.4 us where a result overwrites an operand, 0.6 us where a number is a 0-d tensor already, 0.6 us
for indexing with a ready slice, 0.2 to 0.6 us per call below autograd's dispatch keys.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import fx
from torch.autograd.graph import increment_version

from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.recording.lifetimes import Lifetimes
from diffface.backends.recording.names import code
from diffface.backends.recording.workspace import Workspace
from diffface.backends.torch.graph.direct import Direct
from diffface.backends.torch.graph.lowering import lower
from diffface.backends.torch.graph.memory import is_whole, lifetimes_of, view_of
from diffface.backends.torch.graph.spelling import Spelling
from diffface.backends.torch.graph.statements import Statements
from diffface.backends.torch.levels import are_plain

# A hand-written program would run under no_grad; to stay below autograd altogether costs the same
# to enter and makes every call cheaper. Autocast had its say when the graph was recorded.
BELOW = torch._C.DispatchKeySet(torch._C.DispatchKey.AutogradFunctionality)
for _key in ("ADInplaceOrView", "AutocastCPU", "AutocastCUDA"):
    BELOW = BELOW | torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _key))


@dataclass(frozen=True, slots=True, repr=False)
class Replay:
    """A recorded program, to look at or to go on with.

    Attributes
    ----------
    module : GraphModule
        The graph, a callable by itself.
    source : str
        The Python function that runs it; lower-case letters with numbers are its constants.
    run : callable
        That function.
    """

    module: fx.GraphModule
    source: str
    run: Program

    def __call__(self, *inputs: Array) -> Arrays:
        return self.run(*inputs)

    def __repr__(self) -> str:
        return f"<replay of {len(self.module.graph.nodes)} nodes>\n{self.source}"


def replay(module: fx.GraphModule) -> Compiled:
    """Make straight-line Python of a recorded and simplified program; ``module`` is changed."""
    lower(module)
    source, run, direct = _emit_into(module)

    @cache
    def into(places: tuple[int, ...]) -> Program:
        return _emit_into(module, places)[1]

    native = Replay(module, source, run)
    return Compiled(run, "replay", native, direct=Direct(direct), into=into)


def node_by_node(module: fx.GraphModule) -> Compiled:
    """Run a recorded program as it is, on tensors whose memory is that of several processes."""

    def run(*inputs: Array) -> Arrays:
        with torch.no_grad():
            return tuple([a.clone() for a in module(*inputs)])

    return Compiled(run, "replay", Replay(module, str(module.code), run))


def _emit_into(
    module: fx.GraphModule, places: tuple[int, ...] = ()
) -> tuple[str, Program, Program]:
    """Write down the graph of ``module`` as a Python function.

    Parameters
    ----------
    module : GraphModule
        Simplified and lowered.
    places : tuple of int
        Outputs that go into contiguous tensors, which the function takes after its inputs.

    Returns
    -------
    tuple
        The source, the function, and the same for inputs that are nothing but memory, row by row.
        It is re-entrant, takes inputs of any strides, and returns new, contiguous tensors.
    """
    if not places:
        return _emit(module, {}, {})
    # What the variables are called that end up as outputs shows once all is written.
    given = {i: f"o{i}" for i in places}
    ends: dict[str, str] = {}
    _emit(module, given, ends)
    return _emit(module, given, ends)


def _emit(
    module: fx.GraphModule, given: dict[int, str], ends: dict[str, str], keep: bool = True
) -> tuple[str, Program, Program]:
    """Write it down; ``ends`` are variables that go by other names, and is told about more.

    With ``keep``, memory is kept from call to call.
    """
    lifetimes, spelling = lifetimes_of(module.graph), Spelling()
    barred = module.graph.nodes if not keep else module.graph.output_node().all_input_nodes
    workspace = Workspace(lifetimes, barred, view_of)
    examples = [node for node in module.graph.nodes if node.op == "placeholder"]
    bare = [node for node in examples if node.meta["val"].dim()] if keep else None
    statements = Statements(lifetimes, spelling, workspace, dict(ends), bare)
    inputs: list[str] = []
    rows: list[str] = []
    for node in module.graph.nodes:
        if node.op == "placeholder":
            inputs.append(name := spelling.variable(node, f"x{len(inputs)}"))
            needed = node.meta["val"].dim() and node.users
            rows.append(f"{name}.contiguous()" if needed else name)
        elif node.op == "get_attr":
            spelling.variable(node, spelling.constant(getattr(module, str(node.target)), "c"))
        elif node.op == "output":
            outputs: Any = node.args[0]
            results = _results(outputs, lifetimes, spelling)
            for i, name in given.items():
                if results[i] != name:
                    statements.write(f"{name}.copy_({spelling.show(outputs[i])})", outputs[i])
                    ends[results[i]] = name
                # So that autograd notices where it has kept the tensor.
                statements.write(f"{spelling.constant(increment_version, 'written')}({name})")
                results[i] = name
            first, last = workspace.lines(spelling.constant)
            for line in last:
                statements.write(line)
            statements.write(f"return ({''.join(f'{result}, ' for result in results)})", *outputs)
        else:
            statements.add(node)
    arguments = ", ".join([*inputs, *given.values()])
    lines = [f"def direct({arguments}):", "    with below(keys):"]
    lines += [f"        {line}" for line in (*first, *statements.text())]
    lines.append(f"def run({arguments}):")
    if first or statements.trusted:
        shapes = [
            f" and {name}.shape == {tuple(node.meta['val'].shape)}"
            for name, node in zip(inputs, examples, strict=True)
            if node in statements.trusted
        ]
        fits = f"plain({arguments}){''.join(shapes)}"
        lines.append(f"    if not ({fits}): return general()({arguments})")
    lines.append(f"    return direct({', '.join([*rows, *given.values()])})")
    source = "\n".join([*lines, ""])
    scope = {"below": torch._C._ExcludeDispatchKeyGuard, "keys": BELOW, **spelling.constants}
    scope |= {"rules": module.meta["rules"], "plain": are_plain}
    # For tensors that are more than memory.
    scope["general"] = cache(lambda: _emit(module, given, dict(ends), keep=False)[1])
    exec(code(source, "<diffface replay>"), scope)  # noqa: S102 - the text comes from a graph
    return source, scope["run"], scope["direct"]


def _results(outputs: Any, lifetimes: Lifetimes[fx.Node], spelling: Spelling) -> list[str]:
    """Write the results, copied where they are not new, contiguous and apart from each other."""
    results, seen = [], set()
    for output in outputs:
        memory = lifetimes.memory(output)
        shown = spelling.show(output)
        if not output.meta["val"].is_contiguous():
            shown = f"{shown}.clone(memory_format={spelling.constant(torch.contiguous_format)})"
        elif not is_whole(output) or memory in seen:
            shown = f"{shown}.clone()"
        seen.add(memory)
        results.append(shown)
    return results
