"""The precision in which a function computes, from the numbers that it returns."""

import math
from collections.abc import Sequence

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.numpy.box import Box
from diffface.backends.numpy.evaluator import Evaluate
from diffface.backends.numpy.moves import nearby
from diffface.backends.numpy.stencil import epsilon

_HALF, _SINGLE = np.dtype(np.float16), np.dtype(np.float32)


def precision(values: Sequence[Array]) -> float:
    """The epsilon of the coarsest dtype in which all of ``values`` are numbers; 0 if of none.

    Zeros and small integers, among others, are so by chance.
    """
    if not all(_fit(a, _SINGLE) for a in values):
        return 0.0
    return epsilon(_HALF if all(_fit(a, _HALF) for a in values) else _SINGLE)


def is_coarse(a: Array) -> bool:
    """Whether all elements are numbers of float32, though those of ``a`` have more digits."""
    return a.dtype in (np.float64, np.complex128) and _fit(a, _SINGLE)


def has_many_digits(value: float) -> bool:
    """Whether one real number is finite, and has more digits than float32 holds."""
    return math.isfinite(value) and math.frexp(value)[0] * 2.0**24 % 1.0 != 0.0


def finer(a: Array, b: Array) -> Array:
    """``b`` instead of ``a``, as long as that shows few digits."""
    return b if is_coarse(a) else a


def _fit(a: Array, dtype: np.dtype[np.floating]) -> bool:
    parts = (a.real, a.imag) if a.dtype.kind == "c" else (a,)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return all(bool(np.all((p == p.astype(dtype)) | (p != p))) for p in map(np.asarray, parts))


def coarse(
    evaluate: Evaluate, x: Arrays, sample: Arrays, finest: float, box: Box | None
) -> Sequence[float]:
    """For each leaf of ``y``, the precision it is computed in; 0 where it is that of ``x``.

    If a value of ``f``, which is ``sample``, has few digits, ``f`` is evaluated near ``x``.
    """
    if not any(precision([a]) > finest for a in sample):
        return ()
    elsewhere = nearby(x, box)
    with np.errstate(all="ignore"):  # f need not be defined there
        (other,) = evaluate([elsewhere], lenient=True)
    found = () if other is None else _coarse_leaves(sample, other)
    return [p if p > finest else 0.0 for p in found]


def _coarse_leaves(one: Arrays, other: Arrays) -> list[float]:
    """For each leaf of two values of ``f``, the precision that both show; 0 for full precision.

    Leaves that are the same at both points show nothing, unless their dtype says it.
    """
    found = []
    for a, b in zip(one, other, strict=True):
        differ = np.asarray(a != b)
        shown = [np.asarray(a)[differ], np.asarray(b)[differ]]
        changes = bool(np.any(differ & (a == a) & (b == b)))
        found.append(precision(shown) if changes else 0.0)
    return found
