"""A function of one framework, and its derivatives, as operations of another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array, Arrays
from diffface.backends.rule import Active, Output, Puller, Pusher, Rule, among
from diffface.operators.value import prepare_value
from diffface.prep.arguments.const import Const
from diffface.rules.operation import described

Flat = Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class Inner:
    """A function on flat arrays of the backend that it was written for.

    Attributes
    ----------
    value : callable
        The function.
    again : callable
        The same, so computed that it can be differentiated: where that is by differences of
        differences, they take other steps.
    adapter, stacked : Adapter
        Who differentiates ``again``, and who does for what is differentiated once more.
    """

    value: Flat
    again: Flat
    adapter: Adapter
    stacked: Adapter

    @cached_property
    def program(self) -> Callable[..., Arrays]:
        """``value`` on NumPy arrays, compiled for each signature when it first comes."""
        return prepare_value(lambda *x: self.value(x), backend=self.adapter)

    def derivative(self, of: Callable[[Adapter, Flat], Flat]) -> "Inner":
        """What an adapter makes of ``again``."""
        outer, stacked = self.adapter.second_order()
        return Inner(of(self.adapter, self.again), of(self.stacked, self.again), outer, stacked)


class BridgedOperation(Rule):
    """``inner`` as an operation of ``adapter``.

    Its derivatives are bridged as well, and so on: there are all that the inner backend has.
    """

    host = True
    fresh = True

    def __init__(
        self, name: str, inner: Inner, adapter: Adapter,
        outputs: Callable[[Arrays], Sequence[Output]],
    ) -> None:  # fmt: skip
        self.name = name
        self._inner = inner
        self._adapter = adapter
        self._outputs = outputs
        self._derivatives: dict[Any, BridgedOperation] = {}

    def evaluate(self, x: Arrays) -> Arrays:
        return self._inner.program(*constants_marked(x))

    def outputs(self, x: Arrays) -> Sequence[Output]:
        return self._outputs(x)

    def save(self, active: Active, y: Arrays, x: Arrays) -> Arrays:
        return x

    def puller(self, active: Active) -> Puller:
        places = sorted(active)

        def outputs(arrays: Arrays) -> list[Output]:
            return [Output(*described(self._adapter, arrays[i])) for i in places]

        def pull(saved: Any, dy: Arrays) -> tuple[Array | None, ...]:
            operation = self._derivative("pullback", active, outputs, len(saved))
            found = self._adapter.primitive(operation, (*saved, *dy))
            return among(found, places, [None] * len(saved))

        return pull

    def pusher(self, active: Active) -> Pusher:
        places = sorted(active)

        def push(y: Arrays, x: Arrays, dx: Sequence[Array | None]) -> Arrays:
            count = len(x)
            operation = self._derivative(
                "pushforward", active, lambda arrays: self._outputs(arrays[:count]), count
            )
            return self._adapter.primitive(operation, (*x, *(dx[i] for i in places)))

        return push

    def _derivative(
        self, mode: str, active: Active, outputs: Callable[[Arrays], Sequence[Output]], count: int
    ) -> "BridgedOperation":
        # Kept, since compiled programs refer to it.
        key = mode, active
        if key not in self._derivatives:
            of = pulled if mode == "pullback" else pushed
            inner = self._inner.derivative(lambda a, f: of(a, f, sorted(active), count))
            name = f"the {mode} of {self.name}"
            self._derivatives.setdefault(key, BridgedOperation(name, inner, self._adapter, outputs))
        return self._derivatives[key]


def constants_marked(x: Arrays) -> list[Any]:
    """NumPy arrays as a preparation takes them: what has no derivative is a constant."""
    return [a if a.dtype.kind in "fc" else Const(a) for a in map(np.asarray, x)]


def pulled(adapter: Adapter, f: Flat, places: list[int], count: int) -> Flat:
    """``(*x, *dy) -> J^H dy`` for the arrays of x at ``places``."""

    def pull(arrays: Arrays) -> Arrays:
        x, dy = arrays[:count], arrays[count:]
        of_active = lambda moving: (f(among(moving, places, x)), ())
        return adapter.pullback(of_active, tuple(x[i] for i in places))[1](dy)

    return pull


def pushed(adapter: Adapter, f: Flat, places: list[int], count: int) -> Flat:
    """``(*x, *dx) -> J dx``, with tangents for the arrays of x at ``places``."""

    def push(arrays: Arrays) -> Arrays:
        x, dx = arrays[:count], arrays[count:]
        of_active = lambda moving: (f(among(moving, places, x)), ())
        return adapter.pushforward(of_active, tuple(x[i] for i in places), dx)[1]

    return push
