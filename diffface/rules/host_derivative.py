"""A derivative that is NumPy code, as an operation of the host that has no derivative itself."""

from collections.abc import Callable, Sequence
from typing import NoReturn

from diffface.backends.compiled import Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.rule import Active, Output, Rule


class HostDerivative(Rule):
    """``compute`` on NumPy arrays; its results look as ``like`` says.

    Parameters
    ----------
    name : str
        What messages call it.
    compute : callable
        NumPy arrays to NumPy arrays.
    like : callable
        What the results for arguments, of any library, look like.
    """

    host = True

    def __init__(
        self,
        name: str,
        compute: Callable[[Arrays], Arrays],
        like: Callable[[Arrays], Sequence[Output]],
    ) -> None:
        self.name = name
        self._compute = compute
        self._like = like

    def evaluate(self, x: Arrays) -> Arrays:
        return self._compute(x)

    def outputs(self, x: Arrays) -> Sequence[Output]:
        return self._like(x)

    def save(self, active: Active, y: Arrays, x: Arrays) -> NoReturn:
        self._refuse()

    def puller(self, active: Active) -> NoReturn:
        self._refuse()

    def pusher(self, active: Active) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotDifferentiableError(
            f"{self.name} is NumPy code and has no derivative of its own, which a second "
            "derivative needs; write it with `xp = diffface.namespace(...)` and without "
            "black_box=True, or take finite differences of first derivatives: "
            'backend=diffface.SecondOrder("numpy", ...).'
        )
