"""Moves away from a point, along which differences are taken."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.numpy.box import Box
from diffface.backends.numpy.stencil import Stencil, power_near
from diffface.backends.numpy.steps import (
    ODD,
    SMALL,
    Steps,
    chosen,
    distance,
    groups,
    joined,
    own_sizes,
    shifted,
)

# Coordinates that are taken apart stay together where they want steps within this factor.
_FACTOR = 64.0
# Its multiples are spread evenly.
_IRRATIONAL = 5**0.5 / 2


class Move(NamedTuple):
    """Where to evaluate for one directional derivative.

    Attributes
    ----------
    stencil : Stencil
        Which multiples of ``length`` to go.
    length : float
        The step.
    at : callable
        ``at(distance)`` is the point that far away: new arrays, which ``f`` may overwrite.
    longer : tuple of Move
        The same, further away, for results that hardly change.
    mixed : bool
        Whether it moves several coordinates for one element of the result each, of which each of
        ``longer`` moves some.
    """

    stencil: Stencil
    length: float
    at: Callable[[float], Arrays]
    longer: tuple["Move", ...] = ()
    mixed: bool = False

    @property
    def takes_value(self) -> bool:
        """Whether the derivative takes the value at the point itself."""
        return bool(self.stencil.center) or any(m.stencil.center for m in self.longer)


def coordinates(x: Arrays, steps: Steps, stencil: Stencil, box: Box | None) -> Iterator[Move]:
    """One move for each coordinate."""
    start = 0
    for j, leaf in enumerate(x):
        flat = leaf.reshape(-1)
        own, longer = steps.lengths(flat, start)
        further = [0.0] * len(flat) if longer is None else longer.tolist()
        for k, lengths in enumerate(zip(own.tolist(), further, strict=True)):
            at = partial(moved, x, j, k, box)
            fitting = [_fitted(stencil, length, box, start + k) for length in lengths if length > 0]
            (scheme, step), *rest = fitting
            others = tuple(Move(s, t, at) for s, t in rest if t > step)
            yield Move(scheme, step, at, others)
        start += len(flat)


def _fitted(stencil: Stencil, length: float, box: Box | None, k: int) -> tuple[Stencil, float]:
    if box is None:
        return stencil, length
    behind, ahead = float(box.behind[k]), float(box.ahead[k])
    if behind == 0 == ahead:
        box.refuse(k)
    return stencil.within(behind, ahead, length)


def moved(x: Arrays, j: int, k: int, box: Box | None, distance: float) -> Arrays:
    """``x`` with element ``k`` of leaf ``j`` moved."""
    flat = x[j].flatten()
    flat[k] = flat[k] + distance
    point = [flat.reshape(a.shape) if i == j else a.copy() for i, a in enumerate(x)]
    return tuple(point) if box is None else box.clipped(tuple(point))


def along(x: Arrays, v: Arrays, steps: Steps, stencil: Stencil, box: Box | None) -> list[Move]:
    """Moves along ``v``: one, or parts of it whose derivatives sum up.

    Coordinates of very different sizes have no step in common, and at a corner of the bounds one
    may only move ahead and another only behind.
    """
    moving = [float(np.max(np.abs(d))) for d in v if d.size]
    if not (moving and 0 < max(moving) < np.inf):
        return [Move(stencil, 1.0, _shift(x, v, None))]
    length = distance(x, v, steps.relative)
    reaches = steps.reaches(x, v)
    if isinstance(steps.given, float):
        reaches = np.where(np.isfinite(reaches), length / steps.relative, np.inf)
    if box is not None:
        room = np.maximum(*box.rooms(v)) / (max(map(abs, stencil.offsets)) + stencil.order - 1)
        reaches = np.minimum(reaches, room / steps.relative)
    finite = reaches[np.isfinite(reaches)]
    if not len(finite):  # all that moves is infinite, and goes nowhere
        return [Move(stencil, 1.0, _shift(x, v, None))]
    least, most = float(np.min(reaches)), float(np.max(finite))
    several = isinstance(steps.given, np.ndarray)
    if not several and (isinstance(steps.given, float) or length <= steps.limit * least):
        return _sides(x, v, stencil, length, box, None)
    if several and most <= _FACTOR * least:
        return _sides(x, v, stencil, _best(reaches, steps, stencil), box, None)
    moves = []
    for which in groups(reaches, _FACTOR):
        part = chosen(v, which)
        step = _best(reaches[which], steps, stencil)
        further = distance(x, part, steps.relative) if steps.given is None else 0.0
        moves += _sides(x, part, stencil, step, box, (further * SMALL > step and further) or None)
    return moves


def _best(reaches: Array, steps: Steps, stencil: Stencil) -> float:
    """The length that is as much too long for the smallest as it is too short for the largest."""
    finite = reaches[np.isfinite(reaches)]
    least, most = float(np.min(finite)), float(np.max(finite))
    # Truncation grows as length**order, rounding as 1 / length.
    return power_near(steps.relative * least * (most / least) ** (1 / (stencil.order + 1)))


def _sides(
    x: Arrays, v: Arrays, stencil: Stencil, length: float, box: Box | None, further: float | None
) -> list[Move]:
    """One move along ``v``; two where bounds keep some coordinates from moving on one side."""
    length *= ODD
    parts = [(v, np.inf, np.inf)]
    if box is not None:
        behind, ahead = map(np.min, box.rooms(v))
        parts = [(v, float(behind), float(ahead))]
        if stencil.within(float(behind), float(ahead), length) != (stencil, length):
            parts = _by_side(v, box)
    moves = []
    for part, least, most in parts:
        best, more = (stencil.within(least, most, t) for t in (length, further or 0.0))
        moves.append(_move(x, part, best, more, box))
    return moves


def _move(
    x: Arrays, v: Arrays, best: tuple[Stencil, float], more: tuple[Stencil, float], box: Box | None
) -> Move:
    at = _shift(x, v, box)
    return Move(*best, at, (Move(*more, at),) if more[1] > best[1] else ())


def _shift(x: Arrays, v: Arrays, box: Box | None) -> Callable[[float], Arrays]:
    if box is None:
        return partial(shifted, x, v)
    return lambda distance: box.clipped(shifted(x, v, distance))


def together(
    x: Arrays, seeds: list[Arrays], steps: Steps, stencil: Stencil, box: Box | None
) -> tuple[list[list[Move]], Arrays]:
    """Moves along ``seeds`` of zeros and ones, each coordinate by a length of its own.

    No element of the result depends on two coordinates of one seed, so that their steps need not
    have anything in common. Returns the moves, whose derivatives sum up for each seed, and the
    lengths by which they have still to be divided; negative ones go behind.
    """
    lengths, centered = _lengths(x, steps, stencil, box)
    one_sided = stencil.within(0.0, np.inf, 1.0)[0]
    moves = []
    for seed in seeds:
        found = []
        negative = joined(seed) < 0
        for scheme, which in (
            (stencil, centered),
            (one_sided, ~centered & ~negative),
            (one_sided.mirrored(), ~centered & negative),
        ):
            v = _scaled(x, seed, np.where(which, lengths, 0.0))
            if any(np.any(d) for d in v):
                longer = _longer(x, v, steps, scheme, box) if steps.given is None else ()
                found.append(Move(scheme, 1.0, _shift(x, v, box), longer, mixed=True))
        moves.append(found or [Move(stencil, 1.0, _shift(x, seed, None))])
    return moves, _scaled(x, tuple(np.ones(a.shape, a.real.dtype) for a in x), lengths)


def _lengths(x: Arrays, steps: Steps, stencil: Stencil, box: Box | None) -> tuple[Array, Array]:
    """How far each coordinate moves, and whether to both sides."""
    parts, start = [], 0
    for a in x:
        parts.append(steps.lengths(a.reshape(-1), start)[0].astype(float))
        start += a.size
    lengths = joined(parts)
    centered = np.ones(len(lengths), bool)
    if box is not None:
        for k, length in enumerate(lengths.tolist()):
            fitting, t = _fitted(stencil, length, box, k)
            centered[k] = fitting is stencil
            lengths[k] = t if centered[k] else t * np.sign(fitting.offsets[-1])
    return lengths, centered


def _longer(
    x: Arrays, v: Arrays, steps: Steps, stencil: Stencil, box: Box | None
) -> tuple[Move, ...]:
    """The small coordinates of ``v``, those of like size by the same factor further."""
    sizes, _ = own_sizes(joined(x))
    small = np.flatnonzero((sizes < SMALL) & (joined(v) != 0))
    reaches = np.where(np.isin(np.arange(len(sizes)), small), sizes, np.inf)
    moves = []
    for which in groups(reaches, 2.0**10):
        factor = power_near(1 / float(np.max(sizes[which])))
        for part, behind, ahead in _by_side(chosen(v, which), box):
            scheme, fitting = stencil.within(behind, ahead, factor)
            if fitting > 1:
                moves.append(Move(scheme, fitting, _shift(x, part, box)))
    return tuple(moves)


def _by_side(v: Arrays, box: Box | None) -> list[tuple[Arrays, float, float]]:
    """The parts of ``v`` that have more room ahead, and behind, with their room."""
    if box is None:
        return [(v, np.inf, np.inf)]
    behind, ahead = box.rooms(v)
    moving = joined(v) != 0
    parts = []
    for which in (moving & (ahead >= behind), moving & (ahead < behind)):
        if which.any():
            least = float(np.min(behind[which])), float(np.min(ahead[which]))
            parts.append((chosen(v, np.flatnonzero(which)), *least))
    return parts


def _scaled(x: Arrays, seed: Arrays, lengths: Array) -> Arrays:
    leaves, start = [], 0
    for a, d in zip(x, seed, strict=True):
        part = lengths[start : start + a.size].reshape(a.shape)
        leaves.append(np.multiply(d, part.astype(a.real.dtype)))
        start += a.size
    return tuple(leaves)


def nearby(x: Arrays, box: Box | None) -> Arrays:
    """A point near ``x`` with many digits in each coordinate."""
    flat = joined(x)
    shift = own_sizes(flat)[0] * (0.5 + np.arange(1, len(flat) + 1) * _IRRATIONAL % 1) * 2.0**-10
    if box is not None:
        shift = np.where(box.ahead >= box.behind, np.minimum(shift, box.ahead / 2),
                         -np.minimum(shift, box.behind / 2))  # fmt: skip
    v = _scaled(x, tuple(np.ones(a.shape, a.real.dtype) for a in x), shift)
    return _shift(x, v, box)(1.0)
