"""Which custom rules are wrong: those that a function calls, each beside differences."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from diffface.backends.recording.user_frame import in_library
from diffface.backends.registry import Backend
from diffface.operators.pullback import PULLBACK
from diffface.operators.pushforward import PUSHFORWARD
from diffface.prep.arguments.const import Const
from diffface.prep.arguments.tree import flatten, unflatten
from diffface.prep.operator import Operator
from diffface.rules.arguments import called, moves
from diffface.rules.bridge import Bridge
from diffface.rules.custom_rule import CustomRule
from diffface.rules.operation import Calls, noted_calls
from diffface.testing.comparison.agreement import beside, rows
from diffface.testing.comparison.findings import Evidence
from diffface.testing.comparison.reference import reference_at
from diffface.testing.comparison.report import WAYS, Comparison, ask
from diffface.testing.comparison.subject import subject

# So many calls of one function with rules are looked at.
CALLS = 3


def wrong_rules(evidence: Evidence, backend: Backend) -> str:
    """What is wrong with the rules that the function calls, as a clause; empty if nothing is."""
    with noted_calls() as calls:
        evidence.subject.value(backend)
    found: dict[str, None] = {}
    for function, values in _few(calls):
        for problem in _problems(function, values, backend):
            found.setdefault(problem)
    return ", and ".join(found)


def _few(calls: Calls) -> Calls:
    counts: dict[int, int] = {}
    chosen = []
    for function, values in calls:
        counts[id(function)] = counts.get(id(function), 0) + 1
        if counts[id(function)] <= CALLS:
            chosen.append((function, values))
    return chosen


def _problems(function: CustomRule, values: tuple[Any, ...], backend: Backend) -> Iterator[str]:
    """One clause for each rule that is wrong at these arguments."""
    names = list(function.signature.parameters)
    floats = {n for n, value in zip(names, values, strict=True) if any(map(moves, _leaves(value)))}
    for operator, active, rule in _derivatives(function, floats):
        wrong = [a for a in sorted(active) if _is_wrong(function, values, operator, {a}, backend)]
        if not wrong and len(active) > 1 and _is_wrong(function, values, operator, active, backend):
            wrong = sorted(active)
        if wrong:
            shown = ", ".join(f"`{name}`" for name in wrong)
            yield f"{_named(function, operator, rule)} is wrong with respect to {shown}"


def _derivatives(
    function: CustomRule, floats: set[str]
) -> Iterator[tuple[Operator, set[str], Callable[..., Any]]]:
    """The rules, the arguments that each is for, and the function that it is."""
    if isinstance(function, Bridge):
        yield PULLBACK, floats, function.pullback
        return
    for operator, table in ((PULLBACK, function.pulls), (PUSHFORWARD, function.pushes)):
        for names, rule in table.rules.items():
            active = floats if names is None else floats & names
            if active:
                yield operator, active, rule.compute


def _named(function: CustomRule, operator: Operator, rule: Callable[..., Any]) -> str:
    """What it is called, with the user's line."""
    if function.elementwise:
        return f"the partial derivative of `{function.name}`"
    if line := _line(rule):
        mode = "pullback" if operator is PULLBACK else "pushforward"
        return f"the {mode} rule of `{function.name}` ({line})"
    line = _line(inspect.unwrap(function))
    bridged = "the bridged " if isinstance(function, Bridge) else ""
    return f"the derivative of {bridged}`{function.name}`" + (f" ({line})" if line else "")


def _line(f: object) -> str:
    """``file:line``, if the user wrote it."""
    code = getattr(f, "__code__", None)
    if code is None or in_library(code.co_filename):
        return ""
    return f"{code.co_filename}:{code.co_firstlineno}"


def _is_wrong(
    function: CustomRule, values: tuple[Any, ...], operator: Operator, active: set[str],
    backend: Backend,
) -> bool:  # fmt: skip
    """Whether differences converge to something else, or the rule fails."""
    names = function.signature.parameters
    args = [
        _constants_marked(value) if name in active else Const(value)
        for name, value in zip(names, values, strict=True)
    ]
    f = lambda *values: called(function, function.signature, values)
    options = {"argnums": None, "has_aux": False, "kwargs": None}
    point = subject(f, args, options, backend.first_order())
    reference = reference_at(point, {"": backend})
    if reference is None:
        return False
    outcome = ask(point, operator, backend, "unprepared", holomorphic=False)
    asked = beside(reference, operator, {("", way): outcome for way in WAYS})
    row: Comparison = rows(asked, reference, {"": backend})[-1]
    return bool(row.problem) or not (row.agrees or asked.lost)


def _leaves(value: Any) -> list[Any]:
    return flatten(value)[0]


def _constants_marked(value: Any) -> Any:
    leaves, spec = flatten(value)
    return unflatten(spec, [a if moves(a) else Const(a) for a in leaves])
