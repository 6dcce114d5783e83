"""Batches for libraries without vmap: one call after the other."""

from collections.abc import Callable
from typing import Any

from diffface.backends._compiled import Arrays


def loop(call: Callable[[Arrays], Arrays], seeds: Arrays, xp: Any) -> Arrays:
    """``call`` on every slice of ``seeds`` along the leading axis (length at least 1), stacked."""
    slices = [call(tuple(seed[i] for seed in seeds)) for i in range(seeds[0].shape[0])]
    return tuple(xp.stack(column) for column in zip(*slices, strict=True))
