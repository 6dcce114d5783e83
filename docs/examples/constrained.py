"""A nonlinear constraint with exact Jacobian and Hessian: the largest box of a given surface.

Needs: pip install 'diffface[jax]' scipy
"""

import numpy as np
from scipy.optimize import minimize

import diffface as dif

start = {"base": np.array([1.0, 2.0]), "height": 1.0}


def minus_volume(box):
    """What to minimize."""
    return -box["base"][0] * box["base"][1] * box["height"]


def surface(box, lid):
    """Area of the walls and the floor, and of the lid if there is one."""
    a, b = box["base"]
    return 2 * (a + b) * box["height"] + (1.0 + lid) * a * b


for lid in (1.0, 0.0):
    problem = dif.objective(minus_volume, start, backend="jax")
    limit = dif.constraint(surface, 0.0, 12.0, start, lid, backend="jax")
    result = minimize(
        problem.fun,
        problem.x0,
        jac=problem.jac,
        hess=problem.hess,
        method="trust-constr",
        constraints=limit,
        bounds=problem.bounds(lower=0.1),
        options={"gtol": 1e-10},
    )
    box = problem.unravel(result.x)
    print(f"lid {lid:.0f}: base {box['base'].round(4)}, height {box['height']:.4f}")
