"""What a caller asked for, before any argument is known."""

from collections.abc import Callable
from typing import Any, NamedTuple

from diffface.backends._errors import UnsupportedOperatorError
from diffface.backends._registry import Backend
from diffface.prep._derivation import Derivation
from diffface.prep._differentiable import check_differentiable
from diffface.prep._layout import Call, lay_out
from diffface.prep._operator import Operator, Settings


class Recipe(NamedTuple):
    """An operator on a function, with its options.

    Attributes
    ----------
    operator, wanted : Operator, tuple of int
        What to derive, and which of its parts.
    f : callable
        The user's function.
    choose : callable
        The backend for a call.
    settings : Settings
        Options.
    """

    operator: Operator
    wanted: tuple[int, ...]
    f: Callable[..., Any]
    choose: Callable[[Call], Backend]
    settings: Settings

    @property
    def name(self) -> str:
        """What the user called."""
        return self.operator.names[self.wanted]

    def derivation(self, call: Call) -> tuple[Derivation, list[Any], list[Any]]:
        """The derivation for a call, with the leaves of its primals and constants."""
        backend = self.choose(call)
        outer = inner = backend.first_order()
        if self.operator.order == 2:
            outer, inner = backend.second_order()
        self._check_mode(outer)
        layout, primals, constants = lay_out(call, inner)
        check_differentiable(
            layout, self.f, self.operator, self.name, self.settings.holomorphic, inner
        )
        derivation = Derivation(
            self.operator, self.wanted, self.f, layout, inner, outer, self.settings
        )
        return derivation, primals, constants

    def _check_mode(self, adapter: Any) -> None:
        mode = self.settings.mode
        if mode != "auto" and not getattr(adapter, mode):
            other = "forward" if adapter.forward else "reverse"
            raise UnsupportedOperatorError(
                f"{adapter!r} has no {mode} mode; use mode={other!r} or mode='auto', "
                "or a backend that has both."
            )
