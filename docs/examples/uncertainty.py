"""Uncertainties of results: a covariance carried through a Jacobian.

To first order the covariance of y = f(x) is J C Jᵀ, where C is that of x and J the Jacobian; see
the Guide to the Expression of Uncertainty in Measurement (JCGM 100:2008), section 5.2 and its
example H.2, which this is: resistance, reactance and impedance from a voltage, a current and their
phase, measured together. The package uncertainties does the same to functions of its own.

Needs: pip install 'diffface[jax]' uncertainties
"""

import numpy as np
from uncertainties import correlated_values, covariance_matrix, umath

import diffface as dif

# Table H.2: means of five measurements of V in volts, I in amperes and phi in radians, standard
# deviations of the means, and correlations.
x = np.array([4.9990, 19.661e-3, 1.04446])
deviations = np.array([0.0032, 0.0095e-3, 0.00075])
correlations = np.array([[1.0, -0.36, 0.86], [-0.36, 1.0, -0.65], [0.86, -0.65, 1.0]])
covariance = correlations * np.outer(deviations, deviations)


def impedance(x):
    """R, X and Z in ohms."""
    xp = dif.namespace(x)
    v, i, phi = x[0], x[1], x[2]
    return xp.stack([v / i * xp.cos(phi), v / i * xp.sin(phi), v / i])


y, jacobian = dif.value_and_jacobian(impedance, x, backend="jax")
carried = jacobian @ covariance @ jacobian.T

v, i, phi = correlated_values(x, covariance)
other = covariance_matrix([v / i * umath.cos(phi), v / i * umath.sin(phi), v / i])

uncertainties = np.sqrt(np.diag(carried))
for name, value, uncertainty in zip("RXZ", y, uncertainties, strict=True):
    print(f"{name} = {value:7.3f} ± {uncertainty:.3f} ohm")
print("correlation of R and X:", (carried[0, 1] / uncertainties[0] / uncertainties[1]).round(2))
print("largest difference from uncertainties:", np.abs(carried - np.array(other)).max())
