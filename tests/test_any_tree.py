"""Any tree of arrays of any shapes, by hypothesis."""

from typing import Any

import numpy as np
import pytest
from helpers import plain, same
from hypothesis import given, settings
from hypothesis import strategies as st
from test_trees import Frozen, Typed, cubes, expect, leaves

import diffface as dif

shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
arrays = shapes.flatmap(
    lambda shape: st.integers(0, 99).map(
        lambda seed: np.random.default_rng(seed).uniform(0.5, 2.0, shape)
    )
)
trees = st.recursive(
    arrays | st.floats(0.5, 2.0),
    lambda children: (
        st.lists(children, min_size=1, max_size=3)
        | st.lists(children, min_size=1, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from("abcd"), children, min_size=1, max_size=3)
        | st.tuples(children, children).map(lambda c: Typed(*c))
        | st.tuples(children, children).map(lambda c: Frozen(*c))
    ),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(tree=trees)
@pytest.mark.parametrize("backend", ["torch", "autograd"])
def test_any_tree(tree: Any, backend: str) -> None:
    _check_any(tree, backend)


# Every new shape costs JAX a compilation of every primitive.
@settings(max_examples=3, deadline=None, derandomize=True)
@given(tree=trees)
def test_any_tree_on_jax(tree: Any) -> None:
    _check_any(tree, "jax")


def _check_any(tree: Any, backend: str) -> None:
    result = dif.gradient(cubes, tree, backend=backend)
    expect(result, tree, lambda a: 3 * a**2, 1e-12)
    y, dy = dif.value_and_pushforward(cubes, tree, tangents=tree, backend=backend)
    same(dy, 3 * plain(y), 1e-11)
    doubled = dif.jacobian(lambda p: _map(p, 2.0), tree, backend=backend)
    _check_identity(doubled, tree)


def _map(tree: Any, factor: float) -> Any:
    if isinstance(tree, dict):
        return {key: _map(child, factor) for key, child in tree.items()}
    if isinstance(tree, Typed | Frozen):
        return type(tree)(_map(tree.left, factor), _map(tree.right, factor))
    if isinstance(tree, list | tuple):
        return type(tree)(_map(child, factor) for child in tree)
    return tree * factor


def _check_identity(jacobian: Any, tree: Any) -> None:
    rows, columns = [], leaves(tree)
    _rows(jacobian, tree, rows)
    assert len(rows) == len(columns)
    for i, row in enumerate(rows):
        for j, block in enumerate(leaves(row)):
            a, b = np.shape(columns[i]), np.shape(columns[j])
            assert np.shape(block) == a + b
            expected = 2 * np.eye(int(np.prod(a))) if i == j else np.zeros(())
            same(
                np.reshape(block, (int(np.prod(a)), int(np.prod(b)))),
                np.broadcast_to(expected, (int(np.prod(a)), int(np.prod(b)))),
            )


def _rows(jacobian: Any, tree: Any, rows: list[Any]) -> None:
    if isinstance(tree, dict):
        for key in tree:
            _rows(jacobian[key], tree[key], rows)
    elif isinstance(tree, Typed | Frozen):
        _rows(jacobian.left, tree.left, rows)
        _rows(jacobian.right, tree.right, rows)
    elif isinstance(tree, list | tuple):
        for one, child in zip(jacobian, tree, strict=True):
            _rows(one, child, rows)
    else:
        rows.append(jacobian)
