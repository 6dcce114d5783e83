"""Functions whose control flow depends on values, with their gradients by hand."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import diffface as dif

POINTS = [
    np.array(p) for p in ([1.0, 2.0, 3.0], [-1.0, -2.5, 0.5], [3.0, -1.0, -7.0], [0.3, 9.0, 1.5])
]
WEIGHTS = np.array([1.0, 2.0, 5.0])


class Case(NamedTuple):
    """A function, its gradient by hand, and the backends whose own answer is an error."""

    f: Callable[[Any], Any]
    gradient: Callable[[Any], Any]
    refusing: tuple[str, ...] = ()


def unit(i: int) -> Any:
    return np.eye(3)[i]


def branch(x: Any) -> Any:
    xp = dif.namespace(x)
    if xp.sum(x) > 0:
        return xp.sum(x**2)
    return xp.sum(x**3)


def float_branch(x: Any) -> Any:
    if float(x[0]) > 0.5:
        return x[0] * x[1]
    return x[1] * x[2]


def loop(x: Any) -> Any:
    y = x[0] * x[0] + 0.1
    while y < 8:
        y = y * 2.0
    return y


def loop_gradient(x: Any) -> Any:
    y, factor = x[0] * x[0] + 0.1, 1.0
    while y < 8:
        y, factor = y * 2, factor * 2
    return factor * 2 * x[0] * unit(0)


def float_loop(x: Any) -> Any:
    y = x[0] * x[0] + 0.1
    while float(y) < 8:
        y = y * 2.0
    return y


def largest(x: Any) -> Any:
    return x[int(dif.namespace(x).argmax(x))] ** 2


def python_sorted(x: Any) -> Any:
    a, b, c = sorted([x[0], x[1], x[2]])
    return a * 1.0 + b * 2.0 + c * 5.0


def python_max(x: Any) -> Any:
    return max(x[0], x[1], x[2]) * 3.0


def mask(x: Any) -> Any:
    return dif.namespace(x).sum(x[x > 0] ** 2)


def where(x: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(xp.where(x > 0, x**2, -x))


def maximum(x: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(xp.maximum(x, 0.7 * x + 0.1))


def argsort(x: Any) -> Any:
    xp = dif.namespace(x)
    y = x[xp.argsort(x)]
    return y[0] * 1.0 + y[1] * 2.0 + y[2] * 5.0


def power(x: Any) -> Any:
    return x[0] ** int(x[1] + 0.25)


def power_gradient(x: Any) -> Any:
    n = int(x[1] + 0.25)
    return (n * x[0] ** (n - 1) if n else 0.0) * unit(0)


def sign_test(x: Any) -> Any:
    return x[0] * (2.0 if bool(x[1] > 0) else -3.0)


def value_escapes(x: Any) -> Any:
    return float(x[0]) * dif.namespace(x).sum(x)


def any_all(x: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(x**2) if xp.any(x < -2) and not xp.all(x > 0) else xp.sum(x)


def caught(x: Any) -> Any:
    try:
        positive = bool(x[1] > 0)
    except Exception:  # noqa: BLE001 - so broad on purpose
        positive = True
    return x[0] ** 2 if positive else x[1] ** 3


CASES = {
    "branch": Case(branch, lambda x: 2 * x if np.sum(x) > 0 else 3 * x**2),
    "branch on float": Case(
        float_branch,
        lambda x: np.array([x[1], x[0], 0.0]) if x[0] > 0.5 else np.array([0.0, x[2], x[1]]),
        ("jax", "autograd")),
    "loop": Case(loop, loop_gradient),
    "loop on float": Case(float_loop, loop_gradient, ("jax", "autograd")),
    "index of the largest": Case(largest, lambda x: 2 * np.max(x) * unit(np.argmax(x))),
    "sorted": Case(python_sorted, lambda x: WEIGHTS[np.argsort(np.argsort(x))]),
    "max": Case(python_max, lambda x: 3 * unit(np.argmax(x))),
    "mask": Case(mask, lambda x: np.where(x > 0, 2 * x, 0)),
    "where": Case(where, lambda x: np.where(x > 0, 2 * x, -1)),
    "maximum": Case(maximum, lambda x: np.where(0.3 * x > 0.1, 1.0, 0.7)),
    "argsort": Case(argsort, lambda x: WEIGHTS[np.argsort(np.argsort(x))]),
    "integer power": Case(power, power_gradient, ("autograd",)),
    "bool": Case(sign_test, lambda x: (2.0 if x[1] > 0 else -3.0) * unit(0)),
    "value as a factor": Case(
        value_escapes, lambda x: x[0] + np.sum(x) * unit(0),
        ("jax", "autograd")),
    "caught": Case(
        caught, lambda x: 2 * x[0] * unit(0) if x[1] > 0 else 3 * x[1] ** 2 * unit(1)),
    "any and all": Case(
        any_all, lambda x: 2 * x if np.any(x < -2) and not np.all(x > 0) else np.ones(3)),
}  # fmt: skip


def prepare(f: Any, x: Any, backend: str, operator: str = "gradient", **options: Any) -> Any:
    """The preparation, which may warn once that calls will run eagerly, and only that."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepared = getattr(dif, f"prepare_{operator}")(f, x, backend=backend, **options)
    ours = [w for w in caught if w.category is dif.PreparationWarning]
    assert len(ours) == (prepared.strategy == "eager"), [str(w.message) for w in ours]
    return prepared
