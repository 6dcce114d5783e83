"""Numbers, vectors and matrices to each other, each multiplied by a constant that may change.

The functions, points and seeds are those of DifferentiationInterfaceTest (``src/scenarios/`` of
JuliaDiff/DifferentiationInterface.jl 82b57f81, MIT), with arrays in C order.
"""

from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.prep.arguments.const import Const
from diffface.testing.closed_form.scenario import Scenario

VECTOR = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
MATRIX = VECTOR.reshape(2, 3)
OTHER = np.array([0.3, -1.2, 0.7, 2.1, -0.4, 1.5])
ONE, ANOTHER = Const(1.0), Const(-3.0)


def vector_of_number(x: Any, a: Any) -> Any:
    """``a sin([1, 2] x)``."""
    xp = namespace(x)
    return a * xp.stack([xp.sin(x), xp.sin(2 * x)])


def matrix_of_number(x: Any, a: Any) -> Any:
    """Columns ``a sin([1, 2] x)`` and ``a sin([1, 2] 3 x)``."""
    xp = namespace(x)
    rows = [xp.stack([xp.sin(k * x), xp.sin(3 * k * x)]) for k in (1, 2)]
    return a * xp.stack(rows)


def number_of_array(x: Any, a: Any) -> Any:
    """``a sum_ij x_i^4 x_j^6``."""
    xp = namespace(x)
    return a * (xp.sum(x**4) * xp.sum(x**6))


def _gradient(x: Any, a: Any) -> Any:
    return a * (4 * x**3 * np.sum(x**6) + 6 * x**5 * np.sum(x**4))


def _hessian(x: Any, a: Any) -> Any:
    v = np.ravel(x)
    mixed = 24 * np.outer(v**3, v**5)
    diagonal = np.diag(12 * v**2 * np.sum(v**6) + 30 * v**4 * np.sum(v**4))
    return np.reshape(a * (mixed + mixed.T + diagonal), x.shape * 2)


def vector_of_array(x: Any, a: Any) -> Any:
    """``a`` times all sines, then all cosines."""
    xp = namespace(x)
    v = xp.reshape(x, (-1,))
    return a * xp.concat([xp.sin(v), xp.cos(v)])


def matrix_of_array(x: Any, a: Any) -> Any:
    """``a`` times sines in one column, cosines in the other."""
    xp = namespace(x)
    v = xp.reshape(x, (-1,))
    return a * xp.stack([xp.sin(v), xp.cos(v)], axis=1)


def _jacobian_to_vector(x: Any, a: Any) -> Any:
    v = np.ravel(x)
    return np.reshape(
        a * np.concatenate([np.diag(np.cos(v)), np.diag(-np.sin(v))]), (2 * v.size, *x.shape)
    )


def _jacobian_to_matrix(x: Any, a: Any) -> Any:
    v = np.ravel(x)
    blocks = a * np.stack([np.diag(np.cos(v)), np.diag(-np.sin(v))], axis=1)
    return np.reshape(blocks, (v.size, 2, *x.shape))


RATES = np.array([1.0, 2.0])
GRID = np.outer([1.0, 2.0], [1.0, 3.0])
SEED = np.array([-5.0, 6.0, 1.5, 2.0, -1.0, 3.0])

SCENARIOS = (
    Scenario(
        "number to number",
        lambda x, a: a * namespace(x).sin(x),
        (0.42, ONE), (1.3, ANOTHER),
        value=lambda x, a: a * np.sin(x),
        derivative=lambda x, a: a * np.cos(x),
        second_derivative=lambda x, a: -a * np.sin(x),
        tangents=3.14, cotangents=-1 / 12, core=True,
    ),
    Scenario(
        "number to vector",
        vector_of_number,
        (0.42, ONE), (1.3, ANOTHER),
        value=lambda x, a: a * np.sin(RATES * x),
        derivative=lambda x, a: a * RATES * np.cos(RATES * x),
        second_derivative=lambda x, a: -a * RATES**2 * np.sin(RATES * x),
        tangents=3.14, cotangents=np.array([-3.0, 4.0]), core=True,
    ),
    Scenario(
        "number to matrix",
        matrix_of_number,
        (0.42, ONE), (1.3, ANOTHER),
        value=lambda x, a: a * np.sin(GRID * x),
        derivative=lambda x, a: a * GRID * np.cos(GRID * x),
        second_derivative=lambda x, a: -a * GRID**2 * np.sin(GRID * x),
        tangents=3.14, cotangents=np.array([[-3.0, 4.0], [7.0, -1.0]]),
    ),
    Scenario(
        "vector to number",
        number_of_array,
        (VECTOR, ONE), (OTHER, ANOTHER),
        value=lambda x, a: a * (np.sum(x**4) * np.sum(x**6)),
        gradient=_gradient, hessian=_hessian, tangents=SEED, core=True,
    ),
    Scenario(
        "matrix to number",
        number_of_array,
        (MATRIX, ONE), (OTHER.reshape(2, 3), ANOTHER),
        value=lambda x, a: a * (np.sum(x**4) * np.sum(x**6)),
        gradient=_gradient, hessian=_hessian, tangents=SEED.reshape(2, 3),
    ),
    Scenario(
        "vector to vector",
        vector_of_array,
        (VECTOR, ONE), (OTHER, ANOTHER),
        value=lambda x, a: a * np.concatenate([np.sin(x), np.cos(x)]),
        jacobian=_jacobian_to_vector, tangents=SEED,
    ),
    Scenario(
        "vector to matrix",
        matrix_of_array,
        (VECTOR, ONE), (OTHER, ANOTHER),
        value=lambda x, a: a * np.stack([np.sin(x), np.cos(x)], axis=1),
        jacobian=_jacobian_to_matrix, tangents=SEED,
    ),
    Scenario(
        "matrix to vector",
        vector_of_array,
        (MATRIX, ONE), (OTHER.reshape(2, 3), ANOTHER),
        value=lambda x, a: a * np.concatenate([np.sin(x).ravel(), np.cos(x).ravel()]),
        jacobian=_jacobian_to_vector, tangents=SEED.reshape(2, 3),
    ),
    Scenario(
        "matrix to matrix",
        matrix_of_array,
        (MATRIX, ONE), (OTHER.reshape(2, 3), ANOTHER),
        value=lambda x, a: a * np.stack([np.sin(x).ravel(), np.cos(x).ravel()], axis=1),
        jacobian=_jacobian_to_matrix, tangents=SEED.reshape(2, 3), core=True,
    ),
)  # fmt: skip
