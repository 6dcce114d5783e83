"""The complex step as an expert writes it: a loop over the coordinates."""

from collections.abc import Callable
from typing import Any

import numpy as np

from diffface.backends.compiled import Array
from diffface.benchmark.by_hand.example import Example
from diffface.benchmark.by_hand.flat_vector import by_leaf, flat, flat_seed
from diffface.benchmark.by_hand.table import Library

STEP = 1e-20


def _gradient_at(f: Callable[[Array], Array], x: Array) -> Array:
    result = np.empty(x.size)
    point = x.astype(complex)
    for i in range(x.size):
        point[i] += 1j * STEP
        result[i] = f(point).imag / STEP
        point[i] = x[i]
    return result


def _gradient(example: Example) -> Callable[[], Any]:
    f, x = flat(example)
    return lambda: _gradient_at(f, x)


def _jacobian(example: Example) -> Callable[[], Any]:
    f, x = flat(example)

    def jacobian() -> Any:
        columns = []
        point = x.astype(complex)
        for i in range(x.size):
            point[i] += 1j * STEP
            columns.append(f(point).imag / STEP)
            point[i] = x[i]
        return by_leaf(example, np.stack(columns, axis=-1))

    return jacobian


def _pushforward(example: Example) -> Callable[[], Any]:
    f, x = flat(example)
    v = flat_seed(example)
    return lambda: f(x + 1j * STEP * v).imag / STEP


def _hvp(example: Example) -> Callable[[], Any]:
    f, x = flat(example)
    v = flat_seed(example)
    step = float(np.finfo(x.dtype).eps) ** (1 / 3)

    def product() -> Array:
        ahead, behind = _gradient_at(f, x + step * v), _gradient_at(f, x - step * v)
        return (ahead - behind) / (2 * step)

    return product


BY_HAND = {
    "gradient": _gradient,
    "hvp": _hvp,
    "jacobian": _jacobian,
    "pushforward": _pushforward,
}

LIBRARY = Library(lambda adapter: BY_HAND)
