"""Sizes, dtypes and memory layouts at the edge: empty, one, shape (), float32, strides, flags."""

from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.prep.arguments.const import Const
from diffface.testing.closed_form.scenario import Scenario

FIRST = ("jacobian", "pushforward", "pullback")
SECOND = ("gradient", "hessian", "hvp", "pullback", "pushforward")


def _quartic(name: str, x: Any, other: Any, **options: Any) -> Scenario:
    """``sum x^4 / 12``, whose Hessian is diagonal."""
    return Scenario(
        name,
        lambda x: namespace(x).sum(x**4) / 12,
        (x,), (other,),
        value=lambda x: np.sum(x**4) / 12,
        gradient=lambda x: x**3 / 3,
        hessian=lambda x: np.reshape(np.diag(np.reshape(x**2, x.size)), x.shape * 2),
        operators=SECOND, **options,
    )  # fmt: skip


def _sines(name: str, x: Any, other: Any, **options: Any) -> Scenario:
    """``sin x``, elementwise."""
    return Scenario(
        name,
        lambda x: namespace(x).sin(x),
        (x,), (other,),
        value=np.sin,
        jacobian=lambda x: np.reshape(np.diag(np.reshape(np.cos(x), x.size)), x.shape * 2),
        operators=FIRST, **options,
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
        value=lambda x: x[:0], jacobian=lambda x: np.zeros((0, 4)), operators=FIRST,
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
        tangents=BASE[::2, 2], cotangents=read_only(BASE[2, ::2][::-1])[::-1], operators=FIRST,
    ),
    _sines("broadcast", np.broadcast_to(VECTOR[:1], (3,)), np.broadcast_to(VECTOR[1:2], (3,))),
)  # fmt: skip
