"""Whether a graph computes what its program does, at the arguments it was recorded with.

The recorder finds out where values are asked for. It cannot see a function that decides by what
else differs while it is recorded: the exact type of a tensor, a counter, the time.
"""

from typing import Any

import torch
from torch import fx

from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import CannotRecord
from diffface.backends.recording.perturb import perturb
from diffface.backends.torch.arrays import TORCH
from diffface.backends.torch.graph.graph import is_random

# What cancels may leave so many roundings of the largest element.
_CANCELLED = 1e4


def check_agreement(compiled: Compiled, program: Program, examples: Arrays) -> None:
    """Raise CannotRecord unless ``compiled`` and ``program`` agree up to rounding.

    They are compared at the examples, and elsewhere, since much agrees by chance among zeros and
    ones. Graphs that draw random numbers are not compared.
    """
    module = compiled.native.module  # type: ignore[attr-defined]
    if any(map(is_random, module.graph.nodes)):
        return
    # On copies, since the function may write to its arguments.
    _compare(compiled, examples, program(*map(_copy, examples)))
    elsewhere = tuple(map(_moved, examples))
    try:
        expected = program(*map(_copy, elsewhere))
    except Exception:  # noqa: BLE001 - out of the function's domain
        return
    _compare(compiled, elsewhere, expected)


def _compare(compiled: Compiled, inputs: Arrays, expected: Arrays) -> None:
    found = compiled.run(*map(_copy, inputs))
    if _all_agree(found, expected, 0.0):
        return
    # Where large terms cancel, what is left is the rounding of their sum, in whatever order.
    native: Any = compiled.native
    terms = _Terms(native.module)
    terms.run(*map(_lifted, inputs), *getattr(native, "constants", ()))
    if not _all_agree(found, expected, terms.largest * terms.count):
        raise CannotRecord("its record gives another result than the function itself")


class _Terms(fx.Interpreter):
    """Runs a graph, and notes the largest number and the largest count of numbers on the way."""

    largest = 0.0
    count = 0

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor) and _is_inexact(result):
            self.count = max(self.count, result.numel())
            self.largest = max(self.largest, _size(result))
        return result


def _copy(value: Array) -> Array:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _lifted(value: Array) -> torch.Tensor:
    return value.clone() if isinstance(value, torch.Tensor) else torch.tensor(value)


def _moved(value: Array) -> Array:
    if not isinstance(value, torch.Tensor):
        return perturb(value)
    _, dtype, device = TORCH.describe(value)
    return TORCH.from_numpy(perturb(TORCH.to_numpy(value)), device) if dtype.kind != "V" else value


def _all_agree(found: Arrays, expected: Arrays, terms: float) -> bool:
    pairs = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(_agree(*pair, terms) for pair in pairs)


def _agree(found: torch.Tensor, expected: torch.Tensor, terms: float) -> bool:
    """Whether two tensors agree up to rounding; that of ``terms`` is there in any case."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    found, expected = found.detach(), expected.detach()
    if not _is_inexact(expected):
        return torch.equal(found, expected)
    # Half of the digits, since another course differs by more; of what cancels, less is left.
    epsilon = torch.finfo(expected.dtype).eps
    absolute = epsilon * (_CANCELLED * _size(expected) + terms)
    return torch.allclose(found, expected, epsilon**0.5, absolute, equal_nan=True)


def _is_inexact(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _size(tensor: torch.Tensor) -> float:
    """The largest finite number in size."""
    sizes = torch.nan_to_num(tensor.abs(), nan=0.0, posinf=0.0)
    return float(sizes.max()) if tensor.numel() else 0.0
