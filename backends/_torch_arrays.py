"""``torch.Tensor`` as an array kind."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import torch

from diffface.backends._compiled import Array
from diffface.backends._kind import Kind


class TorchArrays(Kind):
    """Tensors on any device; dtypes that NumPy lacks (bfloat16) go by their torch name."""

    name = "torch"
    backend = "torch"

    def describe(self, array: Array) -> tuple[tuple[int, ...], np.dtype[Any], Hashable]:
        return tuple(array.shape), _NUMPY[array.dtype], array.device

    def to_numpy(self, array: Array) -> Any:
        return array.detach().resolve_conj().resolve_neg().cpu().numpy()

    def from_numpy(self, array: Any, device: Hashable) -> Array:
        # torch has no negative strides, and warns about memory that it must not write to.
        usable = array.flags.writeable and array.flags.aligned and min(array.strides, default=0) >= 0
        tensor = torch.from_numpy(array if usable else np.array(array, order="C"))
        return tensor if device is None else tensor.to(device)  # type: ignore[call-overload]

    def detach(self, array: Array) -> Array:
        return array.detach()

    def fresh(self, array: Array) -> Array:
        return array.detach().clone(memory_format=torch.contiguous_format)


_NUMPY: dict[torch.dtype, np.dtype[Any]] = {
    getattr(torch, name): np.dtype(name)
    for name in (
        "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64",
        "float16", "float32", "float64", "complex64", "complex128",
    )
}  # fmt: skip

TORCH = TorchArrays()
