"""Report of a comparison: outcomes of backends, rows of numbers, and findings."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from json import dumps
from math import isfinite
from typing import Any

import diffface
from diffface.backends.errors import DifffaceError, PreparationWarning
from diffface.backends.recording.user_frame import users_line
from diffface.backends.registry import Backend
from diffface.operators.call import prepare_value, value
from diffface.operators.listing import main_name
from diffface.prep.arguments.const import plain
from diffface.prep.operator import Operator, Part, Seeds
from diffface.testing.comparison.subject import Arrays, Subject, cotangents, numbers, tangents
from diffface.testing.text_table import Table

# Stands for a backend in rows.
DIFFERENCES = "differences"


@dataclass(frozen=True)
class Comparison:
    """One backend and one operator.

    Attributes
    ----------
    backend, operator : str
        Who was asked for what; the backend ``"differences"`` stands for the extrapolated
        differences that the others are compared with.
    unprepared, prepared : float or None
        Maximal difference from them and from the other backends, relative to the largest number;
        for ``"differences"``, their own estimated error. None where there is no result.
    tolerance : float
        How large these may be.
    agrees : bool
        Whether they are not larger, as far as the differences can tell.
    problem : str
        The error, where there is no result.
    """

    backend: str
    operator: str
    unprepared: float | None
    prepared: float | None
    tolerance: float
    agrees: bool
    problem: str = ""

    @property
    def verdict(self) -> str:
        """In one word or two."""
        if self.problem:
            return "no result"
        if self.backend == DIFFERENCES:
            return "converged" if self.agrees else "NO LIMIT"
        return "agrees" if self.agrees else "DISAGREES"


@dataclass(frozen=True)
class Finding:
    """Why results disagree, or what to know although they agree.

    Attributes
    ----------
    kind : str
        Of the function: ``"random"``, ``"nan"``, ``"edge"``, ``"jump"``, ``"kink"``,
        ``"not holomorphic"``, ``"branch"``. Of results: ``"nan"``, ``"float32"``, ``"float16"``,
        ``"conjugate"``, ``"frozen"``, ``"step"``, ``"value"``, ``"rule"``, ``"no result"``,
        ``"unexplained"``.
    text : str
        One sentence or two, with what was measured.
    backends : tuple of str
        Whom it is about; empty for the function itself.
    """

    kind: str
    text: str
    backends: tuple[str, ...] = ()

    def __str__(self) -> str:
        who = f" ({', '.join(self.backends)})" if self.backends else ""
        return f"{self.kind}{who}: {self.text}"


@dataclass(frozen=True, repr=False)
class Report:
    """What :func:`diffface.testing.check` found; a prompt and ``print`` show it as a table.

    Attributes
    ----------
    name : str
        The function.
    rows : tuple of Comparison
        One for each backend and operator.
    findings : tuple of Finding
        Reasons for disagreements, and remarks.
    required : tuple of str
        Backends that were named by the caller, and so must have a result.
    """

    name: str
    rows: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    required: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all results agree, with each other and with differences.

        A backend that cannot run the function counts only if it was named. There must be a result.
        """
        return not self.wrong and bool(able_to_differentiate(self.rows))

    @property
    def wrong(self) -> tuple[Comparison, ...]:
        """The rows that keep it from being ok."""
        return tuple(
            row for row in self.rows
            if (row.backend in self.required if row.problem else not row.agrees)
        )  # fmt: skip

    def table(self, only_wrong: bool = False) -> Table:
        """The rows, in text: all, or those that keep it from being ok."""
        rows = self.wrong if only_wrong else self.rows
        cells = [
            (row.backend, row.operator, _shown(row.unprepared), _shown(row.prepared),
             "-" if row.problem else f"{row.tolerance:.0e}", row.verdict)
            for row in rows
        ]  # fmt: skip
        head = ("backend", "operator", "unprepared", "prepared", "allowed", "verdict")
        marked = frozenset(i for i, row in enumerate(rows) if row in self.wrong)
        title = f"Derivatives of {self.name}: maximal relative errors"
        return Table(head, cells, title, marked, frozenset({2, 3, 4}))

    def json(self) -> str:
        """Everything, for programs: ``name``, ``ok``, ``rows`` and ``findings``.

        Numbers that JSON does not know are strings, ``"inf"`` and ``"nan"``.
        """
        rows = [asdict(row) | {"verdict": row.verdict} for row in self.rows]
        for row in rows:
            for name, cell in row.items():
                if isinstance(cell, float) and not isfinite(cell):
                    row[name] = str(cell)
        found = {"name": self.name, "ok": self.ok, "rows": rows}
        return dumps({**found, "findings": list(map(asdict, self.findings))}, indent=2)

    def conclusion(self) -> str:
        """What it comes to, and why, below the table."""
        names = ", ".join(able_to_differentiate(self.rows))
        if self.ok:
            first = f"All agree: {names}." if "," in names else f"{names} agrees with differences."
        elif names:
            first = f"{len(self.wrong)} of {len(self.rows)} rows are wrong."
        else:
            first = "There is no result."
        return "\n".join([first, *(f"- {finding}" for finding in self.findings)])

    def __str__(self) -> str:
        return f"{self.table()}\n\n{self.conclusion()}"

    __repr__ = __str__


def able_to_differentiate(rows: Sequence[Comparison]) -> tuple[str, ...]:
    """The backends that have a derivative to show, in order."""
    found = (row.backend for row in rows if row.operator != "value" and not row.problem)
    return tuple(name for name in dict.fromkeys(found) if name != DIFFERENCES)


def _shown(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


WAYS = ("unprepared", "prepared")


@dataclass(frozen=True, eq=False)
class Outcome:
    """An answer, or why there is none.

    Attributes
    ----------
    leaves : tuple of arrays or None
        The result, flat.
    problem : str
        The error, if there is none.
    slow : str
        Why a prepared call runs eagerly; empty if it does not.
    """

    leaves: Arrays | None
    problem: str = ""
    slow: str = ""


def name_of(operator: Operator) -> str:
    """What users call an operator."""
    return "value" if operator.parts == (Part.VALUE,) else main_name(operator)


def ask(
    subject: Subject, operator: Operator, backend: Backend, way: str, holomorphic: bool
) -> Outcome:
    """Ask once; errors become words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = _call(subject, operator, backend, way, holomorphic)
            found = result[0] if subject.options["has_aux"] else result
            leaves = numbers(found)
        # Whatever a framework raises is the answer; so is a function that ends the program.
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the same
            return Outcome(None, _described(error))
    slow = [str(w.message) for w in caught if issubclass(w.category, PreparationWarning)]
    return Outcome(leaves, slow=slow[0] if slow else "")


def _described(error: BaseException) -> str:
    """An error in words, with the line of the user's function, which our own errors name."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, DifffaceError):
        return text
    first, *rest = text.splitlines()
    return "\n".join([first + users_line(error), *rest])


def _call(
    subject: Subject, operator: Operator, backend: Backend, way: str, holomorphic: bool
) -> Any:
    name, options = name_of(operator), {**subject.options, "backend": backend}
    if holomorphic and "holomorphic" in operator.keywords:
        options["holomorphic"] = True
    seeds: dict[str, Any] = {}
    if operator.seeds is Seeds.TANGENTS:
        seeds = {"tangents": tangents(subject)}
    elif operator.seeds is Seeds.COTANGENTS:
        seeds = {"cotangents": cotangents(subject, backend)}
    f, args = subject.f, subject.args
    if way == "unprepared":
        function = value if name == "value" else getattr(diffface, name)
        return function(f, *args, **seeds, **options)
    prepare = prepare_value if name == "value" else getattr(diffface, f"prepare_{name}")
    try:
        prepared = prepare(f, *subject.perturbed(), **options)
    except Exception:  # noqa: BLE001 - f need not be defined there
        prepared = prepare(f, *args, **options)
    return prepared(*plain(args), **seeds)
