"""Which of the registered rules serves a set of active arguments."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# Names of the arguments whose derivative is wanted.
Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Derivative:
    """One rule, as the user wrote it.

    Attributes
    ----------
    compute : callable
        The user's function.
    black_box : bool
        Whether it is NumPy code, to be run on the host.
    takes_value : bool
        Whether it is a pushforward that also takes the result, before the arguments.
    """

    compute: Callable[..., Any]
    black_box: bool
    takes_value: bool = False


@dataclass(slots=True)
class Table:
    """The rules of one mode, by the set of arguments that they are for; None is for any."""

    rules: dict[Names | None, Derivative] = field(default_factory=dict)

    @property
    def on_host(self) -> bool:
        """Whether some rule is NumPy code."""
        return any(rule.black_box for rule in self.rules.values())

    def pick(self, active: Names) -> Derivative | None:
        """The rule of the smallest registered set that contains ``active``, else the general."""
        fitting = [names for names in self.rules if names is not None and active <= names]
        if fitting:
            return self.rules[min(fitting, key=len)]
        return self.rules.get(None)
