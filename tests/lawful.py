"""What the tests of laws share: backends with limits, random trees, functions of any tree."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import diffface as dif
from diffface.backends.registry import ROWS, resolve
from diffface.testing.case import known_limits
from diffface.testing.protocol import relative
from diffface.testing.trees import leaves, mapped, rebuild, wave

NAMES = tuple(ROWS)
# Examples are few, since a law costs jax and torch a compilation at every new shape, and the same
# in every run.
LAW = settings(
    deadline=None, max_examples=5, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
SHAPES = [(), (2, 3), (0,), (1,)]


def backends(topic: str = "", operator: str = "") -> list[Any]:
    """All backends as parameters; those whose limits cover ``topic`` must fail."""
    return [
        pytest.param(
            name,
            marks=[
                pytest.mark.xfail(strict=True, raises=limit.raises, reason=limit.reason)
                for limit in known_limits(name)
                if limit.covers(topic, operator)
            ],
        )
        for name in NAMES
    ]


def arrays(dtype: Any = np.float64, shapes: Any = None) -> st.SearchStrategy[Any]:
    """Arrays of moderate numbers."""
    number = st.floats(-2, 2, width=32)
    if np.dtype(dtype).kind == "c":
        number = st.builds(complex, number, number)
    shape = st.sampled_from(SHAPES) if shapes is None else shapes
    return hnp.arrays(dtype, shape, elements=number)


def trees(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Dicts, lists and tuples of leaves, at most two deep, never without a leaf."""

    def wider(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.lists(below, min_size=1, max_size=2),
            st.tuples(below, below),
            st.dictionaries(st.sampled_from("ab"), below, min_size=1),
        )

    return st.one_of(leaf, wider(leaf), wider(st.one_of(leaf, wider(leaf))))


def few(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One leaf or two, for what costs a compilation per pair of leaves."""
    return st.one_of(leaf, st.tuples(leaf, leaf), st.fixed_dictionaries({"b": leaf, "a": leaf}))


def mixing(tree: Any) -> Any:
    """A tree in which every entry depends on every entry of ``tree``, analytically."""
    parts = leaves(tree)
    xp = dif.namespace(*parts)
    total = sum((k + 1) * xp.sum(xp.sin(part)) for k, part in enumerate(parts))
    return rebuild(tree, [part * part + total * xp.cos(part) for part in parts])


def energy(tree: Any) -> Any:
    """A number with a full Hessian."""
    parts = leaves(mixing(tree))
    xp = dif.namespace(*parts)
    return sum(xp.sum(part) ** 2 + xp.sum(part**3) for part in parts) / 10


def conjugating(tree: Any) -> Any:
    """``mixing`` with conjugates, so that it is not holomorphic."""
    parts = leaves(mixing(tree))
    xp = dif.namespace(*parts)
    return rebuild(tree, [part + 2 * xp.conj(part) * part for part in parts])


def seed(tree: Any, phase: float) -> Any:
    """Tangents or cotangents like ``tree``."""
    return mapped(lambda leaf: wave(np.asarray(leaf), phase), tree)


def stacked(*seeds: Any) -> Any:
    """Seeds as a batch."""
    return mapped(lambda *row: np.stack(row), *seeds)


def inner(a: Any, b: Any) -> float:
    """Real inner product of trees."""
    pairs = zip(leaves(a), leaves(b), strict=True)
    return float(sum(np.real(np.sum(np.conj(x) * y)) for x, y in pairs))


def tolerance(backend: str, order: int, *sizes: Any) -> float:
    """Absolute error that is right for results, or terms of a sum, as large as ``sizes``."""
    scale = max(
        (float(np.max(np.abs(x), initial=0.0)) for s in sizes for x in leaves(s)), default=0
    )
    return relative(resolve(backend), order, np.dtype(float)) * max(1.0, scale)


def near(a: Any, b: Any, atol: float) -> None:
    """Equal trees within ``atol``."""
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=0, atol=atol)


def modes(backend: str, order: int) -> Iterator[str]:
    """The modes that a backend has."""
    adapter = resolve(backend).second_order()[0] if order == 2 else resolve(backend).first_order()
    yield "auto"
    yield from (mode for mode in ("forward", "reverse") if getattr(adapter, mode))
