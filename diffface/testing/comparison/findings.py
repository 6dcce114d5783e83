"""All that a comparison has in hand when it looks for reasons."""

from collections.abc import Mapping
from dataclasses import dataclass

from diffface.backends.registry import Backend
from diffface.testing.comparison.agreement import Asked
from diffface.testing.comparison.outcome import WAYS
from diffface.testing.comparison.reference import Reference
from diffface.testing.comparison.report import DIFFERENCES, Row
from diffface.testing.comparison.subject import Arrays, Subject


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
    rows : tuple of Row
        The verdicts.
    holomorphic : bool
        Whether complex derivatives were asked for.
    """

    reference: Reference
    backends: Mapping[str, Backend]
    asked: Mapping[str, Asked]
    rows: tuple[Row, ...]
    holomorphic: bool

    @property
    def subject(self) -> Subject:
        """The function and the point."""
        return self.reference.subject

    def running(self) -> list[str]:
        """The backends that can evaluate the function."""
        return [r.backend for r in self.rows if r.operator == "value" and not r.problem]

    def disagreeing(self) -> list[Row]:
        """The rows with results that disagree."""
        return [row for row in self.rows if not row.agrees and row.backend != DIFFERENCES]

    def results(self, row: Row) -> list[Arrays]:
        """The results behind a row."""
        answers = [self.asked[row.operator].answers[row.backend, way].leaves for way in WAYS]
        return [leaves for leaves in answers if leaves is not None]
