"""Numbers that a function takes out of tensors, and with which it goes on without derivatives."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from diffface.backends.adapter import Function
from diffface.backends.compiled import Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.torch.levels import WITHOUT_RULE, is_traced

_TAKERS = {
    torch.Tensor.__complex__,
    torch.Tensor.__float__,
    torch.Tensor.__int__,
    torch.Tensor.item,
    torch.Tensor.tolist,
}


class NumberTakenError(Exception):
    """A number was taken out of a tensor that is being differentiated."""


class Refusing(TorchFunctionMode):
    """Refuses functions after which torch goes on without derivatives."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _TAKERS and args[0].requires_grad:
            raise NumberTakenError
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if WITHOUT_RULE.search(name) and any(carries(a) for a in args) and not carries(result):
            raise NotDifferentiableError(
                f"`f` calls torch.special.{name.removeprefix('special_')}, of which torch has no "
                "derivative and goes on as if it were a constant; write one as a "
                "torch.autograd.Function."
            )
        return result


def carries(value: Any) -> bool:
    """Whether ``value`` is a tensor that is being differentiated."""
    if not isinstance(value, torch.Tensor):
        return False
    return value.requires_grad or is_traced(value)


def refuse_taken_numbers(f: Function, x: Arrays) -> None:
    """Raise NumberTakenError if ``f``, whose result carries no derivative, takes numbers of ``x``.

    It is evaluated once more for that, which only functions without a derivative have to bear:
    to watch every call of torch takes long.
    """
    with Refusing():
        f(x)


# Why torch fails, usually in the backward pass, where the line of the function is not known.
NO_FLOOR = "`//` has no derivative in torch, and that of `xp.floor_divide` is zero"


def hint(error: Exception) -> str | None:
    """Hint for the user if ``error`` came from a function that is not portable; else None."""
    if isinstance(error, NumberTakenError):
        return "a number was taken out of a torch tensor that is being differentiated"
    text = str(error)
    told = ("numpy()" in text and "requires grad" in text) or "__array__" in text
    if told or "data pointer of Tensor that doesn't have storage" in text:  # the latter in batches
        return "a NumPy function was called on a torch tensor that is being differentiated"
    if "abstract array" in text and "torch.Tensor" in text:
        return "a function of JAX was called on a torch tensor"
    if text == "step must be greater than zero":
        return "torch takes no slice with a negative step, for which there is `xp.flip`"
    return NO_FLOOR if "aten::floor_divide" in text else None
