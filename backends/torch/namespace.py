"""The array API namespace of tensors: what ``dif.namespace(tensor)`` returns.

``array_api_compat.torch``, whose creation functions make floating-point numbers of torch's default
dtype whatever they will meet. Those are replaced here: constants have the precision of the tensors
that the namespace was asked for, and constants made of tensors carry their derivatives. Nothing of
torch's own is changed, its default dtype neither.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial, reduce
from types import ModuleType
from typing import Any

import array_api_compat.torch
import numpy as np
import torch

from diffface.backends.compiled import Array

# Of the names that it takes over from torch, no types are known.
compat: Any = array_api_compat.torch

_DOUBLE = (torch.float64, torch.complex128)


def namespace(*arrays: Any) -> "Namespace":
    """The namespace whose constants fit the tensors among ``arrays``."""
    found = None
    for array in arrays:
        if isinstance(array, torch.Tensor):
            if array.dtype in _DOUBLE:
                return _namespace(torch.float64)
            if array.is_floating_point() or array.is_complex():
                found = torch.float32
    return _namespace(found or torch.get_default_dtype())


@cache
def _namespace(real: torch.dtype) -> "Namespace":
    return Namespace(real)


class Namespace(ModuleType):
    """``array_api_compat.torch`` with creation functions of one precision.

    Parameters
    ----------
    real : dtype
        Of real floating-point constants.
    """

    def __init__(self, real: torch.dtype) -> None:
        # The name by which other packages know a namespace of torch's.
        super().__init__(compat.__name__, compat.__doc__)
        self._real = real
        for name in ("empty", "eye", "ones", "zeros"):
            setattr(self, name, partial(_of_dtype, getattr(compat, name), real))
        self.fft = ModuleType(compat.fft.__name__)
        self.fft.__dict__.update(vars(compat.fft))
        for name in ("fftfreq", "rfftfreq"):
            setattr(self.fft, name, partial(_of_dtype, getattr(compat.fft, name), real))

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = getattr(compat, name)
        return found

    def __dir__(self) -> list[str]:
        return dir(compat)

    def __repr__(self) -> str:
        return f"<array namespace {self.__name__!r} with constants of {self._real}>"

    def __reduce__(self) -> Any:
        return _namespace, (self._real,)

    def __array_namespace_info__(self) -> Any:
        return _Info(self._real)

    def asarray(
        self, obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None,
        **kw: Any,
    ) -> Array:  # fmt: skip
        """As `numpy.asarray`; a sequence that holds tensors keeps their derivatives."""
        if isinstance(obj, (list, tuple)):
            if any(isinstance(leaf, torch.Tensor) for leaf in _leaves(obj)):
                return self._stacked(obj).to(dtype=dtype, device=device)
            dtype = dtype or self._dtype(_leaves(obj))
        else:
            dtype = dtype or self._dtype([obj])
        return compat.asarray(obj, dtype=dtype, device=device, copy=copy, **kw)

    def arange(
        self, start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None,
        device: Any = None, **kw: Any,
    ) -> Array:  # fmt: skip
        """As `numpy.arange`."""
        dtype = dtype or self._dtype((start, stop, step))
        return compat.arange(start, stop, step, dtype=dtype, device=device, **kw)

    def floor_divide(self, x1: Any, x2: Any, /) -> Array:
        """As `numpy.floor_divide`; its derivative, of which torch has none, is zero."""
        held = (x.detach() if isinstance(x, torch.Tensor) else x for x in (x1, x2))
        return compat.floor_divide(*held)

    def full(
        self, shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, **kw: Any
    ) -> Array:
        """As `numpy.full`."""
        if isinstance(fill_value, torch.Tensor):
            return _filled(shape, fill_value.to(dtype=dtype, device=device))
        dtype = dtype or self._dtype([fill_value])
        return compat.full(shape, fill_value, dtype=dtype, device=device, **kw)

    def full_like(
        self, x: Array, /, fill_value: Any, *, dtype: Any = None, device: Any = None, **kw: Any
    ) -> Array:
        """As `numpy.full_like`."""
        if isinstance(fill_value, torch.Tensor):
            value = fill_value.to(dtype=dtype or x.dtype, device=device or x.device)
            return _filled(x.shape, value)
        return compat.full_like(x, fill_value, dtype=dtype, device=device, **kw)

    def linspace(
        self, start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None,
        endpoint: bool = True, **kw: Any,
    ) -> Array:  # fmt: skip
        """As `numpy.linspace`; ends that are tensors keep their derivatives."""
        ends = [x for x in (start, stop) if isinstance(x, torch.Tensor)]
        if ends:
            kind = torch.result_type(start, stop)
            device = device or ends[0].device
            t = self.linspace(0.0, 1.0, num, device=device, endpoint=endpoint)
            t = t.reshape(-1, *(1 for _ in torch.broadcast_shapes(*(x.shape for x in ends))))
            return (start * (1 - t) + stop * t).to(dtype or torch.promote_types(kind, self._real))
        dtype = dtype or self._dtype((0.0, start, stop))
        return compat.linspace(
            start, stop, num, dtype=dtype, device=device, endpoint=endpoint, **kw
        )

    def sign(self, x: Array, /) -> Array:
        """As `numpy.sign`, without writing to chosen elements, of which no program is recorded."""
        if x.is_complex():
            size = torch.abs(x)
            return torch.where(x == 0, 0, x / torch.where(x == 0, 1, size))
        found = torch.sign(x)
        return torch.where(torch.isnan(x), torch.nan, found) if x.is_floating_point() else found

    def take(self, x: Array, indices: Any, /, **kw: Any) -> Array:
        """As `numpy.take`; the indices may be an array of NumPy."""
        if not isinstance(indices, torch.Tensor):
            indices = torch.tensor(np.asarray(indices), device=x.device)
        return compat.take(x, indices, **kw)

    def where(self, condition: Array, x1: Any, x2: Any, /) -> Array:
        """As `numpy.where`."""
        if not isinstance(x1, torch.Tensor) and not isinstance(x2, torch.Tensor):
            dtype = self._dtype((x1, x2))
            x1, x2 = (self.asarray(x, dtype=dtype, device=condition.device) for x in (x1, x2))
        return compat.where(condition, x1, x2)

    def _dtype(self, leaves: Iterable[Any]) -> torch.dtype | None:
        """What numbers of Python's and NumPy's are together; None if they are no fractions."""
        found: list[torch.dtype] = []
        for leaf in leaves:
            if isinstance(leaf, np.inexact | np.ndarray) and leaf.dtype.kind in "fc":
                found.append(torch.from_numpy(np.empty(0, leaf.dtype)).dtype)
            elif isinstance(leaf, float | complex):
                found.append(self._real if isinstance(leaf, float) else self._real.to_complex())
        return reduce(torch.promote_types, found) if found else None

    def _stacked(self, obj: Any) -> Array:
        """A nested sequence with tensors in it as one tensor."""
        if isinstance(obj, torch.Tensor):
            return obj
        if not isinstance(obj, (list, tuple)):
            return self.asarray(obj)
        device = next((x.device for x in _leaves(obj) if isinstance(x, torch.Tensor)), None)
        parts = [self._stacked(each).to(device=device) for each in obj]
        dtype = reduce(torch.promote_types, (part.dtype for part in parts))
        return torch.stack([part.to(dtype) for part in parts])


class _Info(type(compat.__array_namespace_info__())):  # type: ignore[misc]  # not typed
    """What the standard lets a program ask of a namespace."""

    def __init__(self, real: torch.dtype) -> None:
        self._real = real

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        known: dict[str, Any] = super().default_dtypes(device=device)
        own = {"real floating": self._real, "complex floating": self._real.to_complex()}
        return known | own


def _of_dtype(create: Any, real: torch.dtype, *args: Any, dtype: Any = None, **kw: Any) -> Array:
    return create(*args, dtype=dtype or real, **kw)


def _filled(shape: Any, value: Array) -> Array:
    return value.expand(shape).clone()


def _leaves(obj: Sequence[Any]) -> Iterator[Any]:
    for each in obj:
        if isinstance(each, (list, tuple)):
            yield from _leaves(each)
        else:
            yield each
