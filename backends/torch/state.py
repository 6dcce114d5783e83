"""State that a preparation must not change: tensors that a function keeps, and torch's own."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch._C import _functorch
from torch._functorch import eager_transforms
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad
from torch.utils import _python_dispatch

from diffface.backends.recording.reachable import reachable, undisturbed
from diffface.backends.torch.attention import PlainAttention
from diffface.backends.torch.pushforward import DUAL, LEVELS
from diffface.backends.torch.variables import FOLLOW, NESTED

# A captured tensor of more elements is data, not a state that the function keeps
_LARGE = 1 << 22

# What torch notes of the modes of dispatch besides these
_FLAGS = [name for name in vars(_python_dispatch) if name.startswith("_is_in_")]
_NO_FLAGS = (False,) * len(_FLAGS)

# Where torch can compute in lower precision
_DEVICES = ("cpu", "cuda", "xpu", "mps")

# Every unprepared call asks these
_functions, _modes = torch._C._len_torch_function_stack, torch._C._len_torch_dispatch_stack
_grad, _parallel = torch.is_grad_enabled, torch._C._is_multithreading_enabled
_transforms = _functorch.get_dynamic_layer_stack_depth


@contextmanager
def unchanged(f: object) -> Iterator[None]:
    """Put back what ``f`` changes of generators and of tensors: to prepare it is no call of it."""
    with undisturbed(f):
        random, buffers = torch.get_rng_state(), Buffers(f)
        before = scopes()
        try:
            yield
        except KeyboardInterrupt:
            leave(before)
            raise
        finally:
            buffers.restore()
            if not torch.equal(random, torch.get_rng_state()):
                torch.set_rng_state(random)


def scopes() -> tuple[Any, ...]:
    """The scopes of torch that this thread is in, of which an interrupt may skip the ends."""
    modes = _modes()
    # A tuple of plain values, which garbage collection need not look at: calls make one each.
    return (
        _functions(), modes, tuple(map(vars(_python_dispatch).get, _FLAGS)) if modes else _NO_FLAGS,
        _transforms(), _grad(), _parallel(), PlainAttention.depth(), NESTED.get(), FOLLOW.get(),
        DUAL.get(), forward_ad._current_level, eager_transforms.JVP_NESTING,
    )  # fmt: skip


def settings() -> tuple[tuple[Callable[[], object], object], ...]:
    """The precision that torch chooses for a function: the default dtype, and autocast's."""
    ask: list[Callable[[], object]] = [torch.get_default_dtype, torch._C._is_any_autocast_enabled]
    if torch._C._is_any_autocast_enabled():
        for device in _DEVICES:
            ask += [partial(torch.is_autocast_enabled, device)]
            ask += [partial(torch.get_autocast_dtype, device)]
    return tuple([(setting, setting()) for setting in ask])


def leave(before: tuple[Any, ...]) -> None:
    """Leave the scopes that were entered since `scopes` said those ``before``."""
    (
        functions, modes, flags, transforms, grad, parallel, depth, nested, follow, dual, level,
        nesting,
    ) = before  # fmt: skip
    while torch._C._len_torch_function_stack() > functions:
        torch._C._pop_torch_function_stack()
    while torch._C._len_torch_dispatch_stack() > modes:
        torch._C._pop_torch_dispatch_stack(None)
    for name, value in zip(_FLAGS, flags, strict=True):
        setattr(_python_dispatch, name, value)
    if _functorch.get_dynamic_layer_stack_depth() > transforms:
        _functorch.pop_dynamic_layer_stack_and_undo_to_depth(transforms)
    torch._C._set_grad_enabled(grad)
    torch._C._set_multithreading_enabled(parallel)
    PlainAttention.reach(depth)
    NESTED.set(nested)
    FOLLOW.set(follow)
    DUAL.set(dual)
    with LEVELS:
        while forward_ad._current_level > level:
            try:
                forward_ad.exit_dual_level()
            except RuntimeError:  # it was left, but not counted
                forward_ad._current_level -= 1
        eager_transforms.JVP_NESTING = min(nesting, eager_transforms.JVP_NESTING)


class Restoring:
    """Scopes around a call, which an interrupt leaves as they were before it."""

    __slots__ = ("_before", "_within")

    def __init__(self, *within: AbstractContextManager[object]) -> None:
        self._within = within

    def __enter__(self) -> None:
        self._before = scopes()
        if self._within:
            try:
                for scope in self._within:
                    scope.__enter__()
            except BaseException:
                leave(self._before)
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        try:
            for scope in self._within[::-1]:
                scope.__exit__(kind, error, trace)
        finally:
            if kind is not None:
                leave(self._before)


class Buffers:
    """The tensors without derivatives that ``f`` can reach, as they are before it is called.

    A function may count its calls, or keep running averages; to prepare it is no call.
    """

    def __init__(self, f: object) -> None:
        found = (x for x in reachable(f) if isinstance(x, torch.Tensor) and not is_fake(x))
        self._before = [
            (x, x.clone())
            for x in found
            if not x.requires_grad and x.layout == torch.strided and x.numel() <= _LARGE
        ]

    def restore(self) -> None:
        """Put back what was there where something else is now."""
        with torch.no_grad():
            for x, before in self._before:
                if x.shape == before.shape and not torch.equal(x, before):
                    x.copy_(before)


def is_fake(x: object) -> bool:
    """Whether ``x`` is a tensor that stands for another while a function is traced."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    return isinstance(x, torch.Tensor) and (isinstance(x, FakeTensor) or wrapped(x))
