"""Derivatives that are NumPy code: as operations of the host, and one mode from the other."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

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


def transpose_by_basis(linear: Callable[[Arrays], Arrays], domain: Arrays, given: Arrays) -> Arrays:
    """``L^H given`` for the linear function ``L``, which takes arrays like ``domain``.

    By the real inner product ``Re<a, b>``: complex arrays have two real dimensions an element.
    """
    found = []
    for i, array in enumerate(domain):
        result = np.zeros(array.shape, array.dtype)
        for k in range(array.size):
            for unit in (1.0, 1j) if array.dtype.kind == "c" else (1.0,):
                seeds = [np.zeros(a.shape, a.dtype) for a in domain]
                seeds[i].reshape(-1)[k] = unit
                result.reshape(-1)[k] += unit * _inner(linear(tuple(seeds)), given)
        found.append(result)
    return tuple(found)


def _inner(x: Arrays, y: Arrays) -> Any:
    return sum(float(np.real(np.vdot(a, b))) for a, b in zip(x, y, strict=True))
