"""Stiff ordinary differential equations: solve_ivp with an exact Jacobian.

The problem is that of H. H. Robertson, The solution of a set of reaction rate equations, 1966.

Needs: pip install 'diffface[jax]' scipy matplotlib
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

import diffface as dif


def rate(t, y, k):
    """Rates of three concentrations; lists, as in SciPy, are fine."""
    slow = k[0] * y[0] - k[2] * y[1] * y[2]
    fast = k[1] * y[1] ** 2
    return [-slow, slow - fast, fast]


k = np.array([0.04, 3e7, 1e4])
# With argnums=1, y is what the Jacobian is taken by; rhs and rhs_jac are called as f(t, y, ...).
problem = dif.residuals(rate, 0.0, [1.0, 0.0, 0.0], k, argnums=1, backend="jax")
solution = solve_ivp(
    problem.rhs, (0, 40), problem.x0, method="BDF", jac=problem.rhs_jac, rtol=1e-6, atol=1e-10
)
print("concentrations at t = 40:", solution.y[:, -1])
print("evaluations:", dict(problem.counts))

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
for concentration, scale, name in zip(solution.y, (1, 1e4, 1), "ABC", strict=True):
    label = name if scale == 1 else rf"{name} $\times$ {scale:.0f}"
    axes.semilogx(solution.t[1:], scale * concentration[1:], label=label)
axes.set(xlabel="time", ylabel="concentration")
axes.legend()
plt.show()
