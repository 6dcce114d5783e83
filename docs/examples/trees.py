"""Parameters in a dataclass, with bounds and a callback in the same structure.

Needs: pip install 'diffface[autograd]' scipy matplotlib
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

import diffface as dif


@dataclass
class Peak:
    """A Gaussian peak."""

    height: float
    position: float
    width: float


@dataclass
class Spectrum:
    """Two peaks on a background, a polynomial with the coefficients ``background``."""

    peaks: list[Peak]
    background: np.ndarray


def model(spectrum, x):
    """Intensity at every ``x``."""
    xp = dif.namespace(spectrum.background)
    y = sum(c * x**k for k, c in enumerate(spectrum.background))
    for peak in spectrum.peaks:
        y = y + peak.height * xp.exp(-0.5 * ((x - peak.position) / peak.width) ** 2)
    return y


def loss(spectrum, x, y):
    """Sum of squares."""
    return ((model(spectrum, x) - y) ** 2).sum()


x = np.linspace(0.0, 10.0, 101)
true = Spectrum([Peak(3.0, 2.5, 0.5), Peak(2.0, 6.0, 1.0)], np.array([1.0, 0.1]))
start = Spectrum([Peak(1.0, 2.0, 1.0), Peak(1.0, 7.0, 1.0)], np.zeros(2))
positive = Spectrum([Peak(0.0, None, 0.1), Peak(0.0, None, 0.1)], None)
widths = []


def watch(spectrum):
    """Called with the spectrum after every iteration."""
    widths.append(spectrum.peaks[0].width)


problem = dif.objective(loss, start, x, model(true, x), backend="autograd")
result = minimize(
    problem.fun,
    problem.x0,
    jac=problem.jac,
    method="L-BFGS-B",
    bounds=problem.bounds(lower=positive),
    callback=problem.callback(watch),
    options={"ftol": 1e-15, "gtol": 1e-10},
)
found = problem.unravel(result.x)
print(found)
print("the first peak's width on the way:", np.round(widths[:5], 3))

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(x, model(true, x), ".", label="spectrum")
axes.plot(x, model(start, x), ":", label="start")
axes.plot(x, model(found, x), label="found")
axes.set(xlabel="x", ylabel="intensity")
axes.legend()
plt.show()
