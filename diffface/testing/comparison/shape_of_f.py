"""Probes of the function itself: whether it is random, jumps, or has a kink at the point."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from diffface.testing.comparison.agreement import distance
from diffface.testing.comparison.findings import Evidence
from diffface.testing.comparison.report import Finding
from diffface.testing.comparison.slopes import (
    Extrapolated,
    curvature,
    is_outside,
    is_steep,
    jump,
    one_sided,
    one_sided_curvature,
    slope,
)
from diffface.testing.comparison.subject import Arrays, Line

# What a kink is at least, relative to the derivatives.
KINK = 1e-5


def random(evidence: Evidence) -> Iterator[Finding]:
    """Whether two evaluations at the same point differ."""
    for name in evidence.running():
        first, second = (evidence.subject.value(evidence.backends[name]) for _ in range(2))
        apart = max((float(np.max(distance(a, b), initial=0.0))
                     for a, b in zip(first, second, strict=True)), default=0.0)  # fmt: skip
        if apart:
            yield Finding(
                "random",
                f"two evaluations at the same point differ by {apart:.1e}: the function draws "
                "random numbers or keeps a state. Pass the random numbers (or a key) as an "
                "argument.",
            )
            return


def not_finite(evidence: Evidence) -> Iterator[Finding]:
    """Whether there is a value at the point and about it."""
    reference = evidence.reference
    if not all(np.all(np.isfinite(a)) for a in reference.y):
        yield Finding("nan", "the value of `f` itself is not finite at this point.")
        return
    found = [
        (direction.name, side)
        for direction in reference.directions
        for side in (-1, 1)
        if is_outside(reference.line(direction), side)
    ]
    if found:
        names = list(dict.fromkeys(name for name, _ in found))
        yield Finding(
            "edge",
            f"the point is at the edge of where `f` is finite: along {_listed(names)} it has no "
            f"finite value {'below' if found[-1][1] < 0 else 'above'}, so that differences tell "
            "nothing.",
        )


def jumps(evidence: Evidence) -> Iterator[Finding]:
    """Whether the values on both sides of the point stay apart."""
    reference, found = evidence.reference, []
    for direction in reference.directions:
        sides = jump(reference.line(direction))
        if sides is not None:
            found.append((direction.name, *sides))
    if found:
        _, left, right = found[-1]
        a, b = _first_difference(left, right)
        yield Finding(
            "jump",
            f"`f` jumps at this point: along {_listed([n for n, *_ in found])} (last one: from {a} "
            f"to {b}, within 3e-11 of it). A branch, a comparison or a rounding depends on the "
            "value there; automatic differentiation sees the side that is taken, differences see "
            "both.",
        )


def kinks(evidence: Evidence) -> Iterator[Finding]:
    """Whether the slopes from both sides differ, or the second derivatives."""
    found = _apart(evidence, one_sided, slope, 1)
    of, slopes, so = "`f`", "slopes", ", so there is no derivative"
    if not found and any(asked.operator.order == 2 for asked in evidence.asked.values()):
        found = _apart(evidence, one_sided_curvature, curvature, 2)
        of, slopes, so = "the derivative of `f`", "second derivatives", ""
    if found:
        names = _listed([name for name, *_ in found])
        _, below, above = found[-1]
        yield Finding(
            "kink",
            f"{of} has a kink at this point: along {names} the {slopes} from the two sides differ "
            f"(of the last: {below} from below, {above} from above){so}; each backend gives a "
            "number by its own rule.",
        )


def not_holomorphic(evidence: Evidence) -> Iterator[Finding]:
    """Whether the Cauchy-Riemann equations are violated."""
    if not evidence.holomorphic:
        return
    reference = evidence.reference
    names = [direction.name for direction in reference.directions]
    for k, name in enumerate(names):
        if f"the imaginary part of {name}" not in names:
            continue
        real = reference.slope(k)
        imaginary = reference.slope(names.index(f"the imaginary part of {name}"))
        turned = Extrapolated(tuple(1j * a for a in real.value), real.error)
        if _differ(turned, imaginary, KINK, 0.0):
            a, b = _first_difference(real.value, imaginary.value)
            yield Finding(
                "not holomorphic",
                f"`f` is not holomorphic in {name}: its slope is {a} along the real axis and {b} "
                "along the imaginary one, which should be 1j times the former. Look for conj, abs, "
                "real or imag; or leave holomorphic out and use pushforward or pullback.",
            )
            return


def _apart(
    evidence: Evidence,
    sided: Callable[[Line, float, int], Extrapolated],
    central: Callable[[Line, float], Extrapolated],
    order: int,
) -> list[tuple[str, str, str]]:
    """Directions along which limits from the two sides differ, with what they are."""
    reference, found = evidence.reference, []
    floor = KINK * reference.typical
    for direction in reference.directions:
        line = reference.line(direction)
        below, above = (sided(line, reference.noise, side) for side in (-1, 1))
        steep = [order == 1 and is_steep(line, side) for side in (-1, 1)]
        if not any(steep):
            if not _differ(below, above, KINK, floor):
                continue
            # At a kink, central differences converge to the mean.
            mean = Extrapolated(
                tuple((a + b) / 2 for a, b in zip(below.value, above.value, strict=True)),
                tuple(map(np.maximum, below.error, above.error)),
            )
            if _differ(mean, central(line, reference.noise), KINK, floor):
                continue
        numbers = _first_difference(below.value, above.value, direction.scale**order)
        a, b = ("infinite" if s else n for s, n in zip(steep, numbers, strict=True))
        found.append((direction.name, a, b))
    return found


def _differ(a: Extrapolated, b: Extrapolated, tolerance: float, floor: float) -> bool:
    """Whether two limits are further apart than their errors and the tolerance allow."""
    for x, dx, y, dy in zip(a.value, a.error, b.value, b.error, strict=True):
        size = np.maximum(np.max(np.abs(x), initial=0.0), np.max(np.abs(y), initial=0.0))
        if np.any(np.abs(x - y) > 10 * (dx + dy) + tolerance * size + floor):
            return True
    return False


def _first_difference(a: Arrays, b: Arrays, over: float = 1.0) -> tuple[str, str]:
    """The two numbers that are furthest apart."""
    apart = [np.abs(x - y) for x, y in zip(a, b, strict=True)]
    leaf = int(np.argmax([float(np.max(d, initial=-1.0)) for d in apart]))
    place = int(np.argmax(apart[leaf]))
    return _number(a[leaf].flat[place] / over), _number(b[leaf].flat[place] / over)


def _number(value: Any) -> str:
    return f"{complex(value):.4g}" if np.iscomplexobj(value) else f"{float(value):.4g}"


def _listed(names: list[str], most: int = 4) -> str:
    """Names of directions; single coordinates say more than all at once."""
    single = [name for name in names if not name.startswith("all ")] or names
    rest = f" and {len(single) - most} more" if len(single) > most else ""
    return ", ".join(f"`{name}`" if "`" not in name else name for name in single[:most]) + rest
