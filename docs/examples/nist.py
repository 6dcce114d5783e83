"""Two published curve fits with one residual, and a Jacobian by every backend installed.

The problems are the nonlinear regressions Misra1a (difficulty "lower") and Thurber ("higher") of
the NIST Statistical Reference Datasets, https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml:
data, models, first starting values, certified parameters and certified residual sums of squares.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares

import diffface as dif


class Problem(NamedTuple):
    """A nonlinear regression: ``y = model(b, x) + noise``."""

    name: str
    model: Callable[[Any, Any], Any]
    start: list[float]
    certified: list[float]
    certified_sum_of_squares: float
    x: np.ndarray
    y: np.ndarray


def misra1a(b, x):  # adsorbed volume over pressure
    xp = dif.namespace(b)  # NumPy, jax.numpy, torch, ...: whichever `b` is an array of
    return b[0] * (1 - xp.exp(-b[1] * x))


def thurber(b, x):  # electron mobility over the logarithm of the density
    return (b[0] + x * (b[1] + x * (b[2] + x * b[3]))) / (1 + x * (b[4] + x * (b[5] + x * b[6])))


def residuals(b, model, x, y):
    return model(b, x) - y


def fit(problem: Problem, backend: str) -> tuple[float, Any]:
    """Seconds for one Jacobian, and SciPy's solution with Jacobians by ``backend``."""
    start, data = np.array(problem.start), (problem.model, problem.x, problem.y)
    jacobian = dif.prepare_jacobian(residuals, start, *map(dif.Const, data), backend=backend)
    solution = least_squares(
        residuals, start, jacobian, args=data, x_scale="jac", ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    return seconds(lambda: jacobian(start, *data)), solution


def seconds(call: Callable[[], object], calls: int = 50, rounds: int = 5) -> float:
    """Time of one call: the mean over ``calls``, the best of ``rounds``."""

    def mean() -> float:
        began = perf_counter()
        for _ in range(calls):
            call()
        return (perf_counter() - began) / calls

    return min(mean() for _ in range(rounds))


def digits(found: np.ndarray, certified: list[float]) -> float:
    """Digits in which every parameter agrees: NIST's LRE, at most the 11 that are certified."""
    error = np.abs(found - certified) / np.abs(certified)
    return float(np.min(-np.log10(np.maximum(error, 1e-11))))


def columns(text: str) -> np.ndarray:
    """``y`` and ``x`` from pairs, as NIST prints them."""
    return np.array(text.split(), float).reshape(-1, 2).T


MISRA1A_Y, MISRA1A_X = columns("""
    10.07  77.6   14.73 114.9   17.94 141.1   23.93 190.8   29.61 239.9   35.18 289.0   40.02 332.8
    44.82 378.4   50.76 434.8   55.05 477.3   61.01 536.8   66.40 593.1   75.47 689.1   81.78 760.0
""")
THURBER_Y, THURBER_X = columns("""
      80.574 -3.067     84.248 -2.981     87.264 -2.921     87.195 -2.912     89.076 -2.840
      89.608 -2.797     89.868 -2.702     90.101 -2.699     92.405 -2.633     95.854 -2.481
     100.696 -2.363    101.060 -2.322    401.672 -1.501    390.724 -1.460    567.534 -1.274
     635.316 -1.212    733.054 -1.100    759.087 -1.046    894.206 -0.915    990.785 -0.714
    1090.109 -0.566   1080.914 -0.545   1122.643 -0.400   1178.351 -0.309   1260.531 -0.109
    1273.514 -0.103   1288.339  0.010   1327.543  0.119   1353.863  0.377   1414.509  0.790
    1425.208  0.963   1421.384  1.006   1442.962  1.115   1464.350  1.572   1468.705  1.841
    1447.894  2.047   1457.628  2.200
""")
PROBLEMS = (
    Problem(
        "Misra1a", misra1a, [500, 0.0001], [2.3894212918e02, 5.5015643181e-04], 1.2455138894e-01,
        MISRA1A_X, MISRA1A_Y,
    ),
    Problem(
        "Thurber", thurber, [1000, 1000, 400, 40, 0.7, 0.3, 0.03],
        [1.2881396800e03, 1.4910792535e03, 5.8323836877e02, 7.5416644291e01,
         9.6629502864e-01, 3.9797285797e-01, 4.9727297349e-02], 5.6427082397e03,
        THURBER_X, THURBER_Y,
    ),
)  # fmt: skip

if __name__ == "__main__":
    for problem in PROBLEMS:
        for backend in ("jax","torch","autograd","numpy","complex-step"):
            time, solution = fit(problem, backend)
            rss = 2 * solution.cost
            print(f"{problem.name:<8} {backend:<13} {1e6*time:9.1f} {solution.nfev:4d} {solution.njev:4d}  {rss:.10e} {digits(solution.x, problem.certified):5.1f}")
