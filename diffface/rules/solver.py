"""SciPy's solver for initial value problems, and the errors that it ends in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from diffface.backends.errors import InvalidArgumentError, SolverError


@dataclass(frozen=True)
class Solver:
    """How `scipy.integrate.solve_ivp` solves.

    Attributes
    ----------
    rtol, atol : float
        Its tolerances.
    method : str
        Its method.
    """

    rtol: float
    atol: float
    method: str

    def run(
        self, f: Callable[[float, Any], Any], start: float, stop: float, y: Any, sizes: Any,
        **options: Any,
    ) -> Any:  # fmt: skip
        """What `solve_ivp` returns for ``dy/dt = f(t, y)``, with an ``atol`` in units of sizes."""
        from scipy.integrate import solve_ivp

        reached = start

        def noted(at: float, y: Any) -> Any:
            nonlocal reached
            reached = at
            return f(at, y)

        try:
            found = solve_ivp(
                noted, (start, stop), y, self.method,
                rtol=self.rtol, atol=self.atol * sizes, **options,
            )  # fmt: skip
        except ValueError as error:
            if "infs or NaNs" not in str(error):
                raise
            _give_up(start, stop, reached, "a slope is not finite")
        if not found.success:
            _give_up(start, stop, reached, found.message)
        if not np.all(np.isfinite(found.y)):
            _give_up(start, stop, reached, "the solution is not finite")
        return found


def _give_up(start: float, stop: float, reached: float, why: str) -> NoReturn:
    raise SolverError(
        f"The differential equation could not be solved from t = {start:g} to t = {stop:g}; the "
        f"solver gave up near t = {reached:g}: {why.rstrip('.')}."
    )


def check_times(t: Any) -> None:
    """Refuse times that are not in order."""
    steps = np.diff(t)
    if not np.all(np.isfinite(t)) or not (np.all(steps > 0) or np.all(steps < 0)):
        raise InvalidArgumentError(
            f"The times `t` must be finite and strictly increasing or decreasing, got {t}."
        )
