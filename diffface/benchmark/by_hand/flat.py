"""Functions of several arrays as functions of one vector, and Jacobians of these as blocks."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from diffface.backends.compiled import Array
from diffface.benchmark.by_hand.library import Example, of_active


def flat(example: Example, xp: Any) -> tuple[Callable[[Array], Array], Array]:
    """``f`` from one vector to one, and the vector it is at; nothing is wrapped needlessly.

    Parameters
    ----------
    example : Example
        By leaf.
    xp : module
        NumPy, or autograd's.
    """
    f = of_active(example)
    if example.single and example.x[0].ndim == 1 and not np.iscomplexobj(example.x[0]):
        of_vector, x = f, example.x[0]
    else:
        leaves = [np.asarray(leaf) for leaf in example.x]
        ends = np.cumsum([0, *(leaf.size for leaf in leaves)])
        parts = [slice(*pair) for pair in pairwise(ends)]
        x = np.concatenate([leaf.ravel() for leaf in leaves])

        def of_vector(v: Array) -> Array:
            return f(*(v[at].reshape(leaf.shape) for at, leaf in zip(parts, leaves, strict=True)))

    if not isinstance(example.y, tuple) and np.ndim(example.y) < 2:
        return of_vector, x
    return lambda v: vector(of_vector(v), xp), x


def vector(arrays: Any, xp: Any) -> Array:
    """Several arrays, or one, as one vector."""
    parts = arrays if isinstance(arrays, tuple) else (arrays,)
    return xp.concatenate([xp.reshape(part, (-1,)) for part in parts])


def by_block(example: Example, matrix: Array, square: bool = False) -> Any:
    """A Jacobian of vectors as blocks, for each array of ``y`` (or of ``x``) and each of ``x``."""
    y = example.y if isinstance(example.y, tuple) else (example.y,)
    results = example.x if square else y
    if len(results) == len(example.x) == 1:
        return matrix
    below = np.cumsum([np.size(result) for result in results])[:-1]
    beside = np.cumsum([np.size(x) for x in example.x])[:-1]
    rows = np.split(matrix.reshape(-1, matrix.shape[-1]), below)
    return tuple(block for row in rows for block in np.split(row, beside, axis=1))
