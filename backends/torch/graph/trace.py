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
from torch._subclasses.fake_tensor import FakeTensorMode

from diffface.backends.compiled import Program
from diffface.backends.errors import CannotRecord
from diffface.backends.recording.user_frame import line_of_error
from diffface.backends.torch.graph.functional import (
    carries,
    check_plain,
    copy_captured,
    drop_expands,
    drop_writes,
    return_to_device,
    writes,
)
from diffface.backends.torch.graph.recorder import Escapes, Recorder, WatchedCalls, reads_values

# Fake tensors keep process-wide state
_TRACING = threading.RLock()


def trace(program: Program, examples: Sequence[torch.Tensor]) -> fx.GraphModule:
    """Record what ``program`` does to tensors shaped like ``examples``.

    Parameters
    ----------
    program : callable
        ``program(*inputs) -> tuple of tensors``; runs once, on tensors without values.
    examples : sequence of Tensor
        Give shape, dtype and device of every input. Values and strides do not matter: the graph
        is recorded for C-contiguous inputs.

    Returns
    -------
    GraphModule
        A functional graph of ``OpOverload`` calls; ``node.meta["val"]`` is a fake tensor.
        Tensors that the program captured are copied and hang on the module as attributes;
        ``meta["carries"]`` says whether one of them, not a module's parameter, requires grad.

    Raises
    ------
    CannotRecord
        If the program depends on values, or does what a graph cannot hold.
    """
    try:
        with _TRACING, _undisturbed():
            return _trace(program, examples)
    except CannotRecord:
        raise
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")[:200]
        reason = f"torch cannot trace it ({type(error).__name__}: {first})"
        raise CannotRecord(reads_values(error) or reason, line_of_error(error)) from error


def _trace(program: Program, examples: Sequence[torch.Tensor]) -> fx.GraphModule:
    escapes = Escapes()
    random = torch.get_rng_state()
    fake_mode = FakeTensorMode(allow_non_fake_inputs=True)
    with fake_mode:
        fakes = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in examples]
        module = _watch(program, fakes, Recorder(fake_mode, escapes, random), escapes)
        check_plain(module)
        drop_expands(module)
        if return_to_device(module) or any(writes(node) for node in module.graph.nodes):
            functional = torch.func.functionalize(module, remove="mutations")
            module = Recorder(fake_mode, escapes, random).record(functional, fakes)
        if return_to_device(module):
            raise CannotRecord("torch records it on a device without values")
    if not torch.equal(random, torch.get_rng_state()):
        raise CannotRecord("it seeds torch's random number generator")
    drop_writes(module)
    module.meta["carries"] = carries(module)
    copy_captured(module)
    return module


def _watch(
    program: Program, fakes: list[torch.Tensor], recorder: Recorder, escapes: Escapes
) -> fx.GraphModule:
    """Record, and believe the result only if nothing escaped, not even into an ``except``."""
    try:
        with WatchedCalls(escapes):
            module = recorder.record(program, fakes)
    except Exception:
        if escapes.first is not None:
            raise escapes.first from None
        raise
    if escapes.first is not None:
        raise escapes.first
    return module


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
