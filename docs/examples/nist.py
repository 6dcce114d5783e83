"""Two published curve fits: one model for each, its Jacobian by every installed backend.

The problems are Misra1a (difficulty "lower") and Thurber ("higher") of the NIST Statistical
Reference Datasets for nonlinear regression: data, models, first starting values, certified
parameters and certified residual sums of squares are copied from
https://www.itl.nist.gov/div898/strd/nls/data/misra1a.shtml and .../thurber.shtml.
"""

import timeit
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares

import diffface as dif


def misra1a(b, x):  # volume adsorbed at pressure x
    xp = dif.namespace(b)  # NumPy, jax.numpy, torch, ...: what `b` is an array of
    return b[0] * (1 - xp.exp(-b[1] * x))


def thurber(b, x):  # electron mobility at density exp(x); arithmetic alone needs no namespace
    return (b[0] + x * (b[1] + x * (b[2] + x * b[3]))) / (1 + x * (b[4] + x * (b[5] + x * b[6])))


class Problem(NamedTuple):
    """Find ``b`` such that ``model(b, x)`` is closest to ``y``."""

    model: Callable[[Any, Any], Any]
    start: list[float]
    certified: list[float]
    sum_of_squares: float
    data: str  # y and x in turns, as NIST prints them


class Fit(NamedTuple):
    """What one row of the table says."""

    seconds: float  # one call of the prepared Jacobian
    evaluations: int
    jacobians: int
    sum_of_squares: float
    digits: float


def fit(problem: Problem, backend: str) -> Fit:
    """Solve ``problem`` with SciPy, from NIST's start, with Jacobians by ``backend``."""

    def residuals(b, x, y):
        return problem.model(b, x) - y

    y, x = np.array(problem.data.split(), float).reshape(-1, 2).T
    start = np.array(problem.start)
    jacobian = dif.prepare_jacobian(residuals, start, dif.Const(x), dif.Const(y), backend=backend)
    found = least_squares(
        residuals, start, jac=jacobian, args=(x, y),
        x_scale="jac", ftol=1e-15, xtol=1e-15, gtol=1e-15,
    )  # fmt: skip
    seconds = min(timeit.repeat(lambda: jacobian(start, x, y), number=20, repeat=10)) / 20
    return Fit(seconds, found.nfev, found.njev, 2 * found.cost, digits(found.x, problem.certified))


def digits(found: np.ndarray, certified: list[float]) -> float:
    """Significant digits in which every parameter is right; 11 at most, as NIST certifies 11."""
    error = np.max(np.abs(found / certified - 1))
    return -np.log10(max(error, 1e-11))


PROBLEMS = {
    "Misra1a": Problem(
        model=misra1a,
        start=[500, 0.0001],
        certified=[2.3894212918e02, 5.5015643181e-04],
        sum_of_squares=1.2455138894e-01,
        data="""
            10.07  77.6   14.73 114.9   17.94 141.1   23.93 190.8   29.61 239.9   35.18 289.0
            40.02 332.8   44.82 378.4   50.76 434.8   55.05 477.3   61.01 536.8   66.40 593.1
            75.47 689.1   81.78 760.0
        """,
    ),
    "Thurber": Problem(
        model=thurber,
        start=[1000, 1000, 400, 40, 0.7, 0.3, 0.03],
        certified=[
            1.2881396800e03, 1.4910792535e03, 5.8323836877e02, 7.5416644291e01,
            9.6629502864e-01, 3.9797285797e-01, 4.9727297349e-02,
        ],
        sum_of_squares=5.6427082397e03,
        data="""
              80.574 -3.067     84.248 -2.981     87.264 -2.921     87.195 -2.912
              89.076 -2.840     89.608 -2.797     89.868 -2.702     90.101 -2.699
              92.405 -2.633     95.854 -2.481    100.696 -2.363    101.060 -2.322
             401.672 -1.501    390.724 -1.460    567.534 -1.274    635.316 -1.212
             733.054 -1.100    759.087 -1.046    894.206 -0.915    990.785 -0.714
            1090.109 -0.566   1080.914 -0.545   1122.643 -0.400   1178.351 -0.309
            1260.531 -0.109   1273.514 -0.103   1288.339  0.010   1327.543  0.119
            1353.863  0.377   1414.509  0.790   1425.208  0.963   1421.384  1.006
            1442.962  1.115   1464.350  1.572   1468.705  1.841   1447.894  2.047
            1457.628  2.200
        """,
    ),
}  # fmt: skip


def main() -> None:
    """Print the table."""
    print("problem  backend       Jacobian  evaluations  Jacobians  sum of squares    digits")
    for name, problem in PROBLEMS.items():
        for backend in (b.name for b in dif.list_backends() if b.available):
            row = fit(problem, backend)
            print(
                f"{name:8} {backend:12} {1e6 * row.seconds:6.0f} µs  {row.evaluations:11} "
                f"{row.jacobians:10}  {row.sum_of_squares:.10e}  {row.digits:6.1f}"
            )
        print(f"{name:8} {'certified':42}  {problem.sum_of_squares:.10e}")


if __name__ == "__main__":
    main()
