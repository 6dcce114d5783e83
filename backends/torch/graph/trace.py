"""Tracing: a derivation program on tensors becomes a straight-line graph of aten operations.

Knows: torch's functionalisation.
Must not know: how a graph is run, and what a derivation is.

The graph that comes out is functional: no operation in it writes to a tensor. So a caller's array
cannot be corrupted, and whoever runs the graph may reorder, share and drop operations.
"""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import fx

from diffface.backends.compiled import Program
from diffface.backends.errors import CannotRecord
from diffface.backends.recording.user_frame import line_of_error
from diffface.backends.torch.graph.escapes import Escapes, WatchedCalls, reads_values
from diffface.backends.torch.graph.functional import (
    carries,
    check_plain,
    copy_captured,
    drop_expands,
    drop_writes,
    pass_captured,
    return_to_device,
)
from diffface.backends.torch.graph.graph import writes
from diffface.backends.torch.graph.parts import name_parts
from diffface.backends.torch.graph.recorder import Recorder
from diffface.backends.torch.host import called_rules

# The modes of torch's backward pass are those of the process
_TRACING = threading.RLock()


def trace(
    program: Program, examples: Sequence[torch.Tensor], lined: bool = False
) -> fx.GraphModule:
    """Record what ``program`` does to tensors shaped like ``examples``.

    Parameters
    ----------
    program : callable
        ``program(*inputs) -> tuple of tensors``; runs once, or twice if it writes to tensors.
    examples : sequence of Tensor
        Inputs to run it on. Strides do not matter: the graph is recorded for C-contiguous inputs.
    lined : bool
        Whether ``node.meta["line"]`` is to be the line of the user's that a node came from.

    Returns
    -------
    GraphModule
        A functional graph of ``OpOverload`` calls; ``node.meta["val"]`` is a `Look`.
        Tensors that the program captured are copied and hang on the module as attributes;
        ``meta["carries"]`` says whether one of them, not a module's parameter, requires grad, and
        ``meta["rules"]`` are the rules that it calls, to be kept as long as it runs.

    Raises
    ------
    CannotRecord
        If the program depends on values, or does what a graph cannot hold.
    """
    try:
        with _TRACING, _undisturbed(), called_rules() as rules:
            module = _trace(program, examples, lined)
            module.meta["rules"] = rules
            return module
    except CannotRecord:
        raise
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")[:200]
        reason = f"torch cannot trace it ({type(error).__name__}: {first})"
        raise CannotRecord(reads_values(error) or reason, line_of_error(error)) from error


def _trace(program: Program, examples: Sequence[torch.Tensor], lined: bool) -> fx.GraphModule:
    module = _watch(program, examples, lined)
    check_plain(module)
    drop_expands(module)
    if return_to_device(module) or any(writes(node) for node in module.graph.nodes):
        module = _without_writes(module, examples)
    if return_to_device(module):
        raise CannotRecord("torch records it on a device without values")
    drop_writes(module)
    name_parts(module)
    module.meta["carries"] = carries(module)
    copy_captured(module)
    return module


def _without_writes(module: fx.GraphModule, examples: Sequence[torch.Tensor]) -> fx.GraphModule:
    """Record again, by torch's functionalisation, which replaces writes by new values."""
    captured = pass_captured(module)
    functional = torch.func.functionalize(module, remove="mutations")
    program = lambda *inputs: functional(*captured, *inputs)
    found = Recorder(Escapes()).record(program, _copies(examples))
    _keep_lines(module, found)
    return found


def _keep_lines(before: fx.GraphModule, after: fx.GraphModule) -> None:
    """The record of a record has no lines: they are those of the same operations."""
    lines: dict[object, set[str | None]] = {}
    for node in before.graph.nodes:
        lines.setdefault(node.target, set()).add(node.meta.get("line"))
    for node in after.graph.nodes:
        known = lines.get(node.target, set())
        node.meta["line"] = next(iter(known)) if len(known) == 1 else None


def _watch(program: Program, examples: Sequence[torch.Tensor], lined: bool) -> fx.GraphModule:
    """Record, and believe the result only if nothing escaped, not even into an ``except``."""
    escapes = Escapes()
    recorder = Recorder(escapes, lined)
    try:
        with WatchedCalls(escapes, recorder.varies):
            module = recorder.record(program, _copies(examples))
    except Exception:
        if escapes.first is not None:
            raise escapes.first from None
        raise
    if escapes.first is not None:
        raise escapes.first
    return module


def _copies(examples: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Contiguous copies, which the program may write to, and which carry no derivative."""
    return [
        x.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
        for x in examples
    ]


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Trace the same whatever modes the caller is in, and leave no trace of it in the log."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    random = torch.get_rng_state()
    disabled = log.disabled
    log.disabled = True
    try:
        with (
            warnings.catch_warnings(),
            torch.inference_mode(False),
            torch.enable_grad(),
            # The backward pass has to run on the thread whose modes record it
            torch.autograd.set_multithreading_enabled(False),
        ):
            # The first dual number makes torch import a module of its own that warns
            warnings.filterwarnings("ignore", r"`torch\.jit\.script", DeprecationWarning)
            # Fake tensors are made to look like the captured ones in this, too
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor", UserWarning)
            yield
    finally:
        log.disabled = disabled
        if not torch.equal(random, torch.get_rng_state()):
            torch.set_rng_state(random)
