"""A special function of SciPy in a JAX model: the current of a solar cell, by Lambert's W.

A cell is a source of light current, a diode and two resistances. Its current solves an equation of
which W is the solution in closed form (Jain and Kapoor, Solar Energy Materials and Solar Cells 81,
2004). The measurements are those of Easwarakhanthan et al., International Journal of Solar Energy
4, 1986, at 33 °C; the best fit known leaves a root mean square of 7.7301e-4 A.

Needs: pip install 'diffface[jax]' scipy
"""

import jax.numpy as jnp
import numpy as np
from scipy import special
from scipy.optimize import least_squares

import diffface as dif

voltage = np.array([
    -0.2057, -0.1291, -0.0588, 0.0057, 0.0646, 0.1185, 0.1678, 0.2132, 0.2545, 0.2924, 0.3269,
    0.3585, 0.3873, 0.4137, 0.4373, 0.4590, 0.4784, 0.4960, 0.5119, 0.5265, 0.5398, 0.5521,
    0.5633, 0.5736, 0.5833, 0.5900,
])  # fmt: skip
current = np.array([
    0.7640, 0.7620, 0.7605, 0.7605, 0.7600, 0.7590, 0.7570, 0.7570, 0.7555, 0.7540, 0.7505,
    0.7465, 0.7385, 0.7280, 0.7065, 0.6755, 0.6320, 0.5730, 0.4990, 0.4130, 0.3165, 0.2120,
    0.1035, -0.0100, -0.1230, -0.2100,
])  # fmt: skip
thermal = 1.380649e-23 * 306.15 / 1.602176634e-19  # volts, at 33 °C

# JAX has no W. Its derivative is W / (x (1 + W)).
lambertw = dif.elementwise(
    lambda x: special.lambertw(x).real, lambda x: lambertw(x) / (x * (1 + lambertw(x)))
)


def residuals(p):
    """Modelled less measured currents, for p = (light, log10 of saturation, quality, Rs, Rsh)."""
    light, saturation, quality, series, shunt = p[0], 10 ** p[1], p[2], p[3], p[4]
    scale, total = quality * thermal, series + shunt
    exponent = shunt * (series * (light + saturation) + voltage) / (scale * total)
    w = lambertw(series * saturation * shunt / (scale * total) * jnp.exp(exponent))
    return (shunt * (light + saturation) - voltage) / total - scale / series * w - current


problem = dif.residuals(residuals, np.array([0.7, -6.0, 1.5, 0.02, 20.0]), backend="jax")
fit = least_squares(problem.fun, problem.x0, problem.jac, x_scale="jac", xtol=1e-12, ftol=1e-12)
rms = np.sqrt(np.mean(fit.fun**2))

print(f"light current {fit.x[0]:.4f} A, saturation {10 ** fit.x[1]:.3e} A, quality {fit.x[2]:.4f}")
print(f"series resistance {fit.x[3]:.5f} Ω, shunt resistance {fit.x[4]:.2f} Ω")
print(f"root mean square {rms:.4e} A after {fit.njev} Jacobians")
