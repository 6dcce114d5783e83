"""Emission: a simplified graph becomes Python source, one cheap call after the other.

Knows: which spelling of an operation is the cheapest to call.
Must not know: where the graph comes from, and what the operations are for.

At small sizes time goes into calls, not into arithmetic. What pays, as measured on torch 2.13 CPU:
0.4 us where a result overwrites an operand, 0.6 us where a number is a 0-d tensor already, 0.6 us
for indexing with a ready slice, 0.2 to 0.6 us per call below autograd's dispatch keys.
"""

from typing import Any

import torch
from torch import fx
from torch.autograd.graph import increment_version

from diffface.backends.compiled import Program
from diffface.backends.recording.source import code
from diffface.backends.torch.graph.lifetimes import Lifetimes, allocates
from diffface.backends.torch.graph.spelling import Spelling
from diffface.backends.torch.graph.statements import Statements

# A hand-written program would run under no_grad; to stay below autograd altogether costs the same
# to enter and makes every call cheaper. Autocast had its say when the graph was recorded.
BELOW = torch._C.DispatchKeySet(torch._C.DispatchKey.AutogradFunctionality)
for _key in ("ADInplaceOrView", "AutocastCPU", "AutocastCUDA"):
    BELOW = BELOW | torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _key))


def emit(module: fx.GraphModule, places: tuple[int, ...] = ()) -> tuple[str, Program]:
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
        The source, and the function. It is re-entrant, takes inputs of any strides, and returns
        new, contiguous tensors.
    """
    if not places:
        return _emit(module, {}, {})
    # What the variables are called that end up as outputs shows once all is written.
    given = {i: f"o{i}" for i in places}
    ends: dict[str, str] = {}
    _emit(module, given, ends)
    return _emit(module, given, ends)


def _emit(
    module: fx.GraphModule, given: dict[int, str], ends: dict[str, str]
) -> tuple[str, Program]:
    """Write it down; ``ends`` are variables that go by other names, and is told about more."""
    lifetimes, spelling = Lifetimes(module.graph), Spelling()
    statements = Statements(lifetimes, spelling, dict(ends))
    inputs: list[str] = []
    for node in module.graph.nodes:
        if node.op == "placeholder":
            inputs.append(name := spelling.variable(node, f"x{len(inputs)}"))
            if node.meta["val"].dim() and node.users:
                statements.write(f"if not {name}.is_contiguous(): {name} = {name}.contiguous()")
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
            statements.write(f"return ({''.join(f'{result}, ' for result in results)})", *outputs)
        else:
            statements.add(node)
    lines = [f"def run({', '.join([*inputs, *given.values()])}):", "    with below(keys):"]
    lines += [f"        {line}" for line in statements.text()]
    source = "\n".join([*lines, ""])
    scope = {"below": torch._C._ExcludeDispatchKeyGuard, "keys": BELOW, **spelling.constants}
    exec(code(source, "<diffface replay>"), scope)  # noqa: S102 - the text comes from a graph
    run: Program = scope["run"]
    return source, run


def _results(outputs: Any, lifetimes: Lifetimes, spelling: Spelling) -> list[str]:
    """Write the results, copied where they are not new, contiguous and apart from each other."""
    results, seen = [], set()
    for output in outputs:
        memory = lifetimes.memory(output)
        shown = spelling.show(output)
        if not output.meta["val"].is_contiguous():
            shown = f"{shown}.clone(memory_format={spelling.constant(torch.contiguous_format)})"
        elif not allocates(output) or memory in seen:
            shown = f"{shown}.clone()"
        seen.add(memory)
        results.append(shown)
    return results
