"""What a caller asked for, before any argument is known."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from diffface.backends.registry import Backend
from diffface.prep.arguments.signature import Call
from diffface.prep.operator import Operator, Settings
from diffface.prep.plan import Plan
from diffface.prep.plan_cache import plan_for


class Recipe(NamedTuple):
    """An operator on a function, with its options.

    Attributes
    ----------
    operator, wanted : Operator, tuple of int
        What to derive, and which of its parts.
    f : callable
        The user's function.
    settle : callable
        ``settle()(call)`` is the backend for a call, and ``settle()`` that for all calls after it.
    settings : Settings
        Options.
    choose : callable
        What ``settle`` returned at the preparation, or at the first call of a lazy one.
    """

    operator: Operator
    wanted: tuple[int, ...]
    f: Callable[..., Any]
    settle: Callable[[], Callable[[Call], Backend]]
    settings: Settings
    choose: Callable[[Call], Backend] | None = None

    @property
    def name(self) -> str:
        """What the user called."""
        return self.operator.names[self.wanted]

    def plan(self, call: Call) -> tuple[Plan, Sequence[Any], Sequence[Any]]:
        """The plan for a call, with the leaves of its primals and constants."""
        backend = (self.choose or self.settle())(call)
        return plan_for(self.operator, self.wanted, self.f, backend, self.settings, call)
