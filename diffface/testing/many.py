"""A scenario at many points at once: the answers of each, stacked."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from diffface.backends.registry import Backend, resolve
from diffface.prep.arguments.const import Const
from diffface.testing.case import Case
from diffface.testing.names import FUNCTIONS, operator_of
from diffface.testing.point import Instance, converted, points
from diffface.testing.protocol import (
    Expected,
    check,
    check_aux,
    check_same,
    check_separate,
    expectations,
    snapshot,
)
from diffface.testing.trees import Tree, is_number, leaves, mapped, rebuild


def run_many(case: Case, backend: str | Backend, strategies: Sequence[str] = ()) -> None:
    """Raise AssertionError unless the results at three points are those of each, stacked."""
    owner, operator = resolve(backend), operator_of(case.function)
    instances = _instances(case)
    stacked, in_axes = _stacked(instances)
    args = tuple(_converted(a, case) for a in stacked)
    here = instances[0]
    call, prepared = case.caller(backend, args, here.kwargs, in_axes=in_axes)
    rows = [at.seeds(operator, k) for k, at in enumerate(instances)]
    seeds = None if rows[0] is None else converted(_stack(rows), case.kind)
    before = snapshot((args, seeds))
    for _ in range(2 if prepared is not None else 1):
        result = call(args, here.kwargs, seeds)
        check_same("an input", before, (args, seeds))
        parts = FUNCTIONS[case.function]
        results = list(result) if len(parts) > 1 or case.scenario.has_aux else [result]
        check_separate(tuple(results), (args, seeds))
        if case.scenario.has_aux:
            check_aux(results.pop(), _stack([at.given("aux") for at in instances], int))
        for name, part in zip(parts, results, strict=True):
            wanted = [_of_many(each) for each in expectations(name, here, args)]
            check(name, part, _answer(name, instances), wanted, here, owner)
    if prepared is not None:
        assert not strategies or prepared.strategy in strategies, prepared.strategy


def _instances(case: Case) -> list[Instance]:
    """Three points that share what cannot have an axis."""
    here, there = points(case.scenario)
    pairs = enumerate(zip(here.plain, there.plain, strict=True))
    args = [_shared(a, b, i in here.active) for i, (a, b) in pairs]
    marked = tuple(
        Const(a) if isinstance(b, Const) else a for a, b in zip(args, here.args, strict=True)
    )
    return [here, replace(there, args=marked, kwargs=here.kwargs), replace(here, phase=1.3)]


def _shared(here: Tree, there: Tree, active: bool) -> Tree:
    """``there``, but for the leaves that must be those of ``here``."""
    return mapped(lambda a, b: b if _varies(a, active) else a, here, there)


def _varies(leaf: Any, active: bool) -> bool:
    # A Python number that is constant stays one, which promotes nothing.
    return is_number(leaf) and (active or not isinstance(leaf, float | complex))


def _stacked(instances: Sequence[Instance]) -> tuple[list[Any], tuple[Any, ...]]:
    """Arguments with the points in front, and where they are."""
    here = instances[0]
    args, in_axes = [], []
    for i, marked in enumerate(here.args):
        trees = [at.plain[i] for at in instances]
        varying = [_varies(leaf, i in here.active) for leaf in leaves(trees[0])]
        columns = zip(varying, *map(leaves, trees), strict=True)
        tree = rebuild(trees[0], [np.stack(c) if v else c[0] for v, *c in columns])
        args.append(Const(tree) if isinstance(marked, Const) else tree)
        in_axes.append(rebuild(trees[0], [0 if v else None for v in varying]))
    return args, tuple(in_axes)


def _converted(argument: Any, case: Case) -> Any:
    def of_kind(leaf: Any) -> Any:
        return converted(leaf, case.kind) if isinstance(leaf, np.ndarray) else leaf

    if isinstance(argument, Const):
        return Const(mapped(of_kind, argument.value))
    return converted(argument, case.kind)


def _of_many(each: Expected) -> Expected:
    return each._replace(kinds=(each.kinds[0], each.kinds[0]))


def _answer(name: str, instances: Sequence[Instance]) -> Tree:
    if name == "value":
        return _stack([at.given("value") for at in instances])
    return _stack([at.answer(name, k) for k, at in enumerate(instances)])


def _stack(trees: Sequence[Tree], *more: type) -> Tree:
    """Rows of numbers, of ``more`` types too, as arrays."""
    return mapped(
        lambda *row: np.stack(row) if is_number(row[0]) or isinstance(row[0], more) else row[0],
        *trees,
    )
