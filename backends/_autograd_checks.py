"""The checks after a recording: the program is run against the eager function, once elsewhere."""

from typing import Any

import numpy as np
from diffface.backends._compiled import Arrays, Compiled, Program
from diffface.backends._errors import CannotRecord

# Rounding differs where additions were reordered; anything larger is a mistake, theirs or ours.
_TOLERANCE = {"f": 1e-3, "d": 1e-6, "F": 1e-3, "D": 1e-6, "e": 5e-2}


def check_same(found: Any, expected: Any, where: str) -> None:
    """Raise CannotRecord unless results agree up to rounding, shapes and dtypes exactly."""
    for a, b in zip(found, expected, strict=True):
        if np.shape(a) != np.shape(b) or np.result_type(a) != np.result_type(b):
            raise CannotRecord(f"the recorded program returns another shape or dtype {where}")
        tolerance = _TOLERANCE.get(np.result_type(b).char, 1e-6)
        with np.errstate(all="ignore"):
            finite = np.abs(b)[np.isfinite(b)]
            scale = tolerance * float(finite.max(initial=0))
            same = np.allclose(a, b, rtol=tolerance, atol=scale, equal_nan=True)
        if not same:
            raise CannotRecord(f"the recorded program disagrees with the function {where}")


def check_elsewhere(program: Program, compiled: Compiled, examples: Arrays) -> None:
    """Compare with an eager run, at a point nearby where possible.

    This finds what recording cannot see: random numbers, state that changes from call to call,
    inputs that are written to, values that were read behind the recorder's back.
    """
    with np.errstate(all="ignore"):
        for inputs in (tuple(map(_nudge, examples)), examples):
            mine, theirs = tuple(map(_copy, inputs)), tuple(map(_copy, inputs))
            try:
                expected = program(*theirs)
            except (
                Exception
            ):  # out of the function's domain, perhaps: then only the examples will do
                if inputs is examples:
                    raise
                continue
            check_same(compiled.run(*mine), expected, "when run again")
            if any(
                not np.array_equal(a, b, equal_nan=True)
                for a, b in zip(inputs, theirs, strict=True)
            ):
                raise CannotRecord("the function writes into its arguments")
            return


def _copy(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


def _nudge(x: Any) -> Any:
    """Return floating-point input moved by some thousandths, differently in each element."""
    if np.result_type(x).kind not in "fc":
        return x
    steps = 1 + 1e-3 * np.cos(1 + np.arange(np.size(x))).reshape(np.shape(x))
    moved = np.asarray(x * steps, np.result_type(x))
    return moved if isinstance(x, np.ndarray) else moved[()]
