"""What a backend answers when it is asked for an operator, unprepared and prepared."""

import warnings
from dataclasses import dataclass
from typing import Any

import diffface
from diffface.backends.errors import PreparationWarning
from diffface.backends.registry import Backend
from diffface.operators.listing import main_name
from diffface.operators.value import prepare_value, value
from diffface.prep.arguments.const import plain
from diffface.prep.operator import Operator, Part, Seeds
from diffface.testing.comparison.subject import Arrays, Subject, cotangents, numbers, tangents

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
            leaves = numbers(found, backend.first_order())
        except Exception as error:  # noqa: BLE001 - whatever a framework raises is the answer
            return Outcome(None, f"{type(error).__name__}: {error}")
    slow = [str(w.message) for w in caught if issubclass(w.category, PreparationWarning)]
    return Outcome(leaves, slow=slow[0] if slow else "")


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
    return prepare(f, *args, **options)(*plain(args), **seeds)
