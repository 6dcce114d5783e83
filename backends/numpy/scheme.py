"""A scheme of finite differences: its stencil, and how far it moves in which precision."""

from functools import lru_cache

from diffface.backends.compiled import Arrays
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.numpy.options import Vector
from diffface.backends.numpy.richardson import FIRST_STEP
from diffface.backends.numpy.stencil import STENCILS
from diffface.backends.numpy.steps import Steps

# The truncation error, relative to the derivative, of a function that varies over the size of the
# smallest of several coordinates that move at once; they are taken apart where it would be more.
_TRUNCATION = 1e-6


class Scheme:
    """What the options of finite differences say of stencil and steps.

    Attributes
    ----------
    stencil : Stencil
        That of the scheme; of Richardson's, the one whose differences are extrapolated.
    extrapolated : bool
        Whether it is Richardson's.
    fixed : bool
        Whether steps are the same in every precision.
    """

    def __init__(self, name: str, step: float | Vector | None, stacked: int) -> None:
        self.extrapolated = name == "richardson"
        self.stencil = STENCILS["central" if self.extrapolated else name]
        self.fixed = step is not None or self.extrapolated
        self._step = step
        self._stacked = stacked
        self._steps: dict[float, Steps] = {}

    def steps(self, x: Arrays, precision: float) -> Steps:
        """How far to move from ``x`` where values have this precision.

        Raises
        ------
        InvalidArgumentError
            If the user's steps are not one for each coordinate.
        """
        if isinstance(self._step, Vector):
            count = sum(a.size for a in x)
            if len(self._step.array) != count:
                raise InvalidArgumentError(
                    f"`step` must have one number for each of the {count} coordinates of the "
                    f"active arguments, got {len(self._step.array)}."
                )
        found = self._steps.get(precision)
        if found is None:
            found = self._steps[precision] = self._steps_for(precision)
        return found

    def _steps_for(self, precision: float) -> Steps:
        given = self._step.array if isinstance(self._step, Vector) else self._step
        order = self.stencil.order
        if given is not None:
            relative = given if isinstance(given, float) else float(given.min())
        elif self.extrapolated:
            relative = FIRST_STEP
        else:
            relative = self.stencil.relative_step(precision, self._stacked)
        limit = 8.0 if self.extrapolated else _TRUNCATION ** (1 / order)
        # Values that are differences themselves have lost the digits that those lose.
        level = precision / relative if self._stacked > 1 else precision
        return Steps(relative, given, limit, level)


@lru_cache(maxsize=64)
def scheme_of(name: str, step: float | Vector | None, stacked: int) -> Scheme:
    """The scheme of these options; always the same one."""
    return Scheme(name, step, stacked)
