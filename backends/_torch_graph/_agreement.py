"""Whether a graph computes what its program does, at the arguments it was recorded with.

The recorder finds out where values are asked for. It cannot see a function that decides by what
else differs while it is recorded: the exact type of a tensor, a counter, the time.
"""

import torch

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
    if len(found) != len(expected) or not all(map(_agree, found, expected)):
        raise CannotRecord("its record gives another result than the function itself")


def _copy(value: Array) -> Array:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _agree(found: torch.Tensor, expected: torch.Tensor) -> bool:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    found, expected = found.detach(), expected.detach()
    if not (expected.is_floating_point() or expected.is_complex()):
        return torch.equal(found, expected)
    # Half of the digits: what cancels may lose many, and another course differs by more.
    tolerance = torch.finfo(expected.dtype).eps ** 0.5
    sizes = torch.nan_to_num(expected.abs(), nan=0.0, posinf=0.0)
    largest = float(sizes.max()) if expected.numel() else 0.0
    return torch.allclose(found, expected, tolerance, tolerance * largest, equal_nan=True)
