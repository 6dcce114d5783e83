"""Looks: what the results in a graph look like, without values and without memory.

Knows: which metadata of a tensor passes over a graph ask for, and how to find out what an operation
makes of them.
Must not know: graphs, and what is done with the answer.
"""

from collections.abc import Callable
from copy import copy
from math import prod
from typing import Any

import torch

aten = torch.ops.aten

# Of contiguous operands of one shape and dtype these make another one
_ALIKE = {
    aten.add.Tensor, aten.div.Tensor, aten.mul.Tensor, aten.neg.default, aten.sub.Tensor,
    aten.rsub.Scalar,
}  # fmt: skip
# Of a contiguous first operand these make another one like it. To ask torch costs the import of
# sympy, half a second.
_LIKE_FIRST = {
    aten.diagonal_scatter.default, aten.fill.Scalar, aten.fill.Tensor, aten.select_scatter.default,
    aten.slice_scatter.default,
}  # fmt: skip


class Look:
    """Metadata of a tensor, under the names by which tensors have them."""

    __slots__ = (
        "_conj", "_neg", "_offset", "_strides", "device", "dtype", "layout", "shape",
    )  # fmt: skip

    def __init__(self, x: torch.Tensor, device: torch.device | None = None) -> None:
        self.shape = x.shape
        self.dtype = x.dtype
        self.device = device or x.device
        self.layout = x.layout
        strided = x.layout is torch.strided
        self._strides = x.stride() if strided else ()
        self._offset = x.storage_offset() if strided else 0
        self._conj = x.is_conj()
        self._neg = x.is_neg()

    def anew(self) -> "Look":
        """The same at the start of memory of its own."""
        if not self._offset:
            return self
        new = copy(self)
        new._offset = 0
        return new

    def stride(self) -> tuple[int, ...]:
        return self._strides

    def storage_offset(self) -> int:
        return int(self._offset)

    def is_conj(self) -> bool:
        return self._conj

    def is_neg(self) -> bool:
        return self._neg

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def dim(self) -> int:
        return len(self.shape)

    def numel(self) -> int:
        return prod(self.shape)

    def is_contiguous(self) -> bool:
        expected = 1
        for n, stride in zip(self.shape[::-1], self._strides[::-1], strict=True):
            if n != 1 and stride != expected:
                return not self.numel()
            expected *= n
        return self.layout is torch.strided

    def tensor(self, device: str = "meta") -> torch.Tensor:
        """A tensor that looks like this, but for its device, and has no values."""
        size = 1 + sum((n - 1) * s for n, s in zip(self.shape, self._strides, strict=True))
        memory = torch.empty(self._offset + max(size, 0), dtype=self.dtype, device=device)
        x = memory.as_strided(self.shape, self._strides, self._offset)
        x = torch._neg_view(x) if self._neg else x
        return x.conj() if self._conj else x


def look(x: Any) -> Any:
    """What a result looks like: a tensor, or a list or tuple with some in it."""
    if isinstance(x, torch.Tensor):
        return Look(x)
    return tuple(map(look, x)) if isinstance(x, (list, tuple)) else x


def evaluate(operation: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """What the result of ``operation`` looks like, where arguments are looks for tensors."""
    looks = [x for x in _flat((args, kwargs)) if isinstance(x, Look)]
    if operation in _ALIKE and not kwargs and _are_alike(looks):
        return looks[0].anew()
    if operation in _LIKE_FIRST and _are_alike(looks[:1]) and not looks[0].is_conj():
        return looks[0].anew()
    device = kwargs.get("device") or _device(looks)
    try:
        with torch.no_grad():
            result = _run_on(torch.device("meta"), operation, args, kwargs)
        return _looks(result, device)
    except NotImplementedError:
        return _evaluate_on_fakes(operation, args, kwargs)


def _are_alike(looks: list[Look]) -> bool:
    first = looks[0]
    if not (first.dtype.is_floating_point and first.is_contiguous()) or first.is_neg():
        return False
    return all(
        x is first
        or (
            x.shape == first.shape
            and x.stride() == first.stride()
            and x.dtype == first.dtype
            and x.device == first.device
            and not x.is_neg()
        )
        for x in looks
    )


def _device(looks: list[Look]) -> torch.device:
    """That of the result: numbers may lie elsewhere."""
    return next((x.device for x in looks if x.shape), looks[0].device if looks else _CPU)


_CPU = torch.device("cpu")


def _run_on(device: torch.device, operation: Any, args: Any, kwargs: Any) -> Any:
    if "device" in kwargs:
        kwargs = {**kwargs, "device": device}
    return operation(*with_tensors(args), **with_tensors(kwargs))


def with_tensors(x: Any) -> Any:
    """Arguments with tensors on no device for looks."""
    return _map(Look.tensor, x)


def _evaluate_on_fakes(operation: Any, args: Any, kwargs: Any) -> Any:
    """The same on fake tensors, which know more operations, and take a second to import."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), torch.no_grad():
        make = lambda x: x.tensor(x.device)
        return look(operation(*_map(make, args), **_map(make, kwargs)))


def _looks(result: Any, device: torch.device) -> Any:
    if isinstance(result, torch.Tensor):
        return Look(result, device)
    if isinstance(result, (list, tuple)):
        return tuple(_looks(x, device) for x in result)
    return result


def _map(change: Callable[[Look], Any], x: Any) -> Any:
    if isinstance(x, Look):
        return change(x)
    if isinstance(x, (list, tuple)):
        return type(x)([_map(change, each) for each in x])
    return {name: _map(change, each) for name, each in x.items()} if isinstance(x, dict) else x


def _flat(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        for each in x:
            yield from _flat(each)
    elif isinstance(x, dict):
        yield from _flat(list(x.values()))
    else:
        yield x
