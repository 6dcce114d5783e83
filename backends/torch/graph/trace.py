"""Tracing: a derivation program on tensors becomes a straight-line graph of aten operations.

Knows: torch's ``make_fx``, fake tensors and functionalisation.
Must not know: how a graph is run, and what a derivation is.

The graph that comes out is functional: no operation in it writes to a tensor. So a caller's array
cannot be corrupted, and whoever runs the graph may reorder, share and drop operations.
"""

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from diffface.backends.compiled import Program
from diffface.backends.errors import CannotRecord
from diffface.backends.recording.user_frame import line_of_call, line_of_error
from diffface.backends.torch.graph.functional import (
    check_plain,
    copy_captured,
    drop_expands,
    drop_writes,
    return_to_device,
    writes,
    written,
)

# make_fx patches process-wide state while it traces
_TRACING = threading.RLock()


# Escapes: how a program betrays that it looked at values

_READS_NUMBER = "a value was read as a Python number (a branch, float(), item(), an index)"
_READS_SHAPE = "the shape of a result depends on values (a boolean mask, nonzero, unique)"
_READS_MEMORY = "the memory of a tensor was read (numpy(), dlpack, data_ptr)"
_READS_TEXT = "the values of a tensor were printed or made text"

# These answer for a tensor without values, or fail in a way that a program may swallow
_READERS = {
    torch.Tensor.__array__: _READS_MEMORY,
    torch.Tensor.__dlpack__: _READS_MEMORY,
    torch.Tensor.__format__: _READS_TEXT,
    torch.Tensor.__repr__: _READS_TEXT,
    torch.Tensor.data_ptr: _READS_MEMORY,
    torch.Tensor.numpy: _READS_MEMORY,
}


class _Escapes:
    """What a trace has seen escape; the first one is kept.

    An escape counts even where the program swallows the error: what it did next is a guess.
    """

    def __init__(self) -> None:
        self.first: CannotRecord | None = None

    def note(self, reason: str) -> CannotRecord:
        """Remember an escape that happens now, on this stack."""
        found = CannotRecord(reason, line_of_call())
        self.first = self.first or found
        return found


class _WatchedCalls(TorchFunctionMode):
    """Refuses the Python calls that read a tensor behind the dispatcher's back."""

    def __init__(self, escapes: _Escapes) -> None:
        super().__init__()
        self._escapes = escapes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READERS:
            raise self._escapes.note(_READERS[func])
        return func(*args, **(kwargs or {}))


def _reads_values(error: BaseException) -> str | None:
    """Say in words how ``error`` betrays a look at values; None if it does not."""
    for link in _chain(error):
        # By name: one of these classes lives in a module that takes long to import
        name = type(link).__name__
        if name == "DynamicOutputShapeException":
            return _READS_SHAPE
        if name in ("DataDependentOutputException", "GuardOnDataDependentSymNode"):
            return _READS_NUMBER
    return None


def _explain(error: BaseException) -> str:
    """Why tracing failed, of a program that runs for real."""
    first = next(iter(str(error).splitlines()), "")[:200]
    return _reads_values(error) or f"torch cannot trace it ({type(error).__name__}: {first})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


# Tracing


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
    except CannotRecord:
        raise
    except Exception as error:
        raise CannotRecord(_explain(error), line_of_error(error)) from error


def _trace(program: Program, examples: Sequence[torch.Tensor]) -> fx.GraphModule:
    escapes = _Escapes()
    random = torch.get_rng_state()
    with _WatchedFakeMode(escapes, random):
        fakes = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in examples]
        module = _watch(program, fakes, escapes)
        check_plain(module)
        drop_expands(module)
        if return_to_device(module) or any(writes(node) for node in module.graph.nodes):
            module = _record(torch.func.functionalize(module, remove="mutations"), fakes)
        if return_to_device(module):
            raise CannotRecord("torch records it on a device without values")
    if not torch.equal(random, torch.get_rng_state()):
        raise CannotRecord("it seeds torch's random number generator")
    drop_writes(module)
    copy_captured(module)
    return module


def _watch(program: Program, fakes: list[torch.Tensor], escapes: _Escapes) -> fx.GraphModule:
    """Record, and believe the result only if nothing escaped, not even into an ``except``."""
    try:
        with _WatchedCalls(escapes):
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

    def __init__(self, escapes: _Escapes, random: torch.Tensor) -> None:
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
            reason = _reads_values(error)
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
