"""What is done with a case: called at several points, in turn, with everything watched."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffface.backends.arrays import library_of
from diffface.backends.registry import Backend, resolve
from diffface.testing.case import Case
from diffface.testing.checks import (
    check,
    check_same,
    check_separate,
    close,
    expectations,
    snapshot,
    spoil,
)
from diffface.testing.convert import arguments, converted
from diffface.testing.functions import FIXED_POINT, FUNCTIONS, operator_of
from diffface.testing.point import SEEDS, Point, points
from diffface.testing.trees import Tree, leaves, mapped, structure

# Seeds of a batch.
BATCH = 3


def run(case: Case, backend: str | Backend, strategies: Sequence[str] = ()) -> None:
    """Raise AssertionError unless ``backend`` gives the right answers in the right way.

    Prepared at one point, a callable is called at another, then at the first, and again at the
    other, after its earlier results were overwritten. If any ``strategies`` are given, its calls
    must run by one of them.
    """
    here, there = points(case.scenario)
    example = arguments(here, case.kind)
    call, prepared = case.caller(backend, example, here.kwargs)
    owner = resolve(backend)
    earlier = _ask(case, call, there, owner)
    kept = snapshot(earlier)
    second = _ask(case, call, here, owner)
    check_same("an earlier result", kept, earlier)
    if prepared is not None:
        found = prepared.strategy
        assert not strategies or found in strategies, f"prepared calls run by {found!r}"
        spoil((earlier, second))
        _ask(case, call, there, owner)


def _ask(case: Case, call: Any, point: Point, backend: Backend) -> tuple[Any, ...]:
    """Call once and check everything; returns the arrays of the result."""
    parts, operator = FUNCTIONS[case.function], operator_of(case.function)
    args = arguments(point, case.kind)
    if case.function in FIXED_POINT:
        args = mapped(lambda a: _copied(a), args)
    wanted = [expectations(name, point, args) for name in parts]
    seeds = _seeds(case, point, operator)
    inputs = (args, dict(point.kwargs), seeds)
    before = snapshot(inputs)
    result = call(args, point.kwargs, seeds)
    check_same("an input", before, inputs)
    results = list(result) if len(parts) > 1 or case.scenario.has_aux else [result]
    if case.scenario.has_aux:
        _check_aux(results.pop(), point)
    if case.function in FIXED_POINT:
        spoil(args)
        results[-1] = results[-1](seeds, batched=case.batched)
    for name, part, want in zip(parts, results, wanted, strict=True):
        batched = case.batched and name == operator
        check(name, part, _answer(name, point, batched), want, point, backend)
    check_separate(tuple(results), inputs)
    return tuple(results)


def _seeds(case: Case, point: Point, operator: str) -> Tree:
    if operator not in SEEDS:
        return None
    if not case.batched:
        return converted(point.seeds(operator), case.kind)
    batch = [point.seeds(operator, k) for k in range(BATCH)]
    return converted(mapped(lambda *row: np.stack(row), *batch), case.kind)


def _answer(name: str, point: Point, batched: bool) -> Tree:
    if name == "value":
        return point.given("value")
    if not batched:
        return point.answer(name)
    return mapped(lambda *row: np.stack(row), *(point.answer(name, k) for k in range(BATCH)))


def _check_aux(aux: Tree, point: Point) -> None:
    answer = point.given("aux")
    assert structure(aux) == structure(answer), f"aux has the structure {structure(aux)}"
    for leaf, wanted in zip(leaves(aux), leaves(answer), strict=True):
        if isinstance(wanted, np.ndarray | np.inexact):
            scale = float(np.max(np.abs(wanted), initial=0.0))
            close("aux", leaf, wanted, 1e-12 if wanted.dtype.itemsize >= 8 else 1e-5, scale)
        else:
            assert type(leaf) is type(wanted), f"aux has {leaf!r}"
            assert leaf == wanted, f"aux has {leaf!r}"


def _copied(leaf: Any) -> Any:
    kind = library_of(leaf)
    return leaf if kind is None else kind.from_numpy(np.array(kind.to_numpy(leaf)), None)
