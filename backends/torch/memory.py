"""Memory that a function of torch tensors writes to, and reads before it writes again."""

from collections.abc import Callable, Sequence
from typing import Any

import optree
import torch
from torch._C import _functorch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from diffface.backends.compiled import Arrays

# Those keep no values of memory for a backward pass; derivatives must know their arguments again.
_AS_THEY_ARE = {"__getitem__", "__get__", "grad", "backward"}
# Of what these write into, they keep nothing, or a copy.
_INTO = {
    "__setitem__", "copy_", "fill_", "zero_", "add_", "sub_", "mul_", "div_",
    "__iadd__", "__isub__", "__imul__", "__itruediv__",
}  # fmt: skip


class Memory(TorchFunctionMode):
    """Lets functions compute from copies of ``tensors``, which are written to again later.

    torch keeps the arguments of an operation for its backward pass, not copies of them, and refuses
    that pass once they were overwritten: ``out[i] = out[i - 1] * x[i]`` would have no derivative.

    Parameters
    ----------
    tensors : list of torch.Tensor
        The memory; it may still grow.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self._tensors = tensors

    @property
    def storages(self) -> set[int | None]:
        """What tells the memory from other memory."""
        return set(map(_storage, self._tensors))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _AS_THEY_ARE or "out" in kwargs:
            return func(*args, **kwargs)
        memory = self.storages
        given: Any = (args, kwargs)
        leaves, spec = optree.tree_flatten(given, none_is_leaf=True)
        copies: list[tuple[torch.Tensor, torch.Tensor]] = []
        for i, leaf in enumerate(leaves):
            target = i == 0 and name in _INTO
            if isinstance(leaf, torch.Tensor) and not target and _storage(leaf) in memory:
                leaves[i] = leaf.clone()
                copies.append((leaf, leaves[i]))
        if not copies:
            return func(*args, **kwargs)
        before = [_layout(c) for _, c in copies]
        versions = [innermost(c)._version for _, c in copies]
        new_args, new_kwargs = optree.tree_unflatten(spec, leaves)
        result = func(*new_args, **new_kwargs)
        if before != [_layout(c) for _, c in copies]:  # as of `t_`
            return func(*args, **kwargs)
        written = [
            (a, c)
            for (a, c), version in zip(copies, versions, strict=True)
            if innermost(c)._version != version
        ]
        for a, c in written:
            a.copy_(c)
        if written:
            return next((a for a, c in written if result is c), result)
        # A view of a copy would be written to in vain.
        shared = {_storage(c) for _, c in copies}
        found = (r for r in optree.tree_leaves(result) if isinstance(r, torch.Tensor))
        return func(*args, **kwargs) if any(_storage(r) in shared for r in found) else result


def as_read(x: Arrays) -> Arrays:
    """``x`` with copies of memory, for an operation with a rule, which may keep it."""
    for mode in _get_current_function_mode_stack():
        if type(mode) is Memory:
            memory = mode.storages
            x = tuple(a.clone() if _storage(a) in memory else a for a in x)
    return x


def _layout(tensor: torch.Tensor) -> object:
    return tensor.shape, tensor.stride()


def innermost(tensor: torch.Tensor) -> torch.Tensor:
    """What transformations of torch.func have wrapped."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor


def _storage(tensor: torch.Tensor) -> int | None:
    """What tells memory from other memory; None for tensors that have none, such as sparse ones."""
    with torch._C.DisableTorchFunction():  # those that watch for values see no read
        inner = innermost(tensor)
        return inner.untyped_storage()._cdata if inner.layout is torch.strided else None
