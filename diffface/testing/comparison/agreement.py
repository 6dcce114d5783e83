"""How far results are from differences, and from each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffface.backends.registry import Backend
from diffface.prep.operator import Operator
from diffface.testing.comparison.reference import Reference
from diffface.testing.comparison.report import DIFFERENCES, WAYS, Comparison, Outcome, name_of
from diffface.testing.comparison.slopes import Extrapolated
from diffface.testing.comparison.subject import Arrays
from diffface.testing.protocol import adapter_of, agreement, rounding

# A relative error of the differences from which on they tell nothing.
LOST = 1e-2


@dataclass(frozen=True, eq=False)
class Asked:
    """An operator, with the answers of all backends and what differences say.

    Attributes
    ----------
    operator : Operator
        What was asked for.
    answers : mapping of (str, str) to Outcome
        By backend and way.
    limits : list of Extrapolated
        The reference.
    scale, floor : float
        What errors are relative to; and what that is at least, where derivatives are zero.
    lost : bool
        Whether the differences did not converge.
    """

    operator: Operator
    answers: Mapping[tuple[str, str], Outcome]
    limits: Sequence[Extrapolated]
    scale: float
    floor: float
    lost: bool

    @property
    def name(self) -> str:
        """What users call the operator."""
        return name_of(self.operator)

    def error(self, numbers: Sequence[Arrays]) -> tuple[float, float]:
        """Largest relative distance from the reference, and what is left beyond its own error."""
        largest = error = 0.0
        for found, limit in zip(numbers, self.limits, strict=True):
            for a, b, e in zip(found, limit.value, limit.error, strict=True):
                largest = max(largest, float(np.max(distance(a, b), initial=0.0)))
                error = max(error, float(np.max(e, initial=0.0)))
        # Errors of a limit are small by chance now and then, but not those of all.
        return largest / self.scale, max(largest - 10 * error, 0.0) / self.scale


def beside(
    reference: Reference, operator: Operator, answers: Mapping[tuple[str, str], Outcome]
) -> Asked:
    """Put answers beside the reference."""
    limits = reference.limits(operator)
    largest = max((_size(a) for limit in limits for a in limit.value), default=0.0)
    epsilon = float(np.finfo(reference.subject.dtype).eps)
    # Rounding errors are relative to f, also where its derivative is zero.
    floor = 100 * epsilon * reference.typical / rounding(reference.subject.dtype)
    scale = max(largest, floor) or 1.0
    errors = [float(np.max(e, initial=0.0)) for limit in limits for e in limit.error]
    lost = not max(errors, default=0.0) <= LOST * scale
    return Asked(operator, answers, limits, scale, floor, lost)


def rows(
    asked: Asked, reference: Reference, backends: Mapping[str, Backend], rtol: float | None = None
) -> list[Comparison]:
    """One for the differences, and one for each backend; ``rtol`` if it is not as usual."""
    dtype, operator = reference.subject.dtype, asked.operator
    found = []
    if operator.parts[1:]:
        own = max((_size(e) for limit in asked.limits for e in limit.error), default=0.0)
        own = float("inf") if asked.lost else own / asked.scale
        found = [Comparison(DIFFERENCES, asked.name, own, None, LOST, not asked.lost)]
    order = operator.order if operator.parts[1:] else 0
    pivot = _pivot(asked, reference, backends, rounding(dtype))
    for name, backend in backends.items():
        tolerance = agreement(backend, order, dtype) if rtol is None else rtol
        found.append(_row(asked, reference, name, tolerance, pivot))
    return found


def _row(
    asked: Asked, reference: Reference, name: str, tolerance: float, pivot: Arrays | None
) -> Comparison:
    outcomes = [asked.answers[name, way] for way in WAYS]
    errors: list[float | None] = []
    agrees = True
    for leaves in (outcome.leaves for outcome in outcomes):
        if leaves is None:
            errors.append(None)
            continue
        error, excess = judged(asked, reference, leaves)
        spread = _spread(asked, leaves, pivot)
        errors.append(max(error, spread))
        agrees = agrees and max(excess, spread) <= tolerance
    problem = next((outcome.problem for outcome in outcomes if outcome.problem), "")
    return Comparison(name, asked.name, errors[0], errors[1], tolerance, agrees, problem)


def distance(a: Any, b: Any) -> Any:
    """``abs(a - b)``; zero where both are the same infinity or NaN, infinite where one is."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(np.asarray(a) - b)
    same = (np.asarray(a) == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))


def judged(asked: Asked, reference: Reference, leaves: Arrays) -> tuple[float, float]:
    """The error of a result against the differences, and what is left beyond theirs."""
    if asked.lost or sum(map(np.size, leaves)) == 0:
        return 0.0, 0.0
    return asked.error(reference.reduced(asked.operator, leaves))


def _pivot(
    asked: Asked, reference: Reference, backends: Mapping[str, Backend], tolerance: float
) -> Arrays | None:
    """The result that the others are compared with: one that most exact results agree with.

    It must agree with the differences, where they tell anything.
    """
    order = asked.operator.order
    candidates = [
        outcome.leaves
        for (name, _), outcome in asked.answers.items()
        if outcome.leaves is not None and not adapter_of(backends[name], order).black_box
    ]
    if not asked.lost:
        candidates = [a for a in candidates if judged(asked, reference, a)[1] <= tolerance]
    votes = [sum(_spread(asked, a, b) <= tolerance for b in candidates) for a in candidates]
    return candidates[int(np.argmax(votes))] if votes else None


def _spread(asked: Asked, leaves: Arrays, pivot: Arrays | None) -> float:
    if pivot is None:
        return 0.0
    if [a.shape for a in leaves] != [a.shape for a in pivot]:
        return float("inf")
    scale = max(asked.floor, *map(_size, pivot), *map(_size, leaves)) or 1.0
    apart = (distance(a, b) for a, b in zip(leaves, pivot, strict=True))
    return max((float(np.max(d, initial=0.0)) for d in apart), default=0.0) / scale


def _size(a: Any) -> float:
    sizes = np.abs(np.asarray(a)).ravel()
    return float(np.max(sizes[np.isfinite(sizes)], initial=0.0))
