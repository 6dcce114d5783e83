"""Complex numbers: arguments, results, holomorphic functions and functions that are not."""

from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.prep.arguments.const import Const
from diffface.testing.closed_form.scenario import Scenario

Z, OTHER_Z = np.array([1 + 1j, -0.5 + 2j, 0.25 - 1j]), np.array([0.3 - 1j, 1.5j, -2.0 + 0.5j])
X, OTHER_X = np.array([0.5, -1.0]), np.array([1.25, 0.75])
SEEDED = ("pushforward", "pullback")


def mixed(p: Any) -> Any:
    """``sum_k r_k |z_k|^2`` of a tree of real and complex leaves."""
    xp = namespace(p["z"])
    return xp.sum(p["r"] * xp.real(xp.conj(p["z"]) * p["z"]))


SCENARIOS = (
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
        ({"z": Z[:2], "r": X},), ({"z": OTHER_Z[:2], "r": OTHER_X},),
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
        (X,), (OTHER_X,),
        value=lambda x: x * np.exp(1j * x),
        jacobian=lambda x: np.diag((1 + 1j * x) * np.exp(1j * x)),
    ),
    Scenario(
        "not analytic: wide real to complex",
        lambda x: x[:1] * x[1:] + 1j * x[:1] ** 2,
        (X,), (OTHER_X,),
        value=lambda x: x[:1] * x[1:] + 1j * x[:1] ** 2,
        jacobian=lambda x: np.array([[x[1] + 2j * x[0], x[0]]]),
        operators=("jacobian",),
    ),
    Scenario(
        "not analytic: through the complex plane",
        lambda x: namespace(x).sum(namespace(x).abs(namespace(x).exp(1j * x) * x) ** 2),
        (X,), (OTHER_X,),
        value=lambda x: np.sum(x**2), gradient=lambda x: 2 * x, hessian=lambda x: 2 * np.eye(2),
        operators=("gradient", "hessian", "hvp"),
    ),
)  # fmt: skip
