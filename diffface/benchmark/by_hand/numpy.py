"""Complex steps and finite differences as an expert writes them with NumPy and SciPy."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array
from diffface.backends.numpy.finite_differences import FiniteDifferences
from diffface.benchmark.by_hand.library import ByHand, Example, Library, by_block, flat, vector

STEP = 1e-20


def _gradient_at(f: Callable[[Array], Array], x: Array) -> Array:
    result = np.empty(x.size)
    point = x.astype(complex)
    for i in range(x.size):
        point[i] += 1j * STEP
        result[i] = f(point).imag / STEP
        point[i] = x[i]
    return result


def _gradient_by_complex_steps(example: Example) -> Callable[[], Any]:
    f, x = flat(example, np)
    return lambda: _gradient_at(f, x)


def _jacobian_by_complex_steps(example: Example) -> Callable[[], Any]:
    f, x = flat(example, np)

    def jacobian() -> Any:
        columns = []
        point = x.astype(complex)
        for i in range(x.size):
            point[i] += 1j * STEP
            columns.append(f(point).imag / STEP)
            point[i] = x[i]
        return by_block(example, np.stack(columns, axis=-1))

    return jacobian


def _pushforward_by_complex_steps(example: Example) -> Callable[[], Any]:
    f, x = flat(example, np)
    v = vector(example.seed, np)
    return lambda: f(x + 1j * STEP * v).imag / STEP


def _hvp_by_complex_steps(example: Example) -> Callable[[], Any]:
    f, x = flat(example, np)
    v = vector(example.seed, np)
    step = float(np.finfo(x.dtype).eps) ** (1 / 3)

    def product() -> Array:
        ahead, behind = _gradient_at(f, x + step * v), _gradient_at(f, x - step * v)
        return (ahead - behind) / (2 * step)

    return product


BY_HAND = {
    "gradient": _gradient_by_complex_steps,
    "hvp": _hvp_by_complex_steps,
    "jacobian": _jacobian_by_complex_steps,
    "pushforward": _pushforward_by_complex_steps,
}

COMPLEX_STEP = Library(lambda adapter: BY_HAND)


# What SciPy calls the schemes that it has.
METHODS = {"central": "3-point", "forward": "2-point"}


def by_scipy(adapter: Adapter) -> ByHand:
    """The operators that SciPy's ``approx_derivative`` gives with the adapter's scheme."""
    assert isinstance(adapter, FiniteDifferences)
    method = METHODS.get(adapter.scheme)
    if method is None:
        return {}
    return {
        "gradient": partial(_jacobian_by_differences, method),
        "hvp": partial(_hvp_by_differences, method),
        "jacobian": partial(_jacobian_by_differences, method),
        "pushforward": _pushforward_by_differences,
    }


def _jacobian_by_differences(method: str, example: Example) -> Callable[[], Any]:
    from scipy.optimize._numdiff import approx_derivative

    f, x = flat(example, np)
    return lambda: by_block(example, approx_derivative(f, x, method=method))


def _hvp_by_differences(method: str, example: Example) -> Callable[[], Any]:
    from scipy.optimize._numdiff import approx_derivative

    f, x = flat(example, np)
    v = vector(example.seed, np)
    # Two roundings are stacked: the gradient's relative error is epsilon ** (2/3).
    step = float(np.finfo(x.dtype).eps) ** (2 / 9) * max(1.0, np.max(np.abs(x)))

    def product() -> Any:
        ahead = approx_derivative(f, x + step * v, method=method)
        behind = approx_derivative(f, x - step * v, method=method)
        return (ahead - behind) / (2 * step)

    return product


def _pushforward_by_differences(example: Example) -> Callable[[], Any]:
    f, x = flat(example, np)
    v = vector(example.seed, np)
    step = float(np.finfo(x.dtype).eps) ** (1 / 3)
    return lambda: (f(x + step * v) - f(x - step * v)) / (2 * step)


FINITE_DIFFERENCES = Library(by_scipy)
