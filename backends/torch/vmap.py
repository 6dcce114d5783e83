"""Batches by `torch.vmap`, and by the vmap of ``is_grads_batched``, which has few rules."""

from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat.torch as xp
import torch

from diffface.backends.adapter import Pull
from diffface.backends.compiled import Array, Arrays
from diffface.backends.generic import loop
from diffface.backends.torch.pushforward import DUAL

_BATCHED = torch._C._dispatch_key_parse("Batched")


def batched(call: Pull, seeds: Arrays, chunk_size: int | None, randomness: str) -> Arrays:
    """``call`` on every slice of ``seeds``, stacked; one after the other where torch cannot."""
    # torch has no batching rule for conjugation, and complains; chunks need one seed at least.
    # Dual numbers are not batched.
    if DUAL.get() or any(seed.is_complex() for seed in seeds) or not seeds[0].shape[0]:
        return loop(call, seeds, xp)
    try:
        return torch.vmap(call, chunk_size=chunk_size, randomness=randomness)(seeds)
    except RuntimeError as error:
        if not lacks_batching(error):
            raise
        return loop(call, seeds, xp)


def lacks_batching(error: Exception) -> bool:
    """Whether ``error`` says that torch cannot batch a function."""
    text = str(error)
    signs = ("atching rule not implemented", "does not have vmap support", "setup_context")
    return any(sign in text for sign in signs)


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
