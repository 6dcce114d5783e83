"""Every operator on every backend, beside differences: whether they agree, and if not, why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from diffface.backends.errors import InvalidArgumentError, NotDifferentiableError
from diffface.backends.registry import Backend
from diffface.operators.call import VALUE
from diffface.operators.listing import operators as operators_of
from diffface.prep.operator import Operator
from diffface.testing.case import named
from diffface.testing.comparison.agreement import beside, rows
from diffface.testing.comparison.findings import Evidence
from diffface.testing.comparison.reference import Reference, reference_at
from diffface.testing.comparison.report import (
    WAYS,
    Comparison,
    Finding,
    Report,
    able_to_differentiate,
    ask,
    name_of,
)
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
from diffface.testing.comparison.subject import Subject, subject


def check(
    f: Callable[..., Any],
    /,
    *args: Any,
    backends: Sequence[str | Backend] | None = None,
    operators: Sequence[str] | None = None,
    rtol: float | None = None,
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    kwargs: Mapping[str, Any] | None = None,
    holomorphic: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Compare all derivatives of a function at a point: over backends, and with differences.

    Every operator that applies to the function is asked for, unprepared and prepared, on every
    backend. The results are compared with each other, and with differences of ``f``'s values that
    are extrapolated until their estimated error stops falling. Where something disagrees, probes
    look for the reason: one-sided differences for kinks, values on both sides for jumps, repeated
    evaluation for random functions, the rounding errors of ``f`` for casts to float32, and so on.

    Parameters
    ----------
    f : callable
        The function.
    *args : array, number, or tree of them; Const
        Arguments of ``f``: the point. Those not wrapped in ``Const`` are active.
    backends : sequence of str or backend object, optional
        Whom to compare; they must have results. By default all that are installed, and those that
        cannot run ``f`` are only reported.
    operators : sequence of str, optional
        Compare only these, such as ``["gradient", "hvp"]``, of those that apply.
    rtol : float, optional
        How far results may be apart, relative to the largest number of each. By default what the
        precision of the arguments leaves after long computations, and more for differences.
    argnums, has_aux, kwargs
        As for the operators, see :func:`diffface.gradient`.
    holomorphic : bool, default False
        ``f`` is a holomorphic function of complex arguments: compare its Jacobian and derivative.
    progress : callable, optional
        Is told, in words, what is done next.

    Returns
    -------
    Report
        ``report.ok`` says whether all agree, ``print(report)`` shows numbers and reasons.

    Raises
    ------
    InvalidArgumentError
        If no argument is active, or ``argnums``, ``kwargs``, ``backends``, ``operators`` or
        ``rtol`` make no sense.
    UnknownBackendError, BackendNotAvailableError
        If a backend does not exist, or is not installed.
    NotDifferentiableError
        If ``f`` is not callable.

    Notes
    -----
    Functions of few coordinates (up to 8) are compared with differences along each of them and
    along one direction that moves them all; of many, along 8 coordinates and 4 such directions.
    The backends' results are compared in full.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> from diffface.testing import check
    >>> def f(x):
    ...     return dif.namespace(x).sum(x**3)
    >>> report = check(f, np.array([1.0, 2.0]), backends=["autograd", "numpy"])
    >>> report.ok
    True
    >>> print(report.conclusion())
    All agree: autograd, numpy.
    """
    if not callable(f):
        raise NotDifferentiableError(f"`f` must be callable, got {type(f).__name__}.")
    chosen, wanted = _chosen(backends), _wanted(operators)
    if rtol is not None and not rtol > 0:
        raise InvalidArgumentError(f"`rtol` must be positive, got {rtol!r}.")
    options = {"argnums": argnums, "has_aux": has_aux, "kwargs": kwargs}
    required = tuple(chosen) if backends is not None else ()
    name, say = getattr(f, "__name__", repr(f)), progress or (lambda _: None)
    with np.errstate(all="ignore"):
        say("differences of the values")
        point = subject(f, args, options, next(iter(chosen.values())).first_order())
        reference = reference_at(point, chosen)
        if reference is None:
            values = {n: ask(point, VALUE, b, WAYS[0], holomorphic) for n, b in chosen.items()}
            found = tuple(
                Comparison(n, "value", None, None, 0.0, agrees=False, problem=outcome.problem)
                for n, outcome in values.items()
            )
            return Report(name, found, tuple(no_result(found)), required)
        evidence = _evidence(point, reference, chosen, wanted, rtol, holomorphic, say)
        findings = tuple(explain(evidence))
    return Report(name, evidence.rows, findings, required)


def _chosen(backends: Sequence[str | Backend] | None) -> dict[str, Backend]:
    if backends is not None and (isinstance(backends, str) or not backends):
        raise InvalidArgumentError(
            f"`backends` must be a sequence of names or backend objects, got {backends!r}."
        )
    return named(backends)


def _wanted(names: Sequence[str] | None) -> Sequence[Operator]:
    known = {name_of(operator): operator for operator in operators_of()}
    if names is None:
        return list(known.values())
    if isinstance(names, str) or not names or not known.keys() >= set(names):
        raise InvalidArgumentError(
            f"`operators` must be a sequence of {', '.join(known)}; got {names!r}."
        )
    return [known[name] for name in dict.fromkeys(names)]


def _evidence(
    point: Subject, reference: Reference, backends: Mapping[str, Backend],
    wanted: Sequence[Operator], rtol: float | None, holomorphic: bool, say: Callable[[str], None],
) -> Evidence:  # fmt: skip
    asked = {}
    found: list[Comparison] = []
    for operator in (VALUE, *filter(lambda o: _applies(o, reference, holomorphic), wanted)):
        say(name_of(operator))
        answers = {
            (name, way): ask(point, operator, backend, way, holomorphic)
            for name, backend in backends.items()
            for way in WAYS
        }
        one = beside(reference, operator, answers)
        asked[one.name] = one
        found += rows(one, reference, backends, rtol)
    return Evidence(reference, backends, asked, tuple(found), holomorphic)


def _applies(operator: Operator, reference: Reference, holomorphic: bool) -> bool:
    point = reference.subject
    if operator.scalar and not reference.is_scalar:
        return False
    if operator.scalar_argument and [a.shape for a in point.primals] != [()]:
        return False
    if point.is_complex and not operator.complex_arguments:
        return holomorphic and "holomorphic" in operator.keywords
    return True


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
