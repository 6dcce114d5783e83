"""The whole suite for backends, as a pytest parametrisation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.numpy_arrays import NUMPY
from diffface.backends.registry import Backend, resolve
from diffface.prep.arguments.const import Const
from diffface.testing.case import FUNCTIONS, Case, Limit, cases, known_limits, operator_of
from diffface.testing.closed_form.scenario import Scenario
from diffface.testing.closed_form.scenario import scenarios as default_scenarios
from diffface.testing.point import Instance, converted, points, shape_class
from diffface.testing.protocol import (
    Expected,
    check,
    check_aux,
    check_same,
    check_separate,
    expectations,
    run,
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


def conformance(
    *backends: str | Backend,
    scenarios: Sequence[Scenario] | None = None,
    operators: Sequence[str] | None = None,
    limits: Sequence[Limit] | None = None,
    strategies: Sequence[str] = (),
) -> Callable[..., None]:
    """A test that runs backends through every scenario, operator and preparation.

    Parameters
    ----------
    *backends : str or backend object
        Who differentiates; a name must be registered before.
    scenarios : sequence of Scenario, optional
        What to run; by default all of :func:`scenarios`.
    operators : sequence of str, optional
        Run only these operators, with their variants that return more.
    limits : sequence of Limit, optional
        What the backends cannot do; these cases must fail, and exactly so. By default those known
        of diffface's own backends.
    strategies : sequence of str, optional
        How prepared calls must run, such as ``["program"]``: an adapter whose ``build`` never works
        gives right answers all the same, eagerly.

    Returns
    -------
    callable
        A parametrised test function. Assign it to a name that pytest collects.

    Examples
    --------
    In a test file of a package that brings a backend::

        import diffface
        from diffface.testing import conformance

        diffface.register_backend("mine", Mine)
        test_mine = conformance("mine")
    """
    chosen = default_scenarios() if scenarios is None else scenarios
    # Variants are derived alike for all functions: core scenarios and one of each shape will do.
    first: dict[tuple[str, str], Scenario] = {}
    for scenario in (*default_scenarios(), *chosen):
        first.setdefault(shape_class(scenario), scenario)
    varied = [*first.values(), *(scenario for scenario in chosen if scenario.core)]
    parameters = [
        pytest.param(backend, case, id=f"{backend}-{case}", marks=_marks(case, table))
        for backend in backends
        for table in [known_limits(backend) if limits is None else limits]
        for scenario in chosen
        for case in cases(scenario, _kinds(backend), scenario in varied)
        if operators is None or operator_of(case.function) in operators
    ]

    @pytest.mark.parametrize(("backend", "case"), parameters)
    def test(backend: str | Backend, case: Case) -> None:
        (run_many if case.many else run)(case, backend, strategies)

    return test


def _kinds(backend: str | Backend) -> tuple[ArrayLibrary, ...]:
    own = resolve(backend).first_order().arrays
    return (NUMPY,) if own is NUMPY else (NUMPY, own)


def _marks(case: Case, table: Sequence[Limit]) -> list[pytest.MarkDecorator]:
    for limit in table:
        if limit.covers(case.scenario.name, operator_of(case.function)):
            return [pytest.mark.xfail(strict=True, raises=limit.raises, reason=limit.reason)]
    return []
