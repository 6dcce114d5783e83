"""Agreement of a recorded program with the function that it was recorded from.

A recorder sees where values are asked for. It cannot see a function that decides by what else
differs while it is recorded: the exact type of an array, a counter, the time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.bfloat16 import EPS, eps_of, is_bfloat16, kind_of, narrowed, widened
from diffface.backends.compiled import Array, Arrays, Program
from diffface.backends.errors import CannotRecord, Disagreement


def perturb(x: Any) -> Any:
    """An array or number with every floating-point element moved by some thousandths.

    Each moves differently, zeros as well; what is not a number becomes one.
    """
    dtype = np.result_type(x)
    if kind_of(dtype) not in "fc":
        return x
    if is_bfloat16(dtype):
        return narrowed(_moved(widened(x), 16 * EPS), dtype)
    moved = np.asarray(_moved(x, 1e-3), dtype)
    if isinstance(x, np.ndarray):
        return moved
    return moved[()] if isinstance(x, np.generic) else moved.item()


def _moved(x: Any, size: float) -> Any:
    steps = size * np.cos(1 + np.arange(np.size(x))).reshape(np.shape(x))
    finite = np.where(np.isfinite(x), x, 1.0)
    return finite + steps * (1 + np.abs(finite))


# Terms that cancel may leave so many roundings of the largest element.
_CANCELLED = 1e4


def check_agreement(
    run: Program,
    program: Program,
    examples: Arrays,
    library: ArrayLibrary,
    *,
    terms: Callable[[Arrays], float] | None = None,
    unit: Callable[[], float] = lambda: 0.0,
    expected: Arrays | None = None,
) -> None:
    """Raise Disagreement unless ``run`` and ``program`` agree up to rounding.

    Parameters
    ----------
    run : callable
        The recorded program.
    program : callable
        What it was recorded from, a plain call.
    examples : tuple of arrays and numbers
        They are compared here, and at perturbed examples too, since much agrees by chance among
        zeros and ones.
    library : ArrayLibrary
        Of inputs and outputs.
    terms : callable, optional
        ``terms(inputs)`` bounds the sum of the sizes of terms that may cancel on the way; it is
        asked only where results differ. By default it is guessed from the sizes of the inputs.
    unit : callable, optional
        ``unit()`` is the machine epsilon of the coarsest numbers on the way, asked likewise, if
        they may be coarser than the results.
    expected : tuple of arrays, optional
        What ``program`` returned at the examples, if it is known.
    """
    if terms is None:
        terms = lambda inputs: noise(inputs, library)
    with np.errstate(all="ignore"):
        if expected is None:
            expected = program(*_copies(examples, library))
        # Limits are for the examples alone: nearby, numbers must agree.
        _compare(run, program, examples, expected, library, terms, unit, limits=True)
        nearby = perturbed(examples, library)
        try:
            expected = program(*_copies(nearby, library))
        except CannotRecord:
            raise
        except Exception:  # noqa: BLE001 - out of the function's domain
            return
        _compare(run, program, nearby, expected, library, terms, unit)


def _compare(
    run: Program, program: Program, inputs: Arrays, expected: Arrays, library: ArrayLibrary,
    terms: Callable[[Arrays], float], unit: Callable[[], float], limits: bool = False,
) -> None:  # fmt: skip
    found = run(*_copies(inputs, library))
    if agree(found, expected, library, limits=limits):
        return
    # Where large terms cancel, what is left is the rounding of their sum, in whatever order. It
    # must not hide a function that returns something else at every call.
    if agree(found, expected, library, terms(inputs), unit(), limits=limits):
        again = program(*_copies(inputs, library))
        if all(_identical(*pair, library) for pair in zip(again, expected, strict=True)):
            return
    raise Disagreement("its record gives another result than the function itself")


def agree(
    found: Arrays, expected: Arrays, library: ArrayLibrary, terms: float = 0.0,
    unit: float = 0.0, *, limits: bool = False,
) -> bool:  # fmt: skip
    """Whether results agree up to rounding, and in shape and dtype exactly.

    ``terms`` is the sum of the sizes of what may cancel; ``unit`` the machine epsilon of the
    coarsest numbers on the way, if that is coarser than the results'; with ``limits``, anything
    may stand for what is NaN in ``expected``.
    """
    pairs = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(
        _agree(*pair, library, terms, unit, limits) for pair in pairs
    )


def _agree(
    found: Array, expected: Array, library: ArrayLibrary, terms: float, unit: float, limits: bool
) -> bool:
    shape, dtype, _ = library.describe(expected)
    if library.describe(found)[:2] != (shape, dtype):
        return False
    if kind_of(dtype) == "V":  # NumPy has no such numbers to compare
        return True
    a, b = widened(library.to_numpy(found)), widened(library.to_numpy(expected))
    if a.dtype.kind not in "fc":
        return bool(np.array_equal(a, b))
    # A compiler may find the limit where plain evaluation says NaN.
    known = ~np.isnan(b) if limits else ...
    a, b = a[known], b[known]
    sizes = np.abs(b)
    largest = float(sizes[np.isfinite(b)].max(initial=0))
    # Half of the digits, since another course differs by more; of what cancels, less is left.
    unit = max(unit, eps_of(dtype))
    absolute = unit * (_CANCELLED * largest + terms)
    return np.allclose(a, b, rtol=unit**0.5, atol=absolute, equal_nan=True)


def _identical(x: Array, y: Array, library: ArrayLibrary) -> bool:
    a, b = widened(library.to_numpy(x)), widened(library.to_numpy(y))
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


def _copies(inputs: Arrays, library: ArrayLibrary) -> Arrays:
    """``inputs`` for a function that may write to its arguments."""
    return tuple(a if _is_number(a) else library.fresh(a) for a in inputs)


def perturbed(inputs: Arrays, library: ArrayLibrary) -> Arrays:
    """``inputs`` with their floating-point numbers moved a little."""
    return tuple(_perturb(a, library) for a in inputs)


def _perturb(value: Array, library: ArrayLibrary) -> Array:
    if _is_number(value):
        return perturb(value)
    _, dtype, device = library.describe(value)
    moved = kind_of(dtype) in "fc"
    return library.from_numpy(perturb(library.to_numpy(value)), device) if moved else value


def noise(inputs: Arrays, library: ArrayLibrary) -> float:
    """A bound for terms that may cancel, where no more is known than the inputs."""
    largest = 1.0
    for a in inputs:
        own = a if _is_number(a) else widened(library.to_numpy(a))
        if np.result_type(own).kind in "biufc":
            largest = max(largest, float(np.nanmax(np.abs(own), initial=1.0)))
    return 1e3 * largest


def _is_number(value: Array) -> bool:
    return isinstance(value, int | float | complex | np.generic)
