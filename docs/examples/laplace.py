"""A Laplace approximation: a posterior as the Gaussian at its mode, and the evidence.

Soldiers of the Prussian cavalry who were killed by horses, in 20 years in each of 10 corps (L. von
Bortkiewicz, Das Gesetz der kleinen Zahlen, 1898), are counts of Poisson's law with one rate. With a
gamma prior everything is known exactly, so that the approximation may be judged.

Needs: pip install 'diffface[autograd]' scipy matplotlib
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import gamma

import diffface as dif

counts = np.repeat([0, 1, 2, 3, 4], [109, 65, 22, 3, 1]).astype(float)
a, b = 2.0, 2.0  # the prior: rate ~ Gamma(a, b)


def log_p(rate, counts, constant):
    """Log of likelihood times prior."""
    xp = dif.namespace(rate)
    n, total = counts.size, counts.sum()
    return (total + a - 1) * xp.log(rate) - (n + b) * rate + constant


constant = a * np.log(b) - gammaln(a) - gammaln(counts + 1).sum()
# The rate is positive: the Gaussian is one of its logarithm, and the log-Jacobian is added.
density = dif.log_density(
    log_p, np.asarray(1.0), counts, constant, transforms=dif.positive, backend="autograd"
)
mode = minimize(lambda x: -density.logdensity(x), density.x0, jac=lambda x: -density.gradient(x)).x
precision = -density.hessian(mode)
# Log evidence: the integral of the Gaussian that has this height and this precision.
_, log_det = np.linalg.slogdet(precision / (2 * np.pi))
evidence = density.logdensity(mode) - 0.5 * log_det

n, total = counts.size, counts.sum()
exact = constant + gammaln(total + a) - (total + a) * np.log(n + b)
deviation = np.sqrt(np.linalg.inv(precision)[0, 0])

print(f"log evidence: {evidence:.4f}, exactly {exact:.4f}")
print(f"rate: {density.unravel(mode):.4f}, to a factor of {np.exp(deviation):.3f}")

rates = np.linspace(0.45, 0.85, 200)
by_laplace = np.exp(-0.5 * ((np.log(rates) - mode[0]) / deviation) ** 2)
by_laplace /= rates * deviation * np.sqrt(2 * np.pi)
figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(rates, gamma.pdf(rates, total + a, scale=1 / (n + b)), label="exact")
axes.plot(rates, by_laplace, "--", label="by Laplace")
axes.set(xlabel="deaths a year in a corps", ylabel="posterior density")
axes.legend()
plt.show()
