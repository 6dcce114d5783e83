"""Numbers that a function takes out of tensors, and with which it goes on without derivatives."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from diffface.backends.adapter import Function
from diffface.backends.compiled import Arrays

_TAKERS = {
    torch.Tensor.__complex__,
    torch.Tensor.__float__,
    torch.Tensor.__int__,
    torch.Tensor.item,
    torch.Tensor.tolist,
}


class NumberTakenError(Exception):
    """A number was taken out of a tensor that is being differentiated."""


class _Refusing(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _TAKERS and args[0].requires_grad:
            raise NumberTakenError
        return func(*args, **(kwargs or {}))


def refuse_taken_numbers(f: Function, x: Arrays) -> None:
    """Raise NumberTakenError if ``f``, whose result carries no derivative, takes numbers of ``x``.

    It is evaluated once more for that, which only functions without a derivative have to bear:
    to watch every call of torch takes long.
    """
    with _Refusing():
        f(x)
