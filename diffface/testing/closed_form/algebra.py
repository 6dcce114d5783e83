"""Scenarios of linear algebra and of complex numbers."""

from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.prep.arguments.const import Const
from diffface.testing.closed_form.scenario import Scenario

A = np.array([[4.0, 1.0, -0.5], [0.25, 3.0, 1.0], [1.0, -1.0, 5.0]])
B = np.array([[3.0, 0.5, 1.0], [-0.75, 4.0, 0.25], [0.5, 1.0, -3.5]])
X, OTHER_X = np.array([1.0, -2.0, 0.5]), np.array([-0.3, 1.1, 2.0])
SCALES = np.array([0.5, -1.0, 2.0])
SECOND = ("gradient", "hessian", "hvp", "pushforward")
FIRST = ("jacobian", "pushforward", "pullback")


def everything(x: Any, a: Any) -> Any:
    """exp, where, stack, indexing, matmul, solve, and a constant array, in one function."""
    xp = namespace(x, a)
    y = xp.linalg.solve(a, x)
    kinked = xp.where(y > 0, y**2, -y)
    return a @ xp.stack([xp.exp(y[0] / 4), kinked[1], kinked[-1] * y[0]])


def _everything_value(x: Any, a: Any) -> Any:
    y = np.linalg.solve(a, x)
    kinked = np.where(y > 0, y**2, -y)
    return a @ np.stack([np.exp(y[0] / 4), kinked[1], kinked[2] * y[0]])


def _everything_jacobian(x: Any, a: Any) -> Any:
    y = np.linalg.solve(a, x)
    kinked, slope = np.where(y > 0, y**2, -y), np.where(y > 0, 2 * y, -1.0)
    inner = np.array(
        [[np.exp(y[0] / 4) / 4, 0, 0], [0, slope[1], 0], [kinked[2], 0, slope[2] * y[0]]]
    )
    return a @ inner @ np.linalg.inv(a)


def smooth(x: Any) -> Any:
    """``sum exp(-x^2) tanh(x) + log(1 + x^2)``."""
    xp = namespace(x)
    return xp.sum(xp.exp(-(x**2)) * xp.tanh(x) + xp.log1p(x**2))


def _smooth_gradient(x: Any) -> Any:
    t, e = np.tanh(x), np.exp(-(x**2))
    return e * (1 - t**2 - 2 * x * t) + 2 * x / (1 + x**2)


def _smooth_hessian(x: Any) -> Any:
    t, e = np.tanh(x), np.exp(-(x**2))
    s = 1 - t**2
    first = -2 * x * e * (s - 2 * x * t) + e * (-2 * t * s - 2 * t - 2 * x * s)
    return np.diag(first + (2 - 2 * x**2) / (1 + x**2) ** 2)


def _solve_by_matrix(a: Any, b: Any) -> Any:
    return -np.einsum("ik,l->ikl", np.linalg.inv(a), np.linalg.solve(a, b))


_ALGEBRA = (
    Scenario(
        "everything", everything, (X, Const(A)), (OTHER_X, Const(B)),
        value=_everything_value, jacobian=_everything_jacobian, core=True,
    ),
    Scenario(
        "smooth", smooth, (X,), (OTHER_X,),
        value=lambda x: np.sum(np.exp(-(x**2)) * np.tanh(x) + np.log1p(x**2)),
        gradient=_smooth_gradient, hessian=_smooth_hessian, operators=SECOND,
    ),
    Scenario(
        "solve by both", lambda a, b: namespace(a).linalg.solve(a, b), (A, X), (B, OTHER_X),
        value=np.linalg.solve,
        jacobian=lambda a, b: (_solve_by_matrix(a, b), np.linalg.inv(a)), operators=FIRST,
    ),
    Scenario(
        "quadratic form of an inverse",
        lambda b, a: namespace(b).sum(b * namespace(b).linalg.solve(a, b)),
        (X, Const(A)), (OTHER_X, Const(B)),
        value=lambda b, a: b @ np.linalg.solve(a, b),
        gradient=lambda b, a: (np.linalg.inv(a) + np.linalg.inv(a).T) @ b,
        hessian=lambda b, a: np.linalg.inv(a) + np.linalg.inv(a).T, operators=SECOND,
    ),
    Scenario(
        "where", lambda x: namespace(x).sum(namespace(x).where(x > 0, x**3, -(x**2))),
        (X,), (OTHER_X,),
        value=lambda x: np.sum(np.where(x > 0, x**3, -(x**2))),
        gradient=lambda x: np.where(x > 0, 3 * x**2, -2 * x),
        hessian=lambda x: np.diag(np.where(x > 0, 6 * x, -2.0)), operators=SECOND,
    ),
    Scenario(
        "indexing", lambda x: x[2] * x[0] ** 2 + x[-1] * x[1], (X,), (OTHER_X,),
        value=lambda x: x[2] * x[0] ** 2 + x[2] * x[1],
        gradient=lambda x: np.array([2 * x[2] * x[0], x[2], x[0] ** 2 + x[1]]),
        hessian=lambda x: np.array(
            [[2 * x[2], 0, 2 * x[0]], [0, 0, 1.0], [2 * x[0], 1.0, 0]]
        ),
        operators=SECOND,
    ),
    Scenario(
        "indexing by a constant array", lambda x, i: x[i] ** 2,
        (X, Const(np.array([2, 0, 2, 1]))), (OTHER_X, Const(np.array([1, 1, 0, 2]))),
        value=lambda x, i: x[i] ** 2, jacobian=lambda x, i: 2 * x[i][:, None] * np.eye(3)[i],
        operators=FIRST,
    ),
    Scenario(
        "a captured array",
        lambda x: namespace(x).exp(namespace(x).asarray(SCALES) * x), (X,), (OTHER_X,),
        value=lambda x: np.exp(SCALES * x),
        jacobian=lambda x: np.diag(SCALES * np.exp(SCALES * x)), operators=FIRST,
    ),
    Scenario(
        "wide",
        lambda x, a: namespace(x).tanh(a[:2] @ x), (X, Const(A)), (OTHER_X, Const(B)),
        value=lambda x, a: np.tanh(a[:2] @ x),
        jacobian=lambda x, a: (1 - np.tanh(a[:2] @ x) ** 2)[:, None] * a[:2], operators=FIRST,
    ),
    Scenario(
        "matrix times matrix", lambda p, q: p @ q, (A[:2], B[:, :1]), (B[:2], A[:, 1:2]),
        value=lambda p, q: p @ q,
        jacobian=lambda p, q: (
            np.einsum("ik,lj->ijkl", np.eye(2), q), np.einsum("jl,ik->ijkl", np.eye(1), p)
        ),
        operators=FIRST,
    ),
)  # fmt: skip


Z, OTHER_Z = np.array([1 + 1j, -0.5 + 2j, 0.25 - 1j]), np.array([0.3 - 1j, 1.5j, -2.0 + 0.5j])
REAL, OTHER_REAL = np.array([0.5, -1.0]), np.array([1.25, 0.75])
SEEDED = ("pushforward", "pullback")


def mixed(p: Any) -> Any:
    """``sum_k r_k |z_k|^2`` of a tree of real and complex leaves."""
    xp = namespace(p["z"])
    return xp.sum(p["r"] * xp.real(xp.conj(p["z"]) * p["z"]))


SCENARIOS = (
    *_ALGEBRA,
    Scenario(
        "complex argument: |z|^2",
        lambda z: namespace(z).sum(namespace(z).abs(z) ** 2),
        (Z,), (OTHER_Z,),
        value=lambda z: np.sum(np.abs(z) ** 2), gradient=lambda z: 2 * z,
        pushforward=lambda v, z: 2 * np.sum(np.real(np.conj(z) * v)),
        pullback=lambda v, z: 2 * z * v, core=True,
        operators=("gradient", "pushforward", "pullback"),
    ),
    Scenario(
        "complex argument: real times imaginary",
        lambda z: namespace(z).sum(namespace(z).real(z) * namespace(z).imag(z)),
        (Z,), (OTHER_Z,),
        value=lambda z: np.sum(z.real * z.imag), gradient=lambda z: z.imag + 1j * z.real,
        operators=("gradient",),
    ),
    Scenario(
        "complex argument: square",
        lambda z: z * z,
        (Z,), (OTHER_Z,),
        value=lambda z: z * z, pushforward=lambda v, z: 2 * z * v,
        pullback=lambda v, z: 2 * np.conj(z) * v, operators=SEEDED,
    ),
    Scenario(
        "complex argument: not holomorphic",
        lambda z: z * z + 3 * namespace(z).conj(z),
        (Z,), (OTHER_Z,),
        value=lambda z: z * z + 3 * np.conj(z),
        pushforward=lambda v, z: 2 * z * v + 3 * np.conj(v),
        pullback=lambda v, z: 2 * np.conj(z) * v + 3 * np.conj(v), operators=SEEDED,
    ),
    Scenario(
        "complex argument: to real vector",
        lambda z: namespace(z).imag(z) * 2,
        (Z,), (OTHER_Z,),
        value=lambda z: 2 * z.imag, pushforward=lambda v, z: 2 * v.imag,
        pullback=lambda v, z: 2j * v, operators=SEEDED,
    ),
    Scenario(
        "complex argument: tree with real leaves",
        mixed,
        ({"z": Z[:2], "r": REAL},), ({"z": OTHER_Z[:2], "r": OTHER_REAL},),
        value=lambda p: np.sum(p["r"] * np.abs(p["z"]) ** 2),
        gradient=lambda p: {"z": 2 * p["r"] * p["z"], "r": np.abs(p["z"]) ** 2},
        operators=("gradient",),
    ),
    Scenario(
        "complex argument: complex64",
        lambda z: namespace(z).sum(namespace(z).abs(z) ** 2),
        (Z.astype(np.complex64),), (OTHER_Z.astype(np.complex64),),
        value=lambda z: np.sum(np.abs(z) ** 2), gradient=lambda z: 2 * z,
        operators=("gradient",),
    ),
    Scenario(
        "complex argument: holomorphic in a number",
        lambda z, c: namespace(z).exp(c * z),
        (0.5 - 1j, Const(2.0)), (-0.25 + 0.5j, Const(-1.0)),
        value=lambda z, c: np.exp(c * z), derivative=lambda z, c: c * np.exp(c * z),
        holomorphic=True, operators=("derivative",),
    ),
    Scenario(
        "complex argument: holomorphic, tall",
        lambda z: namespace(z).concat([z**2, namespace(z).exp(z)]),
        (Z,), (OTHER_Z,),
        value=lambda z: np.concatenate([z**2, np.exp(z)]),
        jacobian=lambda z: np.concatenate([np.diag(2 * z), np.diag(np.exp(z))]),
        holomorphic=True,
    ),
    Scenario(
        "complex argument: holomorphic, wide",
        lambda z: z[:1] * z[1:2] ** 2 + 1j * z[2:],
        (Z,), (OTHER_Z,),
        value=lambda z: z[:1] * z[1:2] ** 2 + 1j * z[2:],
        jacobian=lambda z: np.array([[z[1] ** 2, 2 * z[0] * z[1], 1j]]),
        holomorphic=True, operators=("jacobian",),
    ),
    Scenario(
        "not analytic: real to complex number",
        lambda t: namespace(t).exp(1j * t),
        (0.5,), (-1.25,),
        value=lambda t: np.exp(1j * t), derivative=lambda t: 1j * np.exp(1j * t),
        second_derivative=lambda t: -np.exp(1j * t),
    ),
    Scenario(
        "not analytic: real to complex vector",
        lambda x: x * namespace(x).exp(1j * x),
        (REAL,), (OTHER_REAL,),
        value=lambda x: x * np.exp(1j * x),
        jacobian=lambda x: np.diag((1 + 1j * x) * np.exp(1j * x)),
    ),
    Scenario(
        "not analytic: wide real to complex",
        lambda x: x[:1] * x[1:] + 1j * x[:1] ** 2,
        (REAL,), (OTHER_REAL,),
        value=lambda x: x[:1] * x[1:] + 1j * x[:1] ** 2,
        jacobian=lambda x: np.array([[x[1] + 2j * x[0], x[0]]]),
        operators=("jacobian",),
    ),
    Scenario(
        "not analytic: through the complex plane",
        lambda x: namespace(x).sum(namespace(x).abs(namespace(x).exp(1j * x) * x) ** 2),
        (REAL,), (OTHER_REAL,),
        value=lambda x: np.sum(x**2), gradient=lambda x: 2 * x, hessian=lambda x: 2 * np.eye(2),
        operators=("gradient", "hessian", "hvp"),
    ),
)  # fmt: skip
