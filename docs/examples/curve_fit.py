"""A curve fitted three ways: curve_fit, least_squares, and least_squares without any matrix.

Needs: pip install 'diffface[torch]' scipy matplotlib
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import curve_fit, least_squares

import diffface as dif

t = np.linspace(0.0, 4.0, 60)
y = 2.5 * np.exp(-1.3 * t) * np.cos(5.0 * t) + 0.05 * np.random.default_rng(0).normal(size=t.size)


def wave(t, amplitude, decay, frequency):
    """A damped oscillation."""
    xp = dif.namespace(amplitude)
    return amplitude * xp.exp(-decay * t) * xp.cos(frequency * t)


# curve_fit passes every parameter by itself: argnums says which arguments they are.
curve = dif.residuals(wave, t, 1.0, 1.0, 4.5, argnums=(1, 2, 3), backend="torch")
found, covariance = curve_fit(curve.curve, t, y, p0=curve.x0, jac=curve.curve_jac)

# least_squares takes residuals, here of parameters in a dict.
start = {"amplitude": 1.0, "decay": 1.0, "frequency": 4.5}


def misfit(parameters, t, y):
    """Residuals."""
    return wave(t, **parameters) - y


fit = dif.residuals(misfit, start, t, y, backend="torch")
dense = least_squares(fit.fun, fit.x0, jac=fit.jac)

# For many parameters: products with the Jacobian and its transpose instead of the matrix.
products = dif.residuals(misfit, start, t, y, as_operator=True, backend="torch")
sparse = least_squares(products.fun, products.x0, jac=products.jac, tr_solver="lsmr")

print("curve_fit:         ", found, "+-", np.sqrt(np.diag(covariance)))
print("least_squares:     ", fit.unravel(dense.x))
print("without the matrix:", products.unravel(sparse.x), dict(products.counts))

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(t, y, ".", label="measured")
axes.plot(t, wave(t, *found), label="fitted")
axes.set(xlabel="t", ylabel="y")
axes.legend()
plt.show()
