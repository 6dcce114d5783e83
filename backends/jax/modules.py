"""Modules of equinox and of flax.nnx as trees; neither library is imported here."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from diffface.backends.arrays import Subtree
from diffface.backends.recording.reachable import frozen, is_atom


def subtree(value: object) -> Subtree | None:
    """``value`` taken apart, if it is a module."""
    equinox, nnx = sys.modules.get("equinox"), sys.modules.get("flax.nnx")
    if equinox is not None and isinstance(value, equinox.Module):
        return _of_equinox(value)
    if nnx is not None and isinstance(value, nnx.Module):
        return _of_nnx(value, nnx)
    return None


# What is in a module of equinox besides arrays


class Rest:
    """What a module holds besides arrays: functions, numbers, flags, strings."""

    __slots__ = ("__weakref__", "parts")

    def __init__(self, parts: tuple[object, ...]) -> None:
        self.parts = parts

    def __repr__(self) -> str:
        return ", ".join(getattr(part, "__name__", None) or repr(part) for part in self.parts)


frozen.update({Rest, type(jax.jit(lambda: None)), jax.custom_jvp, jax.custom_vjp})

# The same object for the same parts, so that no call needs to look into them.
_rest = lru_cache(maxsize=256, typed=True)(lambda *parts: Rest(parts))


@dataclass(frozen=True, slots=True)
class _Rebuild:
    """From leaves to a module; where there is nothing in the place of a part, there is None."""

    tree: Any
    # Where arrays are among the leaves that JAX sees, and where there are parts of the rest.
    arrays: tuple[int, ...]
    parts: tuple[int, ...]

    def __call__(self, leaves: Iterable[Any]) -> object:
        found = list(leaves)
        whole: list[Any] = [None] * self.tree.num_leaves
        for i, leaf in zip(self.arrays, found, strict=False):
            whole[i] = leaf
        if self.parts and (rest := found[-1]) is not None:
            for i, part in zip(self.parts, rest.parts, strict=True):
                whole[i] = part
        return jax.tree.unflatten(self.tree, whole)


def _of_equinox(module: Any) -> Subtree:
    """Arrays of floating-point numbers are active, as `equinox.filter_grad` has it."""
    leaves, tree = jax.tree.flatten(module)
    # What is neither array nor atom may change, and is looked into at every call.
    are_parts = [*map(_is_part, leaves)]
    parts = tuple([i for i, is_part in enumerate(are_parts) if is_part])
    arrays = tuple([i for i, is_part in enumerate(are_parts) if not is_part])
    names = _names(tree)
    found = [leaves[i] for i in arrays]
    constant = [not _is_float(leaf) for leaf in found]
    places = [names[i] for i in arrays]
    if parts:
        found.append(_rest(*(leaves[i] for i in parts)))
        constant.append(True)
        places.append("")
    rebuild = _Rebuild(tree, arrays, parts)
    return Subtree(tuple(found), rebuild, tuple(places), tuple(constant), held(tree))


def held(tree: Any) -> Rest | None:
    """What the nodes of a structure hold, which JAX compares by ``==`` alone, if it is anything."""
    found: list[object] = []
    pending = [tree]
    while pending:
        node = pending.pop()
        data = node.node_data()
        if data is not None and data[1] is not None and data[0] not in (dict, list, tuple):
            found.append(data[1])
        pending += node.children()
    flat: list[Any] = []
    for data in found:
        flat += data if type(data) is tuple else (data,)
    if all([type(part) in _COMMON or _never_changes(part) for part in flat]):  # noqa: C419 - faster
        return _rest(*flat) if flat else None
    return Rest(tuple(flat))


# Types of most of what is held, none of which changes
_COMMON = (bool, int, str, type(None))


def _never_changes(part: object) -> bool:
    """Whether ``part`` is as it was, and the same as what is equal and of its type."""
    # A mark, of which there is no more than which one it is
    cls: Any = type(part)
    is_mark = _are_marks(cls) and not getattr(part, "__dict__", True)
    return is_mark or is_atom(part) or type(part) in frozen


@lru_cache(maxsize=256)
def _are_marks(cls: Any) -> bool:
    bare = cls.__mro__[1:] == (object,) and "__slots__" not in vars(cls)
    return bare and cls.__eq__ is object.__eq__


def _is_part(leaf: Any) -> bool:
    if type(leaf) in (float, complex):
        return True
    return not _is_array(leaf) and (is_atom(leaf) or type(leaf) in frozen)


def _is_array(leaf: Any) -> bool:
    cls: Any = type(leaf)
    return _are_arrays(cls) or _looks_like_array(leaf)


def _looks_like_array(x: Any) -> bool:
    return hasattr(x, "dtype") and hasattr(x, "shape")


_are_arrays = lru_cache(maxsize=256)(_looks_like_array)


def _is_float(leaf: Any) -> bool:
    return _is_array(leaf) and _are_floats(leaf.dtype)


@lru_cache(maxsize=256)
def _are_floats(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.inexact))


@lru_cache(maxsize=256)
def _names(tree: Any) -> tuple[str, ...]:
    found, _ = jax.tree_util.tree_flatten_with_path(
        jax.tree.unflatten(tree, range(tree.num_leaves))
    )
    return tuple(jax.tree_util.keystr(path) for path, _ in found)


# Modules of flax


@dataclass(frozen=True, slots=True)
class _Merge:
    """From leaves to a module of flax."""

    graph: Any
    tree: Any

    def __call__(self, leaves: Iterable[Any]) -> object:
        nnx = sys.modules["flax.nnx"]
        return nnx.merge(self.graph, jax.tree.unflatten(self.tree, list(leaves)))


def _of_nnx(module: Any, nnx: Any) -> Subtree:
    """Parameters are active, as `flax.nnx.grad` has it; each once, wherever it is shared."""
    graph, state = nnx.split(module)
    leaves, tree = jax.tree.flatten(state)
    constant = tuple(
        not (is_parameter and _is_float(leaf))
        for leaf, is_parameter in zip(leaves, _parameters(tree), strict=True)
    )
    names = tuple(name.removesuffix(".value") for name in _names(tree))
    return Subtree(tuple(leaves), _Merge(graph, tree), names, constant)


@lru_cache(maxsize=256)
def _parameters(tree: Any) -> tuple[bool, ...]:
    """For each leaf of a state, whether it is of a parameter."""
    nnx = sys.modules["flax.nnx"]
    variables = jax.tree.leaves(
        jax.tree.unflatten(tree, range(tree.num_leaves)),
        is_leaf=lambda each: isinstance(each, nnx.Variable),
    )
    return tuple(isinstance(v, nnx.Param) for v in variables for _ in jax.tree.leaves(v))
