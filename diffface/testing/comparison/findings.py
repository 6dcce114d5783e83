"""Findings about results that disagree: their evidence, and the operations that make NaN."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.recording.user_frame import line_of_call
from diffface.backends.registry import Backend
from diffface.prep.arguments.const import plain
from diffface.testing.comparison.agreement import Asked
from diffface.testing.comparison.reference import Reference
from diffface.testing.comparison.report import DIFFERENCES, WAYS, Comparison
from diffface.testing.comparison.subject import Arrays, Direction, Subject


@dataclass(frozen=True, eq=False)
class Evidence:
    """Answers, differences and verdicts.

    Attributes
    ----------
    reference : Reference
        The differences.
    backends : mapping of str to backend object
        Who was asked.
    asked : mapping of str to Asked
        By operator.
    rows : tuple of Comparison
        The verdicts.
    holomorphic : bool
        Whether complex derivatives were asked for.
    """

    reference: Reference
    backends: Mapping[str, Backend]
    asked: Mapping[str, Asked]
    rows: tuple[Comparison, ...]
    holomorphic: bool

    @property
    def subject(self) -> Subject:
        """The function and the point."""
        return self.reference.subject

    def running(self) -> list[str]:
        """The backends that can evaluate the function."""
        return [r.backend for r in self.rows if r.operator == "value" and not r.problem]

    def disagreeing(self) -> list[Comparison]:
        """The rows with results that disagree."""
        return [row for row in self.rows if not row.agrees and row.backend != DIFFERENCES]

    def results(self, row: Comparison) -> list[Arrays]:
        """The results behind a row."""
        answers = [self.asked[row.operator].answers[row.backend, way].leaves for way in WAYS]
        return [leaves for leaves in answers if leaves is not None]


class WhereCall(NamedTuple):
    """One call of ``where``: condition, both branches, and the user's line."""

    condition: Any
    branches: tuple[Any, Any]
    line: str


# Distances at which the dropped branch is looked at; a slope that grows without end over these is
# infinite in the limit.
DISTANCES = (2.0**-12, 2.0**-24, 2.0**-36)


class Watched(np.ndarray[Any, Any]):
    """An array that remembers what goes through ``numpy.where``."""

    seen: list[WhereCall]

    def __array_finalize__(self, source: Any) -> None:
        self.seen = getattr(source, "seen", [])

    def __array_function__(
        self, func: Any, types: Any, args: Iterable[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        given = tuple(args)
        if func is np.where and len(given) == 3:
            condition, a, b = map(np.array, given)
            line = line_of_call(skipped=2)
            self.seen.append(WhereCall(condition, (a, b), f", at {line}" if line else ""))
        return super().__array_function__(func, types, given, kwargs)


def dropped(subject: Subject, direction: Direction) -> str:
    """Where a branch that is not selected has an infinite value or slope; empty if nowhere.

    Parameters
    ----------
    subject : Subject
        The function, which must take NumPy arrays, and the point.
    direction : Direction
        Along which the slopes of the branches are taken.
    """
    here = _calls(subject, direction, 0.0)
    for k, (condition, branches, line) in enumerate(here):
        for side, unselected in enumerate((~condition, condition)):
            if np.any(unselected & ~np.isfinite(branches[side])):
                return f"the value of the branch that `where` does not take is not finite{line}"
            slopes = [_slope(subject, direction, s, here, (k, side), unselected) for s in DISTANCES]
            if _grows(slopes):
                return f"the slope of the branch that `where` does not take is infinite{line}"
    return ""


def _slope(
    subject: Subject, direction: Direction, s: float, here: list[WhereCall], place: tuple[int, int],
    unselected: Any,
) -> float:  # fmt: skip
    """Largest slope of the unselected entries of a branch, between the point and ``s`` away."""
    k, side = place
    largest = 0.0
    for there in (_calls(subject, direction, s), _calls(subject, direction, -s)):
        if len(there) == len(here):
            slopes = np.abs(there[k].branches[side] - here[k].branches[side]) / s
            slopes = np.where(np.isfinite(slopes), slopes, np.inf)
            largest = max(largest, float(np.max(np.where(unselected, slopes, 0.0), initial=0.0)))
    return largest


def _grows(slopes: list[float]) -> bool:
    return slopes[-1] == np.inf or 0 < slopes[0] * 16 < slopes[1] * 4 < slopes[2]


def _calls(subject: Subject, direction: Direction, s: float) -> list[WhereCall]:
    seen: list[WhereCall] = []
    moved = []
    for a, d in zip(subject.fine(), direction.dx, strict=True):
        array = np.asarray(a + s * direction.scale * d).view(Watched)
        array.seen = seen
        moved.append(array)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject.f(*plain(subject.moved(tuple(moved))), **(subject.options["kwargs"] or {}))
    return seen
