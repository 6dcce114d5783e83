"""What functions by NumPy code share when they are differentiated by hand: one flat vector."""

from collections.abc import Callable
from typing import Any

import numpy as np
import optree

from diffface.backends.compiled import Array
from diffface.benchmark.by_hand.example import Example, of_active, put


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
