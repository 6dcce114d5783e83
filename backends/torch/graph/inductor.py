"""Inductor: a recorded program compiled to machine code. What ``compile=True`` means for torch.

Knows: torch's inductor, and what its generated code assumes about its inputs.
Must not know: how the graph was made.

The generated function is called directly. What torch puts around it (guards on shapes, a check of
every stride, hooks) is for callers who may bring anything; here the signature is fixed already.
"""

import threading
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import PreparationWarning
from diffface.backends.rule import Rule
from diffface.backends.torch.arrays import TORCH
from diffface.backends.torch.graph.attention import open_attention
from diffface.backends.torch.graph.biases import part_biases
from diffface.backends.torch.graph.direct import Direct
from diffface.backends.torch.graph.gathers import (
    GATHERS,
    all_within,
    compute_before_gathers,
    copied,
    gather_within,
)
from diffface.backends.torch.graph.graph import aten
from diffface.backends.torch.graph.kernels import calls_many
from diffface.backends.torch.graph.memory import allocates, lifetimes_of
from diffface.backends.torch.graph.replay import BELOW, replay
from diffface.backends.torch.graph.segments import join_segments
from diffface.backends.torch.levels import PLAIN, are_plain

# Inductor keeps process-wide state while it compiles
_COMPILING = threading.RLock()

# Whether anyone watches the operations of torch
_MODES = torch._C._len_torch_dispatch_stack
_LEVEL = torch._C._functorch.maybe_current_level
_TRACING = torch._C._get_tracing_state

_OPTIONS = {
    "alignment_asserts": False,
    "compile_threads": 1,  # else a pool of processes would stay behind
    "fallback_random": True,  # the caller's generator, advanced as the eager program does
    "scalar_asserts": False,
    "size_asserts": False,
}
# A kernel of fewer numbers runs on one thread: to wake up others takes longer than it does
_SERIAL = 1 << 14

# Padding, and what the C++ compiler turns into vector instructions by itself
_PADS = {aten.slice_scatter.default, aten.constant_pad_nd.default}
_ARITHMETIC = {
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.neg.default,
    aten.full.default, aten.slice.Tensor, aten.select.int, aten.cat.default, aten.clone.default,
    aten.reshape.default, aten.view.default, aten.as_strided.default, *_PADS,
}  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class CompiledGraph:
    """A compiled program, to look at or to go on with.

    Attributes
    ----------
    module : GraphModule
        The graph that was compiled; after the inputs it takes the constants.
    constants : tuple of Tensor
        What the program captured.
    source : str
        The generated Python, with the kernels.
    run : callable
        The function that is called.
    """

    module: fx.GraphModule
    constants: Arrays
    source: str
    run: Program

    def __call__(self, *inputs: Array) -> Arrays:
        return self.run(*inputs)

    def __repr__(self) -> str:
        return f"<inductor, {len(self.module.graph.nodes)} nodes>\n{self.source}"


def inductor(module: fx.GraphModule, examples: Arrays) -> Compiled:
    """Compile a recorded and simplified program.

    Parameters
    ----------
    module : GraphModule
        The program; it is changed.
    examples : tuple of Tensor
        Inputs to run it with once.

    Returns
    -------
    Compiled
        With strategy ``"inductor"``; ``native`` is a `CompiledGraph`. Where inductor fails, there
        is a `PreparationWarning`, and what `replay` returns.
    """
    try:
        with _COMPILING, warnings.catch_warnings():
            # Inductor's own imports and choices; the user has no say in them
            warnings.simplefilter("ignore")
            return _compile(module, examples)
    except Exception as error:  # noqa: BLE001 - whatever fails in there, replay works
        warnings.warn(_explain(error), PreparationWarning, stacklevel=2)
    return replay(module)


def _compile(module: fx.GraphModule, examples: Arrays) -> Compiled:
    # Imported late: half a second, and only for those who ask for it
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner, record_original_output_strides
    from torch._inductor.decomposition import select_decomp_table

    graph, constants = _with_constants_as_inputs(module)
    constants, within = gather_within(graph, constants)
    join_segments(graph)
    _copy_old_outputs(graph)
    open_attention(graph)
    part_biases(graph)
    inputs = [node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder"]
    chunk = max(config.cpp.min_chunk_size, _SERIAL // torch.get_num_threads())
    with config.patch({**_OPTIONS, "cpp.min_chunk_size": chunk}), torch.no_grad():
        with FakeTensorMode():
            fakes = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in inputs]
            table = select_decomp_table()
            graph = make_fx(graph, decomposition_table=table, tracing_mode="fake")(*fakes)
        compute_before_gathers(graph)
        # A result's strides are part of what was promised
        output: Any = graph.graph.output_node()
        output.meta["user_visible_output_idxs"] = list(range(len(output.args[0])))
        record_original_output_strides(graph)
        options: dict[str, Any] = {"cpp.simdlen": 1} if _pads_doubles(graph) else {}
        options["assert_indirect_indexing"] = not all_within(graph, within)
        options["cpp_wrapper"] = calls_many(graph)
        with config.patch(options):
            compiled: Any = compile_fx_inner(graph, fakes, cpp_wrapper=options["cpp_wrapper"])
    rules = module.meta["rules"]
    run, direct = _write(compiled.current_callable, graph, examples, constants, rules)
    native = CompiledGraph(graph, constants, compiled.source_code, run)
    return Compiled(run, "inductor", native, direct=Direct(direct))


def _with_constants_as_inputs(module: fx.GraphModule) -> tuple[fx.GraphModule, Arrays]:
    """Copy a graph and lift its constants, which inductor would otherwise write into the code."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    captured = [node for node in module.graph.nodes if node.op == "get_attr"]
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    for node in (*inputs, *captured):
        copies[node] = graph.placeholder(node.name)
        copies[node].meta = dict(node.meta)
    for node in module.graph.nodes:
        if node not in copies:
            copies[node] = graph.node_copy(node, lambda old: copies[old])
    # The kernels read constants row by row, too
    constants = tuple(getattr(module, str(node.target)).contiguous() for node in captured)
    return fx.GraphModule({}, graph), constants


def _pads_doubles(module: fx.GraphModule) -> bool:
    """Whether numbers of 64 bits are padded, and nothing but arithmetic and gathers is done.

    Inductor's own vector instructions read padded doubles one by one; several times slower.
    """
    nodes = [node for node in module.graph.nodes if node.op == "call_function"]
    # Small powers are products.
    others = [n for n in nodes if n.target not in {*_ARITHMETIC, *GATHERS}]
    if any(n.target is not aten.pow.Tensor_Scalar or n.args[1] not in range(9) for n in others):
        return False
    return any(n.target in _PADS and n.meta["val"].dtype is torch.float64 for n in nodes)


def _copy_old_outputs(module: fx.GraphModule) -> None:
    """Copy the results that are views, or inputs, or there twice, or not contiguous."""
    lifetimes = lifetimes_of(module.graph)
    output = module.graph.output_node()
    given: Any = output.args[0]
    results: list[fx.Node] = []
    seen = set()
    for node in given:
        memory = lifetimes.memory(node)
        is_new = allocates(node) and memory not in seen and node.meta["val"].is_contiguous()
        results.append(node if is_new else copied(node, output))
        seen.add(memory)
    output.args = (tuple(results),)
    module.recompile()


def _write(
    call: Program, module: fx.GraphModule, examples: Arrays, constants: Arrays, rules: list[Rule]
) -> tuple[Program, Program]:
    """Write a function that calls the generated code, and one that does so without a look.

    There is as little as possible around it.
    """
    names = [f"x{i}" for i in range(len(examples))]
    given = ", ".join([*names, *(f"c{i}" for i in range(len(constants)))])
    apart, calls_torch = _observe(call, (*map(TORCH.fresh, examples), *constants))
    # The kernels read bare memory: row by row, and no negation or conjugation still to do
    bare = [
        f"type({name}) in plain and {name}.is_contiguous() and not {name}.is_neg()"
        + (f" and not {name}.is_conj()" if x.is_complex() else "")
        for name, x in zip(names, examples, strict=True)
    ]
    result = f"tuple(call([{given}]))" if apart else f"tuple(x.clone() for x in call([{given}]))"
    call_it = f"    {'with below(keys): ' if calls_torch else ''}return {result}"
    lines = [
        f"def direct({', '.join(names)}):",
        call_it,
        f"def run({', '.join(names)}):",
        f"    if modes() or level() is not None or tracing() or not ({' and '.join(bare)}):",
        f"        return general({', '.join(names)})",
        call_it,
    ]

    def general(*inputs: Array) -> Arrays:
        # Generated code reads memory, past whoever watches; the graph itself is for them.
        if not are_plain(*inputs):
            outputs: Arrays = module(*inputs, *constants)
            return tuple(x.clone() for x in outputs)
        plain = (x.detach().resolve_conj().resolve_neg().contiguous() for x in inputs)
        return run(*plain)

    scope: dict[str, Any] = {f"c{i}": constant for i, constant in enumerate(constants)}
    scope |= {"below": torch._C._ExcludeDispatchKeyGuard, "keys": BELOW, "call": call}
    scope |= {"modes": _MODES, "level": _LEVEL, "tracing": _TRACING, "plain": PLAIN}
    scope["general"], scope["rules"] = general, rules  # these are kept as long as it is
    exec("\n".join(lines), scope)  # noqa: S102 - the text is written right here
    run: Program = scope["run"]
    return run, scope["direct"]


def _observe(call: Program, inputs: Arrays) -> tuple[bool, bool]:
    """Run generated code once, to see two things that hold at every run.

    They are whether its results lie in memory of their own (equal ones are shared), and whether it
    calls operations of torch besides its own kernels.
    """
    noticing = _Noticing()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=()), torch.no_grad(), noticing:
        results = call(list(inputs))
    places = [x.untyped_storage().data_ptr() for x in results if x.numel()]
    taken = {x.untyped_storage().data_ptr() for x in inputs}
    return len({*places} - taken) == len(places), noticing.called


class _Noticing(TorchDispatchMode):
    """Notices whether any operation of torch is called."""

    called = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.called = True
        return func(*args, **(kwargs or {}))


def _explain(error: BaseException) -> str:
    """Say what is missing."""
    link: BaseException | None = error
    while link is not None:
        if type(link).__name__ == "InvalidCxxCompiler":
            return (
                "`compile=True` needs a C++ compiler and found none; the prepared call replays its"
                " graph instead. Install g++ or clang++, or set the environment variable CXX."
            )
        link = link.__cause__ or link.__context__
    first = next(iter(str(error).splitlines()), "")
    return (
        "`compile=True`: inductor failed, so the prepared call replays its graph instead."
        f" {type(error).__name__}: {first}"
    )
