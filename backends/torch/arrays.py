"""The array library of ``torch.Tensor``."""

import warnings
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch._C import _functorch, _len_torch_dispatch_stack
from torch.autograd import forward_ad

from diffface.backends.arrays import ArrayLibrary, Subtree
from diffface.backends.bfloat16 import is_bfloat16
from diffface.backends.compiled import Array, Arrays
from diffface.backends.numpy_arrays import NUMPY, NUMPY_SCALAR, PYTHON
from diffface.backends.recording.names import Names
from diffface.backends.torch import containers, modules
from diffface.backends.torch.levels import in_derivative, in_transform, is_traced
from diffface.backends.torch.processes import local, place_of, placed

try:
    from ml_dtypes import bfloat16
except ImportError:
    # Nothing in NumPy computes with these.
    BFLOAT16: np.dtype[Any] = np.dtype([("bfloat16", "V2")])
else:
    BFLOAT16 = np.dtype(bfloat16)


class TorchArrays(ArrayLibrary):
    """Tensors on any device, of the dtypes that NumPy has, too."""

    name = "torch"
    backend = "torch"
    noun = "a torch tensor"
    writable = True
    has_variables = True
    asynchronous = False
    # Half as much to read.
    index = np.int32

    def describe(self, array: Array) -> tuple[tuple[int, ...], np.dtype[Any], Hashable]:
        dtype = _NUMPY.get(array.dtype)
        place = array.device if type(array) in _PLAIN else place_of(array)
        return tuple(array.shape), dtype or _unknown(array.dtype), place

    def takes(self, dtype: np.dtype[Any]) -> bool:
        return dtype in _NUMPY.values()

    def to_numpy(self, array: Array) -> Any:
        plain = array.detach()
        if not (type(array) in _PLAIN and array.is_cpu):
            plain = local(plain).cpu()
        if plain.is_conj() or plain.is_neg():
            plain = plain.resolve_conj().resolve_neg()
        if plain.dtype is torch.bfloat16:
            return plain.contiguous().view(torch.int16).numpy().view(BFLOAT16)
        return plain.numpy()

    def from_numpy(self, array: Any, device: Hashable) -> Array:
        # torch has no negative strides, and warns about memory that it must not write to.
        usable = (
            array.flags.writeable and array.flags.aligned and min(array.strides, default=0) >= 0
        )
        array = array if usable else np.array(array, order="C")
        if is_bfloat16(array.dtype):
            tensor = torch.from_numpy(np.asarray(array, order="C").view(np.int16))
            tensor = tensor.view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(array)
        return tensor if device is None else placed(tensor, device)

    def table(self, shape: tuple[int, int], like: Array) -> Array | None:
        return like.new_empty(shape) if type(like) in _PLAIN else None

    def sparse(
        self, rows: Any, cols: Any, shape: tuple[int, int], layout: str | None, device: Hashable
    ) -> Callable[[Array], Any]:
        place: Any = device
        i, j = (torch.tensor(a, dtype=torch.int64, device=place) for a in (rows, cols))
        if layout == "coo":
            at = torch.stack([i, j])
            return lambda data: torch.sparse_coo_tensor(
                at.clone(), data, shape, is_coalesced=True, check_invariants=False
            )
        by_rows = layout in (None, "csr")
        length = torch.arange(shape[0 if by_rows else 1] + 1, device=place)
        ends, inner = torch.searchsorted(i if by_rows else j, length), j if by_rows else i
        make = torch.sparse_csr_tensor if by_rows else torch.sparse_csc_tensor

        def build(data: Array) -> Any:
            return make(ends.clone(), inner.clone(), data, shape, check_invariants=False)

        with warnings.catch_warnings():
            # torch says once that they are in beta.
            warnings.filterwarnings("ignore", "Sparse CS[RC] tensor support", UserWarning)
            build(torch.zeros(len(rows), device=place))
        return build

    def detach(self, array: Array) -> Array:
        # Tensors made in inference mode cannot take part in any differentiation.
        return array.clone() if array.is_inference() else array.detach()

    def is_traced(self, array: Array) -> bool:
        return is_traced(array)

    def without_variables(self) -> AbstractContextManager[object]:
        return torch.no_grad()

    def is_model(self, cls: Any) -> bool:
        return isinstance(cls, type) and issubclass(cls, torch.nn.Module)

    def variables(self, leaves: Sequence[Any]) -> dict[int, Array]:
        return modules.variables(leaves)

    def depends(self, array: Array) -> bool:
        return bool(array.requires_grad) or in_transform() or in_derivative()

    def follows(self, names: Names) -> str:
        return f"{names(torch.is_grad_enabled)}()"

    def untransformed(self, names: Names) -> str:
        levels, stack = names(forward_ad), names(_len_torch_dispatch_stack)
        transforms = names(_functorch.peek_interpreter_stack)
        return f"{transforms}() is None and {levels}._current_level < 0 and not {stack}()"

    def fresh(self, array: Array) -> Array:
        plain = array.detach() if array.requires_grad else array
        if plain.layout is not torch.strided:
            return plain.clone()
        return plain.clone(memory_format=_CONTIGUOUS)

    def why_read_only(self, array: Array) -> str:
        if array.layout != torch.strided:
            return "a sparse tensor"
        if array.is_inference() and not torch.is_inference_mode_enabled():
            return "a tensor of inference mode"
        if array.requires_grad:
            return "a tensor that requires grad"
        expanded = any(s == 0 and n > 1 for s, n in zip(array.stride(), array.shape, strict=True))
        return "an expanded tensor" if expanded else ""

    def overlap(self, array: Array, other: Array) -> bool:
        if array.device.type == "cpu" and other.device.type == "cpu":
            return super().overlap(array, other)
        if array.layout != torch.strided or array.device != other.device:
            return False
        # Up to the gaps between elements.
        (low, high), (start, end) = _elements(array), _elements(other)
        return low < end and start < high

    def view_for_output(self, array: Any, others: Arrays) -> Array | None:
        if type(array) is np.ndarray and array.flags.carray and self.takes(array.dtype):
            array = torch.from_numpy(array)
        if type(array) is not torch.Tensor or not array.is_contiguous():
            return None
        if array.requires_grad or array.is_inference() or array.is_conj() or array.is_neg():
            return None
        start, end = _extent(array)
        for a in others:
            if isinstance(a, torch.Tensor):
                low, high = _extent(a)
                if a.device != array.device or (low < end and start < high):
                    return None
        return array

    def wait(self, array: Array) -> None:
        if array.is_cuda:
            torch.cuda.synchronize(array.device)

    def subtree(self, value: object) -> Subtree | None:
        if isinstance(value, torch.nn.Module):
            return modules.subtree(value)
        return containers.subtree(value)

    def quick_leaves(self, cls: Any) -> Callable[[Any], Sequence[object] | None] | None:
        return modules.leaves if self.is_model(cls) else None

    def guard(self, a: str, example: Array, names: Names) -> str:
        alike = self.alike(a, example, names)
        plain = f"type({a}) is {names(torch.Tensor)} and not {a}.requires_grad"
        return f"{plain} and {alike}" if alike else ""

    def alike(self, a: str, example: Array, names: Names) -> str:
        if type(example) is not torch.Tensor or example.is_complex():
            return ""  # complex tensors may be conjugated lazily
        return (
            f"{a}.dtype is {names(example.dtype)} and {a}.shape == {names(tuple(example.shape))} "
            f"and {a}.device == {names(example.device)}"
        )

    def convert_in(
        self, a: str, source: ArrayLibrary, example: Array, names: Names
    ) -> tuple[str, str]:
        if source is self:
            return a, ""
        if source is NUMPY:
            return f"{names(torch.from_numpy)}({a})", f"{a}.flags.carray"
        if source in (NUMPY_SCALAR, PYTHON):
            return f"{names(torch.from_numpy)}({names(np.asarray)}({a}))", ""
        return "", ""

    def convert_out(
        self, a: str, target: ArrayLibrary, shape: tuple[int, ...], names: Names
    ) -> str:
        if target is self:
            return a
        if target is PYTHON and not shape:
            return f"{a}.item()"
        return target.of_numpy(f"{a}.numpy()", shape, names)


_PLAIN = (torch.Tensor, torch.nn.Parameter)
_CONTIGUOUS = torch.contiguous_format

_NUMPY: dict[torch.dtype, np.dtype[Any]] = {
    getattr(torch, name): np.dtype(name)
    for name in (
        "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64",
        "float16", "float32", "float64", "complex64", "complex128",
    )
} | {torch.bfloat16: BFLOAT16}  # fmt: skip


def _elements(array: Array) -> tuple[int, int]:
    """Addresses from the first element of ``array`` to the last."""
    if not array.numel():
        return 0, 0
    last = sum((n - 1) * step for n, step in zip(array.shape, array.stride(), strict=True))
    start = array.data_ptr()
    return start, start + (last + 1) * array.element_size()


def _extent(array: Array) -> tuple[int, int]:
    """Addresses of all memory that ``array`` is a part of."""
    # Not the storage itself: two of them share memory where both were made from NumPy arrays.
    storage = array.untyped_storage()
    start = storage.data_ptr()
    return start, start + storage.nbytes()


def _unknown(dtype: torch.dtype) -> np.dtype[Any]:
    """A dtype that nothing else has, such as float8: carried along by name, not differentiated."""
    name = str(dtype).removeprefix("torch.")
    return np.dtype([(name, "V", dtype.itemsize)])


TORCH = TorchArrays()
