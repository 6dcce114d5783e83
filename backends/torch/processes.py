"""What torch computes in several processes, and what no derivative sees of it."""

import sys
from collections.abc import Callable, Hashable
from typing import Any

import torch

from diffface.backends.errors import NotDifferentiableError
from diffface.backends.recording.reachable import reachable

# Missing where torch was built without.
_initialized: Callable[[], bool] = getattr(torch.distributed, "is_initialized", bool)


def is_distributed(array: object) -> bool:
    """Whether parts of a tensor are in several processes."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(array, module.DTensor)


def local(array: Any) -> Any:
    """The part of a `DTensor` that is in this process; other tensors as they are."""
    return array.to_local() if is_distributed(array) else array


def place_of(array: Any) -> Hashable:
    """The device of a tensor; of a `DTensor`, which part of it is in which process."""
    place: Hashable = array._spec if is_distributed(array) else array.device
    return place


def placed(array: Any, place: Any) -> Any:
    """A tensor where `place_of` says; what is in this process becomes a part of a `DTensor`."""
    if isinstance(place, torch.device | str):
        return array.to(place)
    module = sys.modules["torch.distributed.tensor"]
    return module.DTensor(array.to(place.mesh.device_type), place, requires_grad=False)


def refuse_synchronised(f: object) -> None:
    """Refuse modules that average gradients over processes in `backward` alone.

    Elsewhere, as in `torch.func.functional_call`, each process would go on with its own gradient,
    without a word.
    """
    if not _initialized():
        return
    for found in reachable(f):
        if isinstance(found, torch.nn.parallel.DistributedDataParallel):
            raise synchronises(found)


def synchronises(module: object) -> NotDifferentiableError:
    """The error for a module that averages gradients in `backward` alone."""
    return NotDifferentiableError(
        f"A {type(module).__name__} averages gradients over processes in `backward()` alone, which "
        "no operator calls. Pass its `.module`, and average the derivatives with "
        "torch.distributed.all_reduce."
    )
