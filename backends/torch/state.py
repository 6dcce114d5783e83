"""State that a preparation must not change: tensors that a function keeps, and torch's own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch._C import _functorch
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad
from torch.utils import _python_dispatch

from diffface.backends.recording.reachable import reachable, undisturbed
from diffface.backends.torch.attention import PlainAttention
from diffface.backends.torch.pushforward import LEVELS

# A captured tensor of more elements is data, not a state that the function keeps
_LARGE = 1 << 22

# What torch notes of the modes of dispatch besides these
_FLAGS = [name for name in vars(_python_dispatch) if name.startswith("_is_in_")]


@contextmanager
def unchanged(f: object) -> Iterator[None]:
    """Put back what ``f`` changes of generators and of tensors: to prepare it is no call of it."""
    with undisturbed(f):
        random, buffers = torch.get_rng_state(), Buffers(f)
        scopes = Scopes()
        try:
            yield
        except KeyboardInterrupt:
            scopes.leave()
            raise
        finally:
            buffers.restore()
            if not torch.equal(random, torch.get_rng_state()):
                torch.set_rng_state(random)


class Scopes:
    """The scopes of torch that this thread is in, of which an interrupt may skip the ends."""

    def __init__(self) -> None:
        self._grad = torch.is_grad_enabled()
        self._parallel = torch._C._is_multithreading_enabled()
        self._modes = torch._C._len_torch_dispatch_stack()
        self._flags = {name: getattr(_python_dispatch, name) for name in _FLAGS}
        self._functions = torch._C._len_torch_function_stack()
        self._transforms = _functorch.get_dynamic_layer_stack_depth()
        self._level = forward_ad._current_level
        self._depth = PlainAttention.depth()

    def leave(self) -> None:
        """Leave those that were entered since."""
        while torch._C._len_torch_function_stack() > self._functions:
            torch._C._pop_torch_function_stack()
        while torch._C._len_torch_dispatch_stack() > self._modes:
            torch._C._pop_torch_dispatch_stack(None)
        for name, value in self._flags.items():
            setattr(_python_dispatch, name, value)
        if _functorch.get_dynamic_layer_stack_depth() > self._transforms:
            _functorch.pop_dynamic_layer_stack_and_undo_to_depth(self._transforms)
        torch._C._set_grad_enabled(self._grad)
        torch._C._set_multithreading_enabled(self._parallel)
        PlainAttention.reach(self._depth)
        with LEVELS:
            while forward_ad._current_level > self._level:
                try:
                    forward_ad.exit_dual_level()
                except RuntimeError:  # it was left, but not counted
                    forward_ad._current_level -= 1


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
