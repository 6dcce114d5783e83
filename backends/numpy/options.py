"""Options of finite differences, checked, in a form that can be compared and hashed."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from diffface.backends.compiled import Array
from diffface.backends.errors import InvalidArgumentError


class Vector:
    """A constant vector that is compared by its values.

    Attributes
    ----------
    array : numpy.ndarray of shape (N,), float64
        Read-only.
    """

    __slots__ = ("_hash", "array")

    def __init__(self, array: Any) -> None:
        self.array: Array = np.array(array, float).reshape(-1)
        self.array.setflags(write=False)
        self._hash = hash(self.array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and np.array_equal(self.array, other.array)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return repr(self.array)

    def __reduce__(self) -> tuple[Any, ...]:
        return Vector, (np.array(self.array),)


def check_scheme(scheme: object, schemes: Sequence[str]) -> None:
    """Refuse what is no scheme."""
    if scheme not in schemes:
        names = ", ".join(map(repr, schemes))
        raise InvalidArgumentError(f"`scheme` must be one of {names}, got {scheme!r}.")


def step_of(step: object) -> float | Vector | None:
    """Steps of the user's: None, a positive number or several."""
    if step is None or isinstance(step, Vector):
        return step
    if isinstance(step, int | float | np.number) and not isinstance(step, bool):
        if not isinstance(step, complex | np.complexfloating) and 0 < step < math.inf:
            return float(step)
    elif isinstance(step, list | tuple | np.ndarray):
        steps = _numbers(step)
        if steps is not None and steps.size and np.all((steps > 0) & (steps < np.inf)):
            return Vector(steps)
    raise InvalidArgumentError(
        f"`step` must be a positive finite number, got {step!r}; "
        "leave it out to have it chosen from the dtype."
    )


def bounds_of(bounds: Any) -> tuple[Vector, Vector] | None:
    """Lower and upper bounds, of shape (N,) or (1,); None where there are none."""
    if bounds is None:
        return None
    pair = (bounds.lb, bounds.ub) if hasattr(bounds, "lb") and hasattr(bounds, "ub") else bounds
    if isinstance(pair, tuple | list) and len(pair) == 2:
        vectors = [b.array if isinstance(b, Vector) else _numbers(b) for b in pair]
        if all(v is not None and v.size for v in vectors):
            lower, upper = vectors
            sizes = {lower.size, upper.size} - {1}
            if len(sizes) < 2 and np.all(lower <= upper):
                return Vector(lower), Vector(upper)
    raise InvalidArgumentError(
        "`bounds` must be a pair (lower, upper) of numbers or arrays with one number for each "
        f"coordinate, the lower ones below the upper ones, got {bounds!r}."
    )


def _numbers(given: Any) -> Any:
    try:
        array = np.asarray(given)
        return array.astype(float) if array.dtype.kind in "iuf" else None
    except (TypeError, ValueError):
        return None
