"""Whether a graph computes what its program does, at the arguments it was recorded with.

The recorder finds out where values are asked for. It cannot see a function that decides by what
else differs while it is recorded: the exact type of a tensor, a counter, the time.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diffface.backends._compiled import Array, Arrays, Compiled, Program
from diffface.backends._errors import CannotRecord
from diffface.backends._torch_graph._graph import is_random


def check_agreement(compiled: Compiled, program: Program, examples: Arrays) -> None:
    """Raise CannotRecord unless ``compiled`` and ``program`` agree up to rounding.

    Graphs that draw random numbers are not compared.
    """
    module = compiled.native.module  # type: ignore[attr-defined]
    if any(map(is_random, module.graph.nodes)):
        return
    # On copies, since the function may write to its arguments.
    found = compiled.run(*map(_copy, examples))
    expected = program(*map(_copy, examples))
    if not _all_agree(found, expected, 0.0):
        # Where large terms cancel, what is left is the rounding of their sum, in whatever order.
        with _Largest() as terms:  # type: ignore[no-untyped-call]  # torch's own __init__
            program(*map(_copy, examples))
        if not _all_agree(found, expected, terms.largest * terms.count):
            raise CannotRecord("its record gives another result than the function itself")


class _Largest(TorchDispatchMode):
    """The largest number, and the largest count of numbers, in any tensor that is computed."""

    largest = 0.0
    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensor = result if isinstance(result, torch.Tensor) else None
        if tensor is not None and (tensor.is_floating_point() or tensor.is_complex()):
            self.count = max(self.count, tensor.numel())
            self.largest = max(self.largest, _size(tensor))
        return result


def _copy(value: Array) -> Array:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _all_agree(found: Arrays, expected: Arrays, terms: float) -> bool:
    pairs = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(_agree(*pair, terms) for pair in pairs)


def _agree(found: torch.Tensor, expected: torch.Tensor, terms: float) -> bool:
    """Whether two tensors agree up to rounding; that of ``terms`` is there in any case."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    found, expected = found.detach(), expected.detach()
    if not (expected.is_floating_point() or expected.is_complex()):
        return torch.equal(found, expected)
    # Half of the digits: what cancels may lose many, and another course differs by more.
    epsilon = torch.finfo(expected.dtype).eps
    tolerance = epsilon**0.5
    absolute = tolerance * _size(expected) + epsilon * terms
    return torch.allclose(found, expected, tolerance, absolute, equal_nan=True)


def _size(tensor: torch.Tensor) -> float:
    """The largest finite number in size."""
    sizes = torch.nan_to_num(tensor.abs(), nan=0.0, posinf=0.0)
    return float(sizes.max()) if tensor.numel() else 0.0
