"""Functions with sparse derivatives, and the same derivatives written by hand in NumPy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import diffface as dif
from diffface.benchmark.problems.bundle_adjustment import BA1, bundle_adjustment, replicate


@dataclass(frozen=True)
class Case:
    """A function with a sparse derivative.

    Attributes
    ----------
    name : str
    operator : str
        ``"jacobian"`` or ``"hessian"``.
    f : callable
    by_hand : callable
        The values of the derivative at a point, of a Hessian those of the lower triangle, computed
        by NumPy alone, in an order of its own.
    """

    name: str
    operator: str
    f: Callable[[Any], Any]
    by_hand: Callable[[Any], Any]


def banded(x: Any) -> Any:
    """Broyden's tridiagonal function."""
    xp = dif.namespace(x)
    zero = xp.zeros_like(x[:1])
    return (3 - 2 * x) * x - xp.concat([zero, x[:-1]]) - 2 * xp.concat([x[1:], zero]) + 1


def banded_by_hand(x: Any) -> Any:
    n = len(x)
    data = np.empty(3 * n - 2)
    data[0::3] = 3 - 4 * x
    data[1::3] = -2.0
    data[2::3] = -1.0
    return data


def brusselator(x: Any) -> Any:
    """The right-hand side of the Brusselator of one dimension, one species after the other."""
    xp = dif.namespace(x)
    half = x.shape[0] // 2
    u, v = x[:half], x[half:]
    apart = [z[:1] * 0 for z in (u, v)]
    spread = [
        xp.concat([e, z[:-1]]) - 2 * z + xp.concat([z[1:], e])
        for z, e in zip((u, v), apart, strict=True)
    ]
    return xp.concat([1 + u * u * v - 4 * u + spread[0], 3 * u - u * u * v + spread[1]])


def five_point(x: Any) -> Any:
    """The energy of a grid of springs that are not linear."""
    xp = dif.namespace(x)
    side = int(x.shape[0] ** 0.5)
    grid = xp.reshape(x[: side * side], (side, side))
    down, across = grid[1:] - grid[:-1], grid[:, 1:] - grid[:, :-1]
    return xp.sum(down**4) + xp.sum(across**4) + xp.sum(x**2)


def arrow(x: Any) -> Any:
    """Each element meets the first."""
    xp = dif.namespace(x)
    return xp.sum(xp.sin(x) * x[0] ** 2) + xp.sum(x**4)


def brusselator_by_hand(x: Any) -> Any:
    half = len(x) // 2
    u, v = x[:half], x[half:]
    square, spread = u * u, np.ones(4 * (half - 1))
    return np.concatenate([2 * u * v - 6, square, 3 - 2 * u * v, -square - 2, spread])


def five_point_by_hand(x: Any) -> Any:
    side = int(len(x) ** 0.5)
    grid = x[: side * side].reshape(side, side)
    down, across = 12 * (grid[1:] - grid[:-1]) ** 2, 12 * (grid[:, 1:] - grid[:, :-1]) ** 2
    diagonal = np.full(len(x), 2.0)
    own = diagonal[: side * side].reshape(side, side)
    own[1:] += down
    own[:-1] += down
    own[:, 1:] += across
    own[:, :-1] += across
    return np.concatenate([diagonal, -down.reshape(-1), -across.reshape(-1)])


def arrow_by_hand(x: Any) -> Any:
    sine, cosine = np.sin(x), np.cos(x)
    diagonal = 12 * x**2 - sine * x[0] ** 2
    diagonal[0] += 4 * x[0] * cosine[0] + 2 * np.sum(sine)
    return np.concatenate([diagonal, 2 * x[0] * cosine[1:]])


CASES = (
    Case("banded", "jacobian", banded, banded_by_hand),
    Case("Brusselator", "jacobian", brusselator, brusselator_by_hand),
    Case("five-point", "hessian", five_point, five_point_by_hand),
    Case("arrow", "hessian", arrow, arrow_by_hand),
)


def ba1() -> tuple[Callable[..., Any], list[Any]]:
    """ADBench's bundle adjustment ``ba1`` and its active arguments."""
    *active, cameras, points, features = replicate(*BA1)
    # Which camera sees which point is captured: in `Const` it could differ at the next call.
    seen = cameras.value, points.value, features.value

    def f(*x: Any) -> Any:
        return bundle_adjustment(*x, *map(dif.namespace(x[0]).asarray, seen))

    return f, active


def heat(n: int) -> tuple[Callable[[float, Any], Any], Any]:
    """The heat equation on ``n`` points, ``rhs(t, u)``, and where it starts."""

    def rhs(t: float, u: Any) -> Any:
        xp = dif.namespace(u)
        zero = xp.zeros_like(u[:1])
        return n * (xp.concat([zero, u[:-1]]) - 2 * u + xp.concat([u[1:], zero]))

    return rhs, np.sin(np.linspace(0, 3, n))
