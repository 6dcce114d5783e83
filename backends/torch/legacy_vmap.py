"""The vmap that torch.autograd still uses, for ``is_grads_batched``, and that has few rules."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from diffface.backends.compiled import Array

_BATCHED = torch._C._dispatch_key_parse("Batched")


def is_batched(a: Array | None) -> bool:
    """Whether ``a`` is one of a batch of that vmap."""
    return a is not None and torch._C._dispatch_keys(a).has(_BATCHED)


def by_torch_vmap(f: Callable[..., Sequence[Array | None]], x: Sequence[Array | None]) -> Any:
    """``f(*x)`` for arrays of which some are batched, computed by `torch.vmap`."""
    level = max(torch._C._vmapmode_increment_nesting() - 1, 1)
    torch._C._vmapmode_decrement_nesting()
    dims = tuple(0 if is_batched(a) else None for a in x)
    # The size is only looked at for arrays that are not batched.
    whole = [
        a if a is None or d is None else torch._remove_batch_dim(a, level, 0, 0)
        for a, d in zip(x, dims, strict=True)
    ]
    present: list[bool] = []

    def of_one(*x: Array | None) -> tuple[Array, ...]:
        y = f(*x)
        present[:] = [a is not None for a in y]
        return tuple(a for a in y if a is not None)

    found = iter(torch.vmap(of_one, dims)(*whole))
    return tuple(torch._add_batch_dim(next(found), 0, level) if p else None for p in present)
