"""Probes of results that disagree: NaN, few digits, conjugates, steps, rules."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from diffface.backends.numpy.finite_differences import FiniteDifferences
from diffface.testing.comparison.agreement import judged
from diffface.testing.comparison.findings import Evidence, dropped
from diffface.testing.comparison.report import Comparison, Finding, ask
from diffface.testing.comparison.slopes import noise
from diffface.testing.comparison.subject import Arrays
from diffface.testing.comparison.wrong_rules import wrong_rules

# Rounding errors of f, relative to f, from which on it is not computed in double precision; and
# those from which on not even in single precision.
SINGLE, HALF = 1e-11, 3e-6
# Relative steps of finite differences that are tried where the default one does not do.
STEPS = tuple(10.0**-k for k in range(1, 13))

Rows = Sequence[Comparison]


def nans(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Results that are not finite where differences are."""
    backends = _those(rows, lambda row: not _is_finite(evidence.results(row)))
    limits = evidence.reference.slope(0).value
    if not backends or not all(np.all(np.isfinite(a)) for a in (*evidence.reference.y, *limits)):
        return
    reason = ""
    try:
        for direction in evidence.reference.directions:
            reason = reason or dropped(evidence.subject, direction)
    except Exception:  # noqa: BLE001 - the function may take other arrays than NumPy's only
        reason = ""
    text = (
        f"{reason}; its derivative is multiplied by zero, and 0 * inf is NaN. Give that branch a "
        "harmless argument: where(c, g(where(c, x, 1)), 0)"
        if reason
        else "something that does not show in the value has an infinite derivative, and 0 * inf is "
        "NaN: look for the branch that a `where` does not take, or for a power, root or norm at 0"
    )
    yield Finding(
        "nan", f"`f` and its differences are finite, but derivatives are not: {text}.", backends
    )


def precision(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Few digits, because ``f`` or its arguments are not in double precision."""
    subject, reference = evidence.subject, evidence.reference
    direction = reference.directions[0]
    found: dict[str, float] = {}
    for name in _those(rows, lambda row: True):
        if name in evidence.running():
            line = subject.line(evidence.backends[name], direction, reference.fine)
            found[name] = noise(line)
    single = tuple(name for name, size in found.items() if size > SINGLE)
    if single:
        largest = max(found.values())
        kind = "float32" if largest < HALF else "float16"
        yield Finding(
            kind,
            f"the values of `f` have rounding errors of {largest:.0e} relative to them, those of "
            f"{kind}"
            + (", though its arguments are in double precision: it casts them, or creates arrays "
               f"of {kind}." if reference.fine else "."),
            single,
        )  # fmt: skip
    elif subject.dtype.itemsize < 8:
        backends = _those(rows, lambda row: _error(row) < 1000 * row.tolerance)
        if backends:
            yield Finding(
                subject.dtype.name,
                f"the arguments are {subject.dtype.name}; the function itself is as accurate as "
                "they come, so the digits are lost where derivatives are computed. Pass float64.",
                backends,
            )


def conjugates(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Results whose complex conjugates agree."""

    def is_conjugate(row: Comparison) -> bool:
        asked = evidence.asked[row.operator]
        results = [tuple(map(np.conj, leaves)) for leaves in evidence.results(row)]
        complex_ones = any(a.dtype.kind == "c" for leaves in results for a in leaves)
        fit = [judged(asked, evidence.reference, a)[1] <= row.tolerance for a in results]
        return complex_ones and not asked.lost and any(fit)

    backends = _those(rows, is_conjugate)
    if backends:
        yield Finding(
            "conjugate",
            "the complex conjugate of the result agrees: a derivative rule within `f` follows the "
            "other convention. For a real function of a + ib, the gradient is df/da + i df/db.",
            backends,
        )


def steps(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Finite differences that would agree with another step."""
    for name in _those(rows, lambda row: True):
        backend = evidence.backends[name]
        if not isinstance(backend, FiniteDifferences):
            continue
        row = next(row for row in rows if row.backend == name)
        asked = evidence.asked[row.operator]
        for step in STEPS:
            other = replace(backend, step=step)
            outcome = ask(
                evidence.subject, asked.operator, other, "unprepared", evidence.holomorphic
            )
            if outcome.leaves is None or asked.lost:
                continue
            error, excess = judged(asked, evidence.reference, outcome.leaves)
            if excess <= row.tolerance:
                yield Finding(
                    "step",
                    f"with step={step:.0e} the {row.operator} is right to {error:.0e}: the default "
                    "step does not suit this function at this point. Scale its arguments, or pass "
                    f"FiniteDifferences(step={step:.0e}).",
                    (name,),
                )
                break


def frozen(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Prepared results that disagree where unprepared ones agree."""

    def is_frozen(row: Comparison) -> bool:
        first, second = row.unprepared, row.prepared
        if first is None or second is None:
            return False
        return first <= row.tolerance < second

    backends = _those(rows, is_frozen)
    if backends:
        names = ", ".join(dict.fromkeys(row.operator for row in rows if is_frozen(row)))
        yield Finding(
            "frozen",
            f"the prepared {names} disagrees where the unprepared one agrees: a preparation "
            "freezes what `f` captures and what Python decides. Pass what changes as an argument.",
            backends,
        )


def rules(evidence: Evidence, rows: Rows) -> Iterator[Finding]:
    """Derivatives that are not those of a value that is right."""
    values = {row.backend: row for row in evidence.rows if row.operator == "value"}
    other = _those(rows, lambda row: not values[row.backend].agrees)
    if other:
        sizes = ", ".join(f"{name} by {_error(values[name]):.1e}" for name in other)
        yield Finding(
            "value", f"the value of `f` itself is another one here ({sizes}): `f` does not do the "
            "same on these arrays.", other,
        )  # fmt: skip
    wrong = _those(
        rows, lambda row: values[row.backend].agrees and not evidence.asked[row.operator].lost
    )
    if wrong:
        names = sorted({row.operator for row in rows if row.backend in wrong})
        reason = wrong_rules(evidence, evidence.backends[wrong[0]])
        reason = reason or "look for stop_gradient, detach, or a custom derivative rule"
        yield Finding(
            "rule",
            f"the value of `f` agrees, and differences of it converge, to something else than "
            f"{', '.join(names)}: {reason}.",
            wrong,
        )


def _those(rows: Rows, condition: Callable[[Comparison], bool]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.backend for row in rows if condition(row)))


def _error(row: Comparison) -> float:
    return max(row.unprepared or 0.0, row.prepared or 0.0)


def _is_finite(results: Sequence[Arrays]) -> bool:
    return all(bool(np.all(np.isfinite(a))) for leaves in results for a in leaves)
