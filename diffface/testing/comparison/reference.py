"""What differences of ``f``'s values say about an operator, in numbers that can be compared.

Differences know derivatives along directions only. A result is therefore reduced to such: for
tangents ``d`` and ``v`` and cotangents ``c`` these are ``J d``, ``Re<c, J d>`` and ``v H d``.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from diffface.backends.registry import Backend, resolve
from diffface.prep.operator import Operator, Part
from diffface.testing.comparison.slopes import STEPS, Extrapolated, curvature, noise, slope
from diffface.testing.comparison.subject import Arrays, Direction, Subject, weights


class Reference:
    """Extrapolated differences at a point.

    Parameters
    ----------
    subject : Subject
        The function and the point.
    backend : backend object
        Who evaluates ``f``, and nothing more.
    fine : bool
        Whether ``f`` takes arguments in double precision.
    """

    def __init__(self, subject: Subject, backend: Backend, fine: bool) -> None:
        self.subject = subject
        self.backend = backend
        self.fine = fine
        self._slopes: dict[int, Extrapolated] = {}

    @cached_property
    def y(self) -> Arrays:
        """``f``'s value."""
        return self.subject.value(self.backend, self.subject.fine() if self.fine else None)

    @cached_property
    def is_scalar(self) -> bool:
        """Whether ``f`` returns one real number."""
        return self.subject.is_scalar(self.backend)

    @cached_property
    def directions(self) -> list[Direction]:
        """Along which derivatives are compared; the first is that of the tangents."""
        return list(self.subject.directions())

    @cached_property
    def typical(self) -> float:
        """Size of ``f`` about the point, which its rounding errors are relative to."""
        line = self.line(self.directions[0])
        values = [a for s in (0.0, STEPS[0], -STEPS[0]) for a in line(s)]
        sizes = [np.max(np.abs(a[np.isfinite(a)]), initial=0.0) for a in values]
        return float(max(sizes, default=0.0))

    @cached_property
    def noise(self) -> float:
        """Size of the rounding errors in ``f``."""
        measured = noise(self.line(self.directions[0]))
        return max(measured, float(np.finfo(np.float64).eps)) * self.typical

    def line(self, direction: Direction) -> Callable[[float], Arrays]:
        """``s -> f(x + s d)`` with ``s`` relative to the coordinates."""
        return self.subject.line(self.backend, direction, self.fine)

    def slope(self, k: int) -> Extrapolated:
        """``J d`` for the ``k``-th direction."""
        if k not in self._slopes:
            direction = self.directions[k]
            self._slopes[k] = _over(slope(self.line(direction), self.noise), direction.scale)
        return self._slopes[k]

    @cached_property
    def curvatures(self) -> list[Extrapolated]:
        """``v H d`` for the first direction ``v`` and every ``d``; then ``d H d``."""
        first, *others = self.directions
        # 4 v H d is the difference of the curvatures along v + d and v - d.
        pairs = [(self._curved(_sum(first, d, 1.0)), self._curved(_sum(first, d, -1.0)))
                 for d in others]  # fmt: skip
        mixed = [_difference(a, b, 4.0) for a, b in pairs]
        return [self._curved(first), *mixed, *map(self._curved, others)]

    def _curved(self, direction: Direction) -> Extrapolated:
        return _over(curvature(self.line(direction), self.noise), direction.scale**2)

    def limits(self, operator: Operator) -> list[Extrapolated]:
        """What the numbers of :meth:`reduced` must be."""
        part, order = operator.parts[-1], operator.order
        count = len(self.directions)
        if part is Part.VALUE:
            return [Extrapolated(self.y, tuple(np.zeros(a.shape) for a in self.y))]
        if order == 2 and part is Part.LIKE_X:
            return self.curvatures[:count]
        if order == 2 and part is Part.LIKE_Y:
            return [self._curved(self.directions[self._along(operator)])]
        if order == 2:
            return self.curvatures if part is Part.X_BY_X else self.curvatures[:1]
        if part is Part.LIKE_Y:
            return [self.slope(self._along(operator))]
        slopes = [self.slope(k) for k in range(count)]
        if part is Part.Y_BY_X:
            return slopes
        c = self._cotangents(operator)
        return [Extrapolated((_inner(c, s.value),), (_inner_error(c, s.error),)) for s in slopes]

    def reduced(self, operator: Operator, leaves: Arrays) -> list[Arrays]:
        """The numbers of a result that differences know, too."""
        part, count = operator.parts[-1], len(self.directions)
        if part in (Part.VALUE, Part.LIKE_Y):
            return [leaves]
        if part is Part.LIKE_X:
            return [(_inner(leaves, d.dx),) for d in self.directions]
        if part is Part.Y_BY_X:
            return [_applied(leaves, d.dx) for d in self.directions]
        first, *others = self.directions
        rows = [_applied(leaves, d.dx) for d in self.directions]
        mixed = [(_inner(first.dx, row),) for row in rows]
        own = [(_inner(d.dx, row),) for d, row in zip(others, rows[1:], strict=True)]
        assert len(mixed) == count
        return [*mixed, *own]

    def _along(self, operator: Operator) -> int:
        # Of a complex number, the derivative is that along the real axis.
        return 1 if operator.scalar_argument and self.subject.is_complex else 0

    def _cotangents(self, operator: Operator) -> Arrays:
        return tuple(np.ones_like(a) for a in self.y) if operator.scalar else weights(self.y)


def _over(limit: Extrapolated, scale: float) -> Extrapolated:
    value, error = limit
    return Extrapolated(tuple(a / scale for a in value), tuple(e / scale for e in error))


def _difference(a: Extrapolated, b: Extrapolated, over: float) -> Extrapolated:
    return Extrapolated(
        tuple((x - y) / over for x, y in zip(a.value, b.value, strict=True)),
        tuple((x + y) / over for x, y in zip(a.error, b.error, strict=True)),
    )


def _sum(a: Direction, b: Direction, factor: float) -> Direction:
    dx = tuple(x + factor * y for x, y in zip(a.dx, b.dx, strict=True))
    return Direction(dx, a.name, max(a.scale, b.scale))


def _inner(a: Arrays, b: Arrays) -> Any:
    """``Re<a, b>``."""
    return sum((np.sum(np.real(np.conj(x) * y)) for x, y in zip(a, b, strict=True)), np.array(0.0))


def _inner_error(c: Arrays, error: Arrays) -> Any:
    return _inner(tuple(map(np.abs, c)), error)


def _applied(blocks: Arrays, dx: Arrays) -> Arrays:
    """``J d`` from the blocks of ``J``, row by row."""
    rows = (blocks[i : i + len(dx)] for i in range(0, len(blocks), len(dx)))
    return tuple(_sums(row, dx) for row in rows)


def _sums(row: Arrays, dx: Arrays) -> Any:
    terms: Iterator[Any] = (np.tensordot(b, d, axes=d.ndim) for b, d in zip(row, dx, strict=True))
    return np.asarray(sum(terms))


def reference_at(point: Subject, backends: Mapping[str, Backend]) -> Reference | None:
    """Differences of ``f``, evaluated by NumPy if it can be, in double precision if it can be."""
    for backend in (resolve("numpy"), *backends.values()):
        if _can(point, backend, None):
            return Reference(point, backend, _can(point, backend, point.fine()))
    return None


def _can(point: Subject, backend: Backend, primals: Arrays | None) -> bool:
    try:
        point.value(backend, primals)
    except (Exception, SystemExit):  # noqa: BLE001 - whatever one raises, another may do it
        return False
    return True
