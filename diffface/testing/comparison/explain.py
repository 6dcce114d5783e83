"""From rows that disagree to reasons: probe after probe, until none is left unexplained."""

from collections.abc import Iterator, Sequence

from diffface.testing.comparison.findings import Evidence
from diffface.testing.comparison.report import Comparison, Finding, able_to_differentiate
from diffface.testing.comparison.shape_of_f import (
    jumps,
    kinks,
    not_finite,
    not_holomorphic,
    random,
)
from diffface.testing.comparison.shape_of_results import (
    conjugates,
    frozen,
    nans,
    precision,
    rules,
    steps,
)

# Of the function: what they find holds for every backend. Of results: asked in this order.
OF_FUNCTION = (random, not_finite, jumps, kinks, not_holomorphic)
OF_RESULTS = (nans, precision, conjugates, frozen, steps, rules)


def explain(evidence: Evidence) -> Iterator[Finding]:
    """Reasons for what disagrees, and what to know although it agrees."""
    yield from no_result(evidence.rows)
    yield from branches(evidence)
    if not evidence.running():
        return
    rest: list[Comparison] = evidence.disagreeing()
    for probe in OF_FUNCTION:
        for finding in probe(evidence):
            yield finding
            if finding.kind != "kink":
                return
            # Whatever is NaN there is worth a word, too.
            rest = []
    for explainer in OF_RESULTS:
        for finding in explainer(evidence, rest):
            yield finding
            rest = [row for row in rest if row.backend not in finding.backends]
    if rest:
        names = tuple(dict.fromkeys(row.backend for row in rest))
        what = ", ".join(dict.fromkeys(row.operator for row in rest))
        yield Finding("unexplained", f"no probe tells why {what} disagree.", names)
    lost = [name for name, asked in evidence.asked.items() if asked.lost]
    if lost and not evidence.disagreeing():
        yield Finding(
            "unexplained",
            f"differences of `f` do not converge, so that {', '.join(lost)} cannot be confirmed.",
        )


def no_result(rows: Sequence[Comparison]) -> Iterator[Finding]:
    """Errors, each once, with the backends and operators that they came from."""
    able = able_to_differentiate(rows)
    others = f", which runs on {', '.join(able)}" if able else ""
    # By backend and problem, what cannot be done.
    problems: dict[tuple[str, str], list[str]] = {}
    unable: set[str] = set()
    for row in rows:
        if row.problem and row.backend not in unable:
            first_line = row.problem.splitlines()[0]
            what = row.operator
            if row.backend not in able:
                unable.add(row.backend)
                what = f"{'run' if row.operator == 'value' else 'differentiate'} this function"
            problems.setdefault((row.backend, first_line), []).append(what)
    found: dict[tuple[str, str], list[str]] = {}
    for (backend, problem), things in problems.items():
        what = things[0] + others if backend in unable else f"do {', '.join(things)}"
        found.setdefault((what, problem), []).append(backend)
    for (what, problem), backends in found.items():
        yield Finding("no result", f"cannot {what}: {problem}", tuple(backends))


def branches(evidence: Evidence) -> Iterator[Finding]:
    """Functions that a preparation could not record."""
    slow: dict[str, str] = {}
    able = able_to_differentiate(evidence.rows)
    for asked in evidence.asked.values():
        for (backend, _), outcome in asked.answers.items():
            if outcome.slow and backend in able:
                slow.setdefault(backend, outcome.slow)
    if slow:
        yield Finding("branch", next(iter(slow.values())), tuple(slow))
