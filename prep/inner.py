"""First derivatives, compiled, for another backend to differentiate again."""

from collections.abc import Callable
from typing import Any

from diffface.backends.adapter import Adapter, Function
from diffface.backends.compiled import Array, Arrays, Compiled
from diffface.prep.operator import First


class Inner:
    """The first derivatives that another backend differentiates again, compiled.

    Parameters
    ----------
    adapter : Adapter
        Who computes them.
    flat : callable
        ``flat(constants)`` is the user's function.
    """

    __slots__ = ("_adapter", "_flat", "_known")

    def __init__(self, adapter: Adapter, flat: Callable[[Arrays], Function]) -> None:
        self._adapter = adapter
        self._flat = flat
        # By the signature that the outer backend asks for.
        self._known: dict[Any, tuple[Compiled, int]] = {}

    def function(self, first: First, constants: Arrays) -> Function:
        """``first`` of the user's function, as a function of the primals alone."""

        def run(x: Arrays) -> tuple[Arrays, Arrays]:
            key = tuple([(a.shape, a.dtype) for a in x])
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = self._build(first, x, constants)
            compiled, count = known
            outputs = compiled.run(*x, *constants)
            return outputs[:count], outputs[count:]

        return run

    def _build(self, first: First, x: Arrays, constants: Arrays) -> tuple[Compiled, int]:
        count = 0

        def program(*inputs: Array) -> Arrays:
            nonlocal count
            derivatives, rest = first(self._flat(inputs[len(x) :]), inputs[: len(x)])
            count = len(derivatives)
            return derivatives + rest

        def function(*inputs: Array) -> Arrays:
            y, aux = self._flat(inputs[len(x) :])(inputs[: len(x)])
            return y + aux

        compiled = self._adapter.build(program, (*x, *constants))
        self._adapter.check_record(function, (*x, *constants))
        if not count:
            compiled.run(*x, *constants)
        return compiled, count
