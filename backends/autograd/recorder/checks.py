"""The checks after a recording: the program is run against the eager function, once elsewhere."""

from typing import Any

import numpy as np

from diffface.backends.compiled import Arrays, Compiled, Program
from diffface.backends.errors import CannotRecord
from diffface.backends.recording.perturb import perturb

# Rounding differs where additions were reordered; anything larger is a mistake, theirs or ours.
_TOLERANCE = {"e": 5e-2, "f": 1e-3, "F": 1e-3}
# What cancels may leave so many roundings of the largest element.
_CANCELLED = 1e4


def check_same(found: Arrays, expected: Arrays, inputs: Arrays) -> None:
    """Raise CannotRecord unless the program found what recording saw, up to rounding."""
    if not _agree(found, expected, _noise(inputs)):
        raise CannotRecord("the recorded program disagrees with its own recording")


def check_elsewhere(program: Program, compiled: Compiled, examples: Arrays) -> None:
    """Compare with an eager run, at a point nearby where possible.

    This finds what recording cannot see: random numbers, state that changes from call to call,
    inputs that are written to, values that were read behind the recorder's back.
    """
    inputs = tuple(map(perturb, examples))
    with np.errstate(all="ignore"):
        try:
            expected = _run_safely(program, inputs)
        except CannotRecord:
            raise
        except Exception:  # noqa: BLE001  # out of the function's domain, perhaps
            inputs = examples
            expected = _run_safely(program, inputs)
        found = compiled.run(*inputs)
        if _agree(found, expected, 0.0):
            return
        # Where large terms cancel, noise is all there is; then eager runs must agree to the bit.
        again = _run_safely(program, inputs)
        if not _agree(found, expected, _noise(inputs)) or not _identical(expected, again):
            raise CannotRecord("the recorded program disagrees with the function when run again")


def _run_safely(program: Program, inputs: Arrays) -> Arrays:
    copies = tuple(x.copy() if isinstance(x, np.ndarray) else x for x in inputs)
    results = program(*copies)
    if [*map(_bits, copies)] != [*map(_bits, inputs)]:
        raise CannotRecord("the function writes into its arguments")
    return results


def _agree(found: Arrays, expected: Arrays, noise: float) -> bool:
    """Whether results agree up to rounding, their shapes and dtypes exactly."""
    for a, b in zip(found, expected, strict=True):
        dtype = np.result_type(b)
        if np.shape(a) != np.shape(b) or np.result_type(a) != dtype:
            return False
        relative = _TOLERANCE.get(dtype.char, 1e-6)
        with np.errstate(all="ignore"):
            sizes = np.abs(b)
            largest = sizes.max(initial=0)
            if dtype.kind in "fc" and np.isfinite(largest):
                # As `allclose`, which takes its time over what may be infinite or NaN.
                absolute = (_CANCELLED * largest + noise) * _unit(dtype)
                close = (np.abs(a - b) <= absolute + relative * sizes).all()
            else:
                largest = sizes[np.isfinite(b)].max(initial=0)
                absolute = (_CANCELLED * float(largest) + noise) * _unit(dtype)
                close = np.allclose(a, b, rtol=relative, atol=absolute, equal_nan=True)
            if not close:
                return False
    return True


def _identical(a: Arrays, b: Arrays) -> bool:
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def _bits(x: Any) -> bytes:
    return np.asarray(x).tobytes()


def _noise(inputs: Arrays) -> float:
    """Return the size, in units of rounding, of what cancellation may leave of the inputs."""
    numbers = (x for x in inputs if np.result_type(x).kind in "biufc")
    largest = (float(np.nanmax(np.abs(x), initial=1.0)) for x in numbers)
    return 1e3 * max(largest, default=1.0)


def _unit(dtype: Any) -> float:
    return float(np.finfo(dtype).eps) if dtype.kind in "fc" else 0.0
