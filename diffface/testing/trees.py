"""Trees by plain recursion: slow, obvious, and independent of what is under test."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

Tree = Any


def children(tree: Tree) -> list[Tree] | None:
    """The children of a node in the order of its leaves (dict by sorted key), None for a leaf."""
    if isinstance(tree, dict):
        return [tree[key] for key in sorted(tree)]
    if isinstance(tree, list | tuple):
        return list(tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return [getattr(tree, field.name) for field in dataclasses.fields(tree)]
    return None


def leaves(tree: Tree) -> list[Any]:
    """All leaves, in order."""
    below = children(tree)
    return [tree] if below is None else [leaf for child in below for leaf in leaves(child)]


def rebuild(tree: Tree, new: Iterable[Any]) -> Tree:
    """The structure of ``tree`` with the leaves ``new``."""
    return _rebuild(tree, iter(new))


def _rebuild(tree: Tree, new: Iterator[Any]) -> Tree:
    if isinstance(tree, dict):
        return {key: _rebuild(tree[key], new) for key in sorted(tree)}
    if isinstance(tree, list):
        return [_rebuild(child, new) for child in tree]
    if isinstance(tree, tuple):
        filled = [_rebuild(child, new) for child in tree]
        return type(tree)(*filled) if hasattr(tree, "_fields") else tuple(filled)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = [field.name for field in dataclasses.fields(tree)]
        return type(tree)(**{name: _rebuild(getattr(tree, name), new) for name in names})
    return next(new)


def mapped(f: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """``f`` of corresponding leaves."""
    return rebuild(tree, map(f, leaves(tree), *map(leaves, others)))


def outer(rows: Tree, columns: Tree, blocks: Iterable[Any]) -> Tree:
    """The tree ``rows`` of the trees ``columns``, filled with ``blocks`` row by row."""
    new = iter(blocks)
    return rebuild(rows, [rebuild(columns, [next(new) for _ in leaves(columns)])
                          for _ in leaves(rows)])  # fmt: skip


def structure(tree: Tree) -> str:
    """How the nodes nest, with types and keys, for comparing and for messages."""
    below = children(tree)
    if below is None:
        return "*"
    keys = sorted(tree) if isinstance(tree, dict) else None
    inside = ", ".join(map(structure, below))
    return f"{type(tree).__name__}{keys or ''}({inside})"


def is_number(leaf: object) -> bool:
    """Whether a leaf can be differentiated or is a floating-point constant."""
    return isinstance(leaf, np.ndarray | float | complex | np.inexact)


def wave(leaf: Any, phase: float) -> Any:
    """A number or array like ``leaf`` with no two entries the same: a tangent out of nothing."""
    array = np.asarray(leaf)
    angles = phase + np.arange(1.0, array.size + 1.0).reshape(array.shape)
    values = np.cos(angles)
    if array.dtype.kind == "c":
        values = values + 1j * np.sin(2 * angles)
    values = values.astype(array.dtype)
    return type(leaf)(values) if not isinstance(leaf, np.ndarray) else values
