"""Batches for libraries without vmap: one call after the other."""

from collections.abc import Callable
from typing import Any

from diffface.backends.compiled import Arrays


def loop(call: Callable[[Arrays], Arrays], seeds: Arrays, xp: Any) -> Arrays:
    """``call`` on every slice of ``seeds`` along the leading axis, stacked."""
    singles = slices(seeds, xp)
    return stack([call(single) for single in singles], seeds, xp)


def slices(seeds: Arrays, xp: Any) -> list[Arrays]:
    """The singles of a batch; of an empty one, zeros, to learn the shapes of results from."""
    count = seeds[0].shape[0]
    if count == 0:
        return [tuple(xp.zeros(seed.shape[1:], dtype=seed.dtype) for seed in seeds)]
    return [tuple(seed[i] for seed in seeds) for i in range(count)]


def stack(results: list[Arrays], seeds: Arrays, xp: Any) -> Arrays:
    """Results of all singles of ``seeds`` as one batch."""
    count = seeds[0].shape[0]
    return tuple(xp.stack(column)[:count] for column in zip(*results, strict=True))
