"""Which backend can do what: found by asking, with scenarios whose answers are known."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from diffface.backends.registry import resolve
from diffface.testing.case import ORDER, Case, Preparation
from diffface.testing.closed_form.scenario import Scenario, scenarios
from diffface.testing.point import OPERATORS, supported
from diffface.testing.protocol import adapter_of, run
from diffface.testing.text_table import Table

# What is differentiated, and how the names of scenarios begin that are about it.
SORTS = {
    "real functions": "number to number",
    "complex arguments": "complex argument",
    "functions that are not analytic": "not analytic",
}
WAYS: tuple[Preparation, ...] = ("unprepared", "prepared")


@dataclass(frozen=True)
class Support:
    """What became of one operator on one backend.

    Attributes
    ----------
    backend, operator, sort : str
        Who was asked for what, of which sort of function.
    problem : str
        The error; empty if the answers were right, unprepared and prepared.
    differences : bool
        Whether the answers come from differences, and have their accuracy.
    """

    backend: str
    operator: str
    sort: str
    problem: str
    differences: bool


def support(
    names: Iterable[str], progress: Callable[[str], None] | None = None
) -> tuple[Support, ...]:
    """Ask every backend for every operator of every sort that has a scenario."""
    say = progress or (lambda _: None)
    found = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for sort, operator, scenario in probes():
            say(f"{operator} of {sort}")
            found += [_asked(name, operator, sort, scenario) for name in names]
    return tuple(found)


def probes() -> Iterator[tuple[str, str, Scenario]]:
    """The first scenario of each sort that has an answer for an operator."""
    table = scenarios()
    for sort, begin in SORTS.items():
        for operator in OPERATORS:
            fitting = (s for s in table if s.name.startswith(begin) and operator in supported(s))
            scenario = next(fitting, None)
            if scenario is not None:
                yield sort, operator, scenario


def support_table(found: Iterable[Support]) -> Table:
    """One row for each sort and operator, one column for each backend."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for one in found:
        cells.setdefault((one.sort, one.operator), {})[one.backend] = _word(one)
    names = list(next(iter(cells.values()), {}))
    rows = [
        (sort, operator, *(row[name] for name in names)) for (sort, operator), row in cells.items()
    ]
    return Table(("of", "operator", *names), rows)


def reasons_table(found: Iterable[Support]) -> Table:
    """Why backends cannot do what they cannot."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        if one.problem:
            reasons.setdefault((one.backend, one.sort, one.problem), []).append(one.operator)
    rows = [(b, sort, ", ".join(names), why) for (b, sort, why), names in reasons.items()]
    return Table(("backend", "of", "operators", "reason"), rows)


def _asked(name: str, operator: str, sort: str, scenario: Scenario) -> Support:
    backend = resolve(name)
    kind = backend.first_order().arrays
    problem = ""
    try:
        for way in WAYS:
            run(Case(scenario, operator, way, kind), name)
    except Exception as error:  # noqa: BLE001 - a backend of others may raise anything
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
    differences = adapter_of(backend, ORDER[operator]).black_box
    return Support(name, operator, sort, problem, differences)


def _word(one: Support) -> str:
    if one.problem:
        return "no"
    return "by differences" if one.differences else "yes"
