"""Building: a program on tensors is recorded, made fast, and compared with a plain call."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import CannotRecord, PreparationWarning
from diffface.backends.recording.agreement import check_agreement
from diffface.backends.recording.numbers import build_with_numbers
from diffface.backends.recording.reachable import Belongings, Generators
from diffface.backends.recording.user_frame import users_stacklevel
from diffface.backends.torch.arrays import TORCH
from diffface.backends.torch.graph.entries import (
    compute_entries,
    copy_of,
    gathers_entries,
    guarded,
)
from diffface.backends.torch.graph.graph import is_random
from diffface.backends.torch.graph.inductor import inductor
from diffface.backends.torch.graph.replay import node_by_node, replay
from diffface.backends.torch.graph.simplify import simplify
from diffface.backends.torch.graph.trace import trace
from diffface.backends.torch.processes import is_distributed
from diffface.backends.torch.state import is_fake

_FROZEN = (
    "`f` captures a tensor that requires grad. A prepared call keeps the value that it has now, "
    "and its results carry no derivative with respect to it. Pass it as an argument, or detach it."
)


def build(
    program: Program, examples: Arrays, lift: Callable[[object, Array], Array], compiled: bool
) -> Compiled:
    """Record ``program`` and make it fast.

    Parameters
    ----------
    program : callable
        ``program(*inputs) -> tuple of tensors``.
    examples : tuple of Tensor or number
        Give shape, dtype and device of every input.
    lift : callable
        ``lift(number, like)`` is a number as a tensor.
    compiled : bool
        Compile the graph by inductor rather than replay it.

    Raises
    ------
    CannotRecord
        If the program depends on values, or its graph computes something else.
    """
    if any(a.layout != torch.strided for a in examples if isinstance(a, torch.Tensor)):
        raise CannotRecord("an argument is a sparse tensor")
    generators = Generators(program, followed=(torch.Generator,))
    # First as a plain call: torch words some errors otherwise while tracing, and what the function
    # makes once and keeps should be made of tensors that are real.
    expected = program(*map(_copy, examples))
    if generators.have_drawn():
        raise CannotRecord("it draws random numbers that torch does not know; pass them in")

    carries = False

    def record(program: Program, examples: Arrays) -> Compiled:
        nonlocal carries
        belongings = Belongings(program)
        try:
            module = trace(program, examples)
        finally:
            belongings.clear_out(is_fake)
        carries = module.meta["carries"]
        if any(map(is_distributed, examples)):
            return node_by_node(module)
        with warnings.catch_warnings():  # what torch imports meanwhile may set filters
            simplify(module)
            looks = any(map(_looks_at_grad_mode, module.graph.nodes))
            made = _made(module, examples, compiled)
        return _in_grad_mode(made) if looks else made

    result = build_with_numbers(record, program, examples, TORCH)
    native: Any = result.native
    if any(map(is_random, native.module.graph.nodes)):
        result = replace(result, draws=True)
    else:
        terms = lambda inputs: _terms(native, tuple(map(_lift, inputs)))
        unit = lambda: _coarsest_unit(native.module)
        check_agreement(
            result.run, program, examples, TORCH, terms=terms, unit=unit, expected=expected
        )
    if carries:
        warnings.warn(_FROZEN, PreparationWarning, stacklevel=users_stacklevel())
    return result


def _made(module: fx.GraphModule, examples: Arrays, compiled: bool) -> Compiled:
    general = copy_of(module) if gathers_entries(module) else None
    changed = general is not None and compute_entries(module)
    made = inductor(module, examples) if compiled else replay(module)
    return guarded(made, replay(general)) if general is not None and changed else made


def _looks_at_grad_mode(node: fx.Node) -> bool:
    """Whether this keeps what its backward pass needs in grad mode alone, as a kernel of oneDNN."""
    return "mkldnn_rnn_layer" in str(node.target)


def _in_grad_mode(compiled: Compiled) -> Compiled:
    into = compiled.into
    return compiled.run_by(
        torch.enable_grad()(compiled.run),
        into and (lambda places: torch.enable_grad()(into(places))),
    )


def _terms(native: Any, inputs: Arrays) -> float:
    """A bound for the sum of the sizes of terms in a graph."""
    terms = _Terms(native.module)
    terms.run(*inputs, *getattr(native, "constants", ()))
    return terms.largest * terms.count


class _Terms(fx.Interpreter):
    """Runs a graph, and notes the largest number and the largest count of numbers on the way."""

    largest = 0.0
    count = 0

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor) and (result.is_floating_point() or result.is_complex()):
            self.count = max(self.count, result.numel())
            self.largest = max(self.largest, _size(result))
        return result


def _size(tensor: torch.Tensor) -> float:
    """The largest finite number in size."""
    sizes = torch.nan_to_num(tensor.abs(), nan=0.0, posinf=0.0)
    return float(sizes.max()) if tensor.numel() else 0.0


def _coarsest_unit(module: fx.GraphModule) -> float:
    """Machine epsilon of the coarsest numbers in a graph.

    Compiled functions of these are rounded otherwise than torch's own.
    """
    dtypes = {getattr(node.meta.get("val"), "dtype", torch.bool) for node in module.graph.nodes}
    inexact = (t for t in dtypes if t.is_floating_point or t.is_complex)
    return max((torch.finfo(t).eps for t in inexact), default=0.0)


def _copy(value: Array) -> Array:
    """For a function that may write to its arguments."""
    return TORCH.fresh(value) if isinstance(value, torch.Tensor) else value


def _lift(value: Array) -> torch.Tensor:
    return value.clone() if isinstance(value, torch.Tensor) else torch.tensor(value)
