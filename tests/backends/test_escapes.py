"""Every way that a value can leave the recorder: a prepared call equals an eager one."""

import warnings
from typing import Any

import numpy as np
import pytest
from helpers import AD, same

import diffface as dif

POINTS = [
    np.array(p)
    for p in ([1.0, 2.0, 3.0], [-1.0, -2.5, 0.5], [3.0, -1.0, -7.0], [0.3, 9.0, 1.5], [0.0] * 3)
]


def xp(x: Any) -> Any:
    return dif.namespace(x)


def total(x: Any) -> Any:
    return xp(x).sum(x * x)


def guess_swallowed(x: Any) -> Any:
    try:
        n = int(x[0] + 3)
    except Exception:  # noqa: BLE001 (what careless users write)
        n = 1
    return total(x) * n


def branch_swallowed(x: Any) -> Any:
    try:
        big = bool(x[0] > 0)
    except Exception:  # noqa: BLE001 (the same)
        big = False
    return total(x) if big else xp(x).sum(x**3)


def nonzero(x: Any) -> Any:
    (found,) = xp(x).nonzero(x)
    return xp(x).sum(x[found] ** 3)


def ordered(x: Any) -> Any:
    y = xp(x).sort(x)
    return y[0] + 2 * y[1] + 5 * y[2]


def iterated(x: Any) -> Any:
    return sum(v * v for v in x if v > 0) if any(v > 0 for v in x) else xp(x).sum(x)


def listed(x: Any) -> Any:
    return total(x) if max(x.tolist()) > 2 else xp(x).sum(x)


def masked(x: Any) -> Any:
    positive = x > 0
    return xp(x).sum(xp(x).where(positive, x, 0.0 * x) ** 2) + xp(x).sum(positive * x)


def bounded_slice(x: Any) -> Any:
    return total(x[: max(1, min(3, int(xp(x).sum(x))))])


SWALLOWED = {"guess swallowed": guess_swallowed, "branch swallowed": branch_swallowed}
TEXT = {
    "format": lambda x: xp(x).sum(x) * (2.0 if "-" in f"{x}" else 1.0),
    "text of a comparison": lambda x: xp(x).sum(x) * (2.0 if "True" in str(x[0] > 0) else 1.0),
}
FUNCTIONS = {
    **SWALLOWED,
    **TEXT,
    "nonzero": nonzero,
    "sort": ordered,
    "iteration": iterated,
    "tolist": listed,
    "mask": masked,
    "slice": bounded_slice,
    "argmax": lambda x: x[xp(x).argmax(x)] ** 2,
    "clip": lambda x: xp(x).sum(xp(x).clip(x, -1.0, 2.0) * x),
    "sign": lambda x: xp(x).sum(xp(x).sign(x) * x * x),
    "floor": lambda x: xp(x).sum(xp(x).floor(x) * x),
    "round": lambda x: xp(x).sum(xp(x).round(x) * x),
    "remainder": lambda x: xp(x).sum((x % 2.0) * x),
    "extremes": lambda x: xp(x).max(x) ** 2 + xp(x).min(x),
    "minimum": lambda x: xp(x).sum(xp(x).minimum(x, x * x)),
    "absolute": lambda x: xp(x).sum(abs(x) * x),
    "equality": lambda x: xp(x).sum(x) if x[0] == x[1] else total(x),
    "negation": lambda x: x[1] * x[2] if not x[0] else x[0] ** 2,
    "chain": lambda x: x[0] * x[1] if 0 < x[0] < 2 else x[2] ** 2,
    "dict key": lambda x: {True: x[0] ** 2, False: x[1] ** 2}[bool(x[2] > 0)],
    "list index": lambda x: [x[0], x[1]][int(x[2] > 0)],
    "finite": lambda x: xp(x).sum(xp(x).where(xp(x).isfinite(x), x * x, x)),
    "flags as numbers": lambda x: total(x) * xp(x).sum(xp(x).astype(x > 0, x.dtype)),
    "count": lambda x: total(x) * int(xp(x).count_nonzero(x)),
    "unique": lambda x: xp(x).unique_values(x).shape[0] * xp(x).sum(x),
    "running sum": lambda x: xp(x).sum(xp(x).cumulative_sum(x)[xp(x).asarray([0, 2])] ** 2),
    "any": lambda x: total(x) if xp(x).any(x > 2) else xp(x).sum(x),
    "length": lambda x: total(x) * len(x) * x.shape[0],
}


def outcome(call: Any, *args: Any) -> Any:
    """The result, or the class of what is raised."""
    try:
        return call(*args)
    except Exception as error:  # noqa: BLE001 (any failure has to be the same)
        return type(error)


# jax.jit itself records what the text of a tracer makes a function do.
CASES = [
    (backend, name) for name in FUNCTIONS for backend in AD if backend != "jax" or name not in TEXT
]


# torch warns of each number that leaves it.
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad:UserWarning")
@pytest.mark.parametrize(("backend", "name"), CASES)
def test_prepared_equals_eager(backend: str, name: str) -> None:
    f = FUNCTIONS[name]
    for first in POINTS[:2]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dif.PreparationWarning)
                prepared = dif.prepare_gradient(f, first, backend=backend)
        except Exception as error:  # noqa: BLE001 (the same)
            with pytest.raises(type(error)):
                dif.gradient(f, first, backend=backend)
            continue
        for point in POINTS:
            eager = outcome(lambda x: dif.gradient(f, x, backend=backend), point)
            result = outcome(prepared, point)
            if isinstance(eager, type):
                assert result is eager
            else:
                same(result, eager)
