"""Derivatives with structure: banded, linear, constant, and functions that hand things through.

The banded ones are those of DifferentiationInterfaceTest (``src/scenarios/sparse.jl`` of
JuliaDiff/DifferentiationInterface.jl 82b57f81, MIT).
"""

from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.prep.arguments.const import Const
from diffface.testing.closed_form.scenario import Scenario

X, OTHER = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0]), np.array([0.5, -1.0, 0.25, 2.0, -0.75, 1.0])
W, V = np.array([1.0, -2.0, 0.5, 3.0, -1.0, 2.0]), np.array([0.5, 1.5, -2.5, 1.0, 0.25, -1.0])


def _steps(x: Any) -> Any:
    return x[1:] - x[:-1]


def _bands(x: Any, slope: Any) -> Any:
    """Jacobian of ``g(diff(x))`` with ``slope = g'(diff(x))``."""
    return np.diff(np.eye(x.size), axis=0) * slope[:, None]


def _cubes_hessian(x: Any) -> Any:
    d = np.diff(np.eye(x.size), axis=0)
    return d.T @ np.diag(6 * np.diff(x)) @ d


FIRST = ("gradient", "jacobian", "pushforward", "pullback")
SECOND = ("gradient", "hessian", "hvp", "pullback")

SCENARIOS = (
    Scenario(
        "banded Jacobian",
        lambda x: _steps(x) ** 2,
        (X,), (OTHER,),
        value=lambda x: np.diff(x) ** 2,
        jacobian=lambda x: _bands(x, 2 * np.diff(x)),
        operators=("jacobian", "pullback"),
    ),
    Scenario(
        "two bands",
        lambda x: namespace(x).concat([_steps(x) ** 2, _steps(x) ** 3]),
        (X,), (OTHER,),
        value=lambda x: np.concatenate([np.diff(x) ** 2, np.diff(x) ** 3]),
        jacobian=lambda x: np.concatenate(
            [_bands(x, 2 * np.diff(x)), _bands(x, 3 * np.diff(x) ** 2)]
        ),
        operators=("jacobian",),
    ),
    Scenario(
        "tridiagonal Hessian",
        lambda x: namespace(x).sum(_steps(x) ** 3),
        (X,), (OTHER,),
        value=lambda x: np.sum(np.diff(x) ** 3),
        gradient=lambda x: np.diff(np.eye(x.size), axis=0).T @ (3 * np.diff(x) ** 2),
        hessian=_cubes_hessian, operators=SECOND,
    ),
    Scenario(
        "linear",
        lambda x, w: namespace(x).sum(w * x),
        (X, Const(W)), (OTHER, Const(V)),
        value=lambda x, w: np.sum(w * x),
        gradient=lambda x, w: 1.0 * w,
        hessian=lambda x, w: np.zeros((6, 6)),
    ),
    Scenario(
        "linear in a number",
        lambda t: 3.0 * t,
        (0.5,), (2.0,),
        value=lambda t: 3.0 * t,
        derivative=lambda t: 3.0, second_derivative=lambda t: 0.0,
        operators=("derivative", "second_derivative", "hessian"),
    ),
    Scenario(
        "constant number",
        lambda x: 3.0,
        (X,), (OTHER,),
        value=lambda x: 3.0, gradient=lambda x: np.zeros(6), hessian=lambda x: np.zeros((6, 6)),
        operators=SECOND,
    ),
    Scenario(
        "constant array",
        lambda x, c: c,
        (X, Const(W[:2])), (OTHER, Const(V[:2])),
        value=lambda x, c: c, jacobian=lambda x, c: np.zeros((2, 6)), operators=FIRST,
    ),
    Scenario(
        "identity",
        lambda x: x,
        (X,), (OTHER,),
        value=lambda x: x, jacobian=lambda x: np.eye(6), operators=FIRST,
    ),
    Scenario(
        "the same output twice",
        lambda x: (y := x * x, [y, x]),
        (X[:2],), (OTHER[:2],),
        value=lambda x: (x * x, [x * x, x]),
        jacobian=lambda x: (2 * np.diag(x), [2 * np.diag(x), np.eye(2)]),
        operators=("jacobian", "pushforward", "pullback"),
    ),
    Scenario(
        "partial sums",
        lambda x: namespace(x).cumulative_sum(x**2),
        (X[:3],), (OTHER[:3],),
        value=lambda x: np.cumsum(x**2), jacobian=lambda x: np.tril(np.ones((3, 3))) * 2 * x,
        operators=("jacobian", "pullback"),
    ),
)  # fmt: skip
