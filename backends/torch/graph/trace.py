"""Tracing: a derivation program on tensors becomes a straight-line graph of aten operations.

Knows: torch's ``make_fx``, fake tensors and functionalisation.
Must not know: how a graph is run, and what a derivation is.

The graph that comes out is functional: no operation in it writes to a tensor. So a caller's array
cannot be corrupted, and whoever runs the graph may reorder, share and drop operations.
"""

import contextlib
import logging
import operator
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from diffface.backends.compiled import Program
from diffface.backends.errors import CannotRecord
from diffface.backends.torch.graph import escape
from diffface.backends.torch.graph.graph import root_of
from diffface.backends.torch.graph.repair import (
    drop_expands,
    drop_writes,
    return_to_device,
    writes,
    written,
)

# make_fx patches process-wide state while it traces
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
        Tensors that the program captured are copied and hang on the module as attributes.

    Raises
    ------
    CannotRecord
        If the program depends on values, or does what a graph cannot hold.
    """
    try:
        with _TRACING, _undisturbed():
            return _trace(program, examples)
    except CannotRecord as refusal:
        if refusal.reason == escape.READS_MEMORY:
            _run(program, examples)  # most likely it fails there as well
        raise
    except Exception as error:
        reason = escape.reads_values(error)
        if reason is not None:
            raise escape.refusal(error, reason) from error
        if not escape.is_surely_users(error):
            # Torch words some errors otherwise while tracing, and has some only then. Run for
            # real, the program raises the error that its author knows, or none.
            _run(program, examples)
            raise escape.unexplained(error) from error
        raise


def _run(program: Program, examples: Sequence[torch.Tensor]) -> None:
    with torch.enable_grad():
        program(*(x.detach().clone() for x in examples))


def _trace(program: Program, examples: Sequence[torch.Tensor]) -> fx.GraphModule:
    escapes = escape.Escapes()
    random = torch.get_rng_state()
    with _WatchedFakeMode(escapes, random):
        fakes = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in examples]
        module = _watch(program, fakes, escapes)
        _check(module)
        drop_expands(module)
        if return_to_device(module) or any(writes(node) for node in module.graph.nodes):
            module = _record(torch.func.functionalize(module, remove="mutations"), fakes)
        if return_to_device(module):
            raise CannotRecord("torch records it on a device without values")
    if not torch.equal(random, torch.get_rng_state()):
        raise CannotRecord("it seeds torch's random number generator")
    drop_writes(module)
    _snapshot(module)
    return module


def _watch(program: Program, fakes: list[torch.Tensor], escapes: escape.Escapes) -> fx.GraphModule:
    """Record, and believe the result only if nothing escaped, not even into an ``except``."""
    try:
        with escape.WatchedCalls(escapes):
            module = _record(program, fakes)
    except Exception:
        if escapes.first is not None:
            raise escapes.first from None
        raise
    if escapes.first is not None:
        raise escapes.first
    return module


class _WatchedFakeMode(FakeTensorMode):
    """A fake mode that reports every look at values, and guards the tensors that are real."""

    def __init__(self, escapes: escape.Escapes, random: torch.Tensor) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self._escapes = escapes
        self._random = random

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        mutable = isinstance(func, OpOverload) and func._schema.is_mutable
        if mutable and any(_is_real(x) for x in written(func, args, kwargs)):
            raise self._escapes.note("it writes to a tensor that it captured")
        # Nothing is drawn while tracing: only a seed that the program sets can change the state
        draws = torch.Tag.nondeterministic_seeded in func.tags
        if draws and not torch.equal(self._random, torch.get_rng_state()):
            raise self._escapes.note("it seeds torch's random number generator")
        try:
            return super().dispatch(func, types, args, kwargs)
        except Exception as error:
            reason = escape.reads_values(error)
            if reason is not None:
                self._escapes.note(reason)
            raise


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
            yield
    finally:
        log.disabled = disabled
        if not torch.equal(random, torch.get_rng_state()):
            torch.set_rng_state(random)


def _record(program: Callable[..., Any], fakes: list[torch.Tensor]) -> fx.GraphModule:
    return make_fx(program, tracing_mode="fake", _allow_non_fake_inputs=True)(*fakes)


def _is_real(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and not isinstance(x, FakeTensor)


def _check(module: fx.GraphModule) -> None:
    """Refuse what is not a graph of plain operations on plain tensors."""
    for node in module.graph.nodes:
        if node.op == "call_function":
            if not isinstance(node.target, OpOverload) and node.target is not operator.getitem:
                raise CannotRecord(f"it uses the higher-order operation {node.target}")
            # One that is written to through a view looks like an intermediate to the fake mode
            into = written(node.target, node.args, node.kwargs) if writes(node) else ()
            if any(root_of(x).op == "get_attr" for x in into if isinstance(x, fx.Node)):
                raise CannotRecord("it writes to a tensor that it captured")
        elif node.op == "get_attr":
            value = getattr(module, str(node.target), None)
            if not isinstance(value, torch.Tensor):
                raise CannotRecord(f"it captured an object of torch, {value!r}")
            if value.layout != torch.strided or value.is_quantized:
                raise CannotRecord(f"it captured a tensor of layout {value.layout}")


def _snapshot(module: fx.GraphModule) -> None:
    """Copy the captured tensors, each once, so that later writes to them do not show."""
    copies: dict[int, torch.Tensor] = {}
    for name in {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}:
        value = getattr(module, name)
        if id(value) not in copies:
            with torch.no_grad():
                copies[id(value)] = value.detach().clone(memory_format=torch.contiguous_format)
        delattr(module, name)
        setattr(module, name, copies[id(value)])
