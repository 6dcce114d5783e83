"""Complex steps and finite differences as an expert writes them with NumPy and SciPy."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import optree

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array
from diffface.backends.numpy.finite_differences import FiniteDifferences
from diffface.benchmark.by_hand.library import ByHand, Example, Library, of_active, put


def flat(example: Example) -> tuple[Callable[[Array], Array], Array]:
    """``f`` of one vector, as SciPy wants it, and that vector; nothing is wrapped needlessly."""
    if example.single and example.x[0].ndim == 1 and not np.iscomplexobj(example.x[0]):
        f = example.f if len(example.args) == 1 else of_active(example)
        return f, example.x[0]
    leaves, tree = optree.tree_flatten(example.x)
    leaves = [np.asarray(leaf) for leaf in leaves]
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def of_vector(vector: Array) -> Array:
        parts = np.split(vector, ends)
        shaped = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        return example.f(*put(example.args, example.active, optree.tree_unflatten(tree, shaped)))

    return of_vector, np.concatenate([leaf.ravel() for leaf in leaves])


def flat_seed(example: Example) -> Array:
    """Tangents as one vector."""
    return np.concatenate([np.ravel(leaf) for leaf in optree.tree_leaves(example.seed)])


def by_leaf(example: Example, matrix: Array) -> Any:
    """A Jacobian with one column for each number, as one block for each array of ``x``."""
    sizes = [np.size(leaf) for leaf in optree.tree_leaves(example.x)]
    if len(sizes) == 1:
        return matrix
    return tuple(np.split(np.atleast_2d(matrix), np.cumsum(sizes)[:-1], axis=1))


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
    f, x = flat(example)
    return lambda: _gradient_at(f, x)


def _jacobian_by_complex_steps(example: Example) -> Callable[[], Any]:
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


def _pushforward_by_complex_steps(example: Example) -> Callable[[], Any]:
    f, x = flat(example)
    v = flat_seed(example)
    return lambda: f(x + 1j * STEP * v).imag / STEP


def _hvp_by_complex_steps(example: Example) -> Callable[[], Any]:
    f, x = flat(example)
    v = flat_seed(example)
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

    f, x = flat(example)
    return lambda: by_leaf(example, approx_derivative(f, x, method=method))


def _hvp_by_differences(method: str, example: Example) -> Callable[[], Any]:
    from scipy.optimize._numdiff import approx_derivative

    f, x = flat(example)
    v = flat_seed(example)
    # Two roundings are stacked: the gradient's relative error is epsilon ** (2/3).
    step = float(np.finfo(x.dtype).eps) ** (2 / 9) * max(1.0, np.max(np.abs(x)))

    def product() -> Any:
        ahead = approx_derivative(f, x + step * v, method=method)
        behind = approx_derivative(f, x - step * v, method=method)
        return (ahead - behind) / (2 * step)

    return product


def _pushforward_by_differences(example: Example) -> Callable[[], Any]:
    f, x = flat(example)
    v = flat_seed(example)
    step = float(np.finfo(x.dtype).eps) ** (1 / 3)
    return lambda: (f(x + step * v) - f(x - step * v)) / (2 * step)


FINITE_DIFFERENCES = Library(by_scipy)
