"""What backends cannot do: the one table of expected failures, each with its reason."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from diffface.backends.errors import NotDifferentiableError, UnsupportedOperatorError


@dataclass(frozen=True)
class Limit:
    """Cases that must fail, and how.

    Parameters
    ----------
    reason : str
        Why the backend cannot do it.
    raises : type of exception, or tuple of them
        What it must raise, exactly; an AssertionError stands for a result that is too inaccurate.
    scenario, operator : str
        Patterns of names, with ``*`` for anything.
    """

    reason: str
    raises: type[BaseException] | tuple[type[BaseException], ...]
    scenario: str = "*"
    operator: str = "*"

    def covers(self, scenario: str, operator: str) -> bool:
        """Whether a case falls under it."""
        return fnmatchcase(scenario, self.scenario) and fnmatchcase(operator, self.operator)


LIMITS: dict[str, tuple[Limit, ...]] = {
    "complex-step": (
        Limit(
            "the imaginary part of the argument is taken: it carries the step",
            UnsupportedOperatorError,
            scenario="complex argument*",
        ),
        Limit(
            "conj and real are not analytic",
            NotDifferentiableError,
            scenario="not analytic*",
        ),
    ),
}


def known_limits(backend: object) -> tuple[Limit, ...]:
    """The limits of one of diffface's own backends; none of any other."""
    return LIMITS.get(backend, ()) if isinstance(backend, str) else ()
