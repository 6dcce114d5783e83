"""Preparation changes nothing, values come with derivatives unchanged: for every operator."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from lawful import LAW, arrays, backends, energy, few, mixing, near, seed, stacked, tolerance

import diffface as dif
from diffface.testing.case import FIXED_POINT, FUNCTIONS, ORDER, operator_of
from diffface.testing.point import SEEDS

NUMBER = ("derivative", "second_derivative")
SCALAR = ("gradient", "hessian", "hvp")
PREPARABLE = [name for name in FUNCTIONS if name not in FIXED_POINT]


def point(function: str, tree: Any) -> tuple[Any, Any, dict[str, Any]]:
    """A function that an operator takes, where, and with which seeds."""
    operator = operator_of(function)
    f = energy if operator in SCALAR else mixing
    x = 0.7 if operator in NUMBER else tree
    seeds = SEEDS.get(operator)
    return f, x, {} if seeds is None else {seeds: seed(x if seeds == "tangents" else f(x), 0.4)}


@pytest.mark.slow
@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("function", PREPARABLE)
@LAW.__class__(LAW, max_examples=2)
@given(tree=few(arrays()))
def test_prepared_is_unprepared(backend: str, function: str, tree: Any) -> None:
    f, x, seeds = point(function, tree)
    order = ORDER[operator_of(function)]
    eager = getattr(dif, function)(f, x, backend=backend, **seeds)
    atol = 10 * tolerance(backend, order, f(x), eager)
    prepare = getattr(dif, f"prepare_{function}")
    near(prepare(f, x, backend=backend)(x, **seeds), eager, atol)


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("function", PREPARABLE)
def test_value_comes_first(backend: str, function: str) -> None:
    """``value_and_x`` is ``(f, x)``, and every part is what its own operator gives."""
    f, x, seeds = point(function, np.array([0.5, -1.0, 2.0]))
    parts = FUNCTIONS[function]
    result = getattr(dif, function)(f, x, backend=backend, **seeds)
    for name, part in zip(parts, result if len(parts) > 1 else (result,), strict=True):
        if name == "value":
            near(part, f(x), 1e-12)
            continue
        own = seeds if name in SEEDS else {}
        alone = getattr(dif, name)(f, x, backend=backend, **own)
        near(part, alone, 10 * tolerance(backend, ORDER[name], f(x), alone))


@pytest.mark.slow
@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("function", [name for name in PREPARABLE if operator_of(name) in SEEDS])
def test_prepared_batch(backend: str, function: str) -> None:
    """A prepared callable takes batches of any size, of which every slice is a single call."""
    f, x, seeds = point(function, np.array([[0.5, -1.0]]))
    ((name, one),) = seeds.items()
    single = getattr(dif, operator_of(function))
    prepared = getattr(dif, f"prepare_{function}")(f, x, backend=backend, batched=True)
    for size in (2, 3):
        batch = [seed(one, 0.2 * k) for k in range(size)]
        rows = [single(f, x, backend=backend, **{name: row}) for row in batch]
        result = prepared(x, **{name: stacked(*batch)})
        last = result[-1] if len(FUNCTIONS[function]) > 1 else result
        near(
            last, stacked(*rows), 10 * tolerance(backend, ORDER[operator_of(function)], f(x), *rows)
        )
