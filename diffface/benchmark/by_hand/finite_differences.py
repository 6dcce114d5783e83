"""Finite differences as an expert gets them: from SciPy, and products by one more difference."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize._numdiff import approx_derivative

from diffface.backends.adapter import Adapter
from diffface.backends.numpy.finite_differences import FiniteDifferences
from diffface.benchmark.by_hand.example import ByHand, Example
from diffface.benchmark.by_hand.flat_vector import by_leaf, flat, flat_seed
from diffface.benchmark.by_hand.table import Library

# What SciPy calls the schemes that it has.
METHODS = {"central": "3-point", "forward": "2-point"}


def by_scipy(adapter: Adapter) -> ByHand:
    """The operators that SciPy's ``approx_derivative`` gives with the adapter's scheme."""
    assert isinstance(adapter, FiniteDifferences)
    method = METHODS.get(adapter.scheme)
    if method is None:
        return {}
    return {
        "gradient": partial(_jacobian, method),
        "hvp": partial(_hvp, method),
        "jacobian": partial(_jacobian, method),
        "pushforward": _pushforward,
    }


def _jacobian(method: str, example: Example) -> Callable[[], Any]:
    f, x = flat(example)
    return lambda: by_leaf(example, approx_derivative(f, x, method=method))


def _hvp(method: str, example: Example) -> Callable[[], Any]:
    f, x = flat(example)
    v = flat_seed(example)
    # Two roundings are stacked: the gradient's relative error is epsilon ** (2/3).
    step = float(np.finfo(x.dtype).eps) ** (2 / 9) * max(1.0, np.max(np.abs(x)))

    def product() -> Any:
        ahead = approx_derivative(f, x + step * v, method=method)
        behind = approx_derivative(f, x - step * v, method=method)
        return (ahead - behind) / (2 * step)

    return product


def _pushforward(example: Example) -> Callable[[], Any]:
    f, x = flat(example)
    v = flat_seed(example)
    step = float(np.finfo(x.dtype).eps) ** (1 / 3)
    return lambda: (f(x + step * v) - f(x - step * v)) / (2 * step)


LIBRARY = Library(by_scipy)
