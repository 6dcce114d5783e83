"""Scenarios about what f is made of: its structure, and the edges of its domain."""

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

_STRUCTURES = (
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


OF_ARRAYS = ("jacobian", "pushforward", "pullback")
OF_NUMBERS = ("gradient", "hessian", "hvp", "pullback", "pushforward")


def _quartic(name: str, x: Any, other: Any, **options: Any) -> Scenario:
    """``sum x^4 / 12``, whose Hessian is diagonal."""
    return Scenario(
        name,
        lambda x: namespace(x).sum(x**4) / 12,
        (x,), (other,),
        value=lambda x: np.sum(x**4) / 12,
        gradient=lambda x: x**3 / 3,
        hessian=lambda x: np.reshape(np.diag(np.reshape(x**2, x.size)), x.shape * 2),
        operators=OF_NUMBERS, **options,
    )  # fmt: skip


def _sines(name: str, x: Any, other: Any, **options: Any) -> Scenario:
    """``sin x``, elementwise."""
    return Scenario(
        name,
        lambda x: namespace(x).sin(x),
        (x,), (other,),
        value=np.sin,
        jacobian=lambda x: np.reshape(np.diag(np.reshape(np.cos(x), x.size)), x.shape * 2),
        operators=OF_ARRAYS, **options,
    )  # fmt: skip


def read_only(array: Any) -> Any:
    """A copy that must not be written to."""
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


BASE = np.array([[0.5, -1.0, 2.0, 0.25], [1.5, 0.75, -0.5, 1.0], [-2.0, 0.3, 0.6, -0.9]])
VECTOR = BASE[0]
SINGLE = BASE.astype(np.float32)
POINT, OTHER_POINT = np.array(0.5), np.array(-1.25)
EMPTY = np.zeros(0)

SCENARIOS = (
    *_STRUCTURES,
    _quartic("float32 to number", SINGLE[:2, :3], SINGLE[1:, 1:], core=True),
    _sines("float32 to array", SINGLE[0], SINGLE[1]),
    Scenario(
        "float32 with a float constant",
        lambda x, a: a * namespace(x).sum(x**2),
        (SINGLE[0], Const(2.0)), (SINGLE[1], Const(0.5)),
        value=lambda x, a: np.float32(a) * np.sum(x**2), gradient=lambda x, a: 2 * a * x,
        operators=("gradient", "pullback"),
    ),
    _quartic("empty vector to number", EMPTY, EMPTY.copy()),
    _quartic("empty matrix to number", np.zeros((3, 0)), np.zeros((3, 0))),
    _sines("empty to empty", EMPTY, EMPTY.copy()),
    Scenario(
        "vector to empty",
        lambda x: x[:0] * 2,
        (VECTOR,), (BASE[1],),
        value=lambda x: x[:0], jacobian=lambda x: np.zeros((0, 4)), operators=OF_ARRAYS,
    ),
    _quartic("one element", np.array([0.5]), np.array([-1.5])),
    _sines("one element in a matrix", np.array([[0.5]]), np.array([[-1.5]])),
    _quartic("shape () to number", POINT, OTHER_POINT),
    Scenario(
        "shape () to vector",
        lambda t: namespace(t).stack([t, t**2, t**3]),
        (POINT,), (OTHER_POINT,),
        value=lambda t: np.stack([t, t**2, t**3]),
        derivative=lambda t: np.stack([t**0, 2 * t, 3 * t**2]),
        second_derivative=lambda t: np.stack([0 * t, 2 * t**0, 6 * t]),
    ),
    Scenario(
        "NumPy scalar",
        lambda t: t**3,
        (np.float64(0.5),), (np.float64(-1.5),),
        value=lambda t: t**3, derivative=lambda t: 3 * t**2, second_derivative=lambda t: 6 * t,
    ),
    _quartic("non-contiguous", BASE[:, 1], BASE[:, 2]),
    _sines("transposed", BASE[:2].T, BASE[1:].T),
    _quartic("negative strides", VECTOR[::-1], BASE[1, ::-1]),
    _sines("negative strides in two axes", BASE[::-1, ::-2], BASE[::-1, 1::-1]),
    _quartic("read-only", read_only(VECTOR), read_only(BASE[1])),
    _sines("read-only to array", read_only(VECTOR), read_only(BASE[1])),
    Scenario(
        "strided seeds",
        lambda x, w: namespace(x).sin(x) * w,
        (BASE[:2, 0], Const(BASE[1:, 3])), (BASE[1:, 1], Const(BASE[::-2, 2])),
        value=lambda x, w: np.sin(x) * w, jacobian=lambda x, w: np.diag(np.cos(x) * w),
        tangents=BASE[::2, 2], cotangents=read_only(BASE[2, ::2][::-1])[::-1], operators=OF_ARRAYS,
    ),
    _sines("broadcast", np.broadcast_to(VECTOR[:1], (3,)), np.broadcast_to(VECTOR[1:2], (3,))),
)  # fmt: skip
