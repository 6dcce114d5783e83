"""A loss with data, minimized by SciPy: one argument to replace.

Needs: pip install 'diffface[jax]' scipy
"""

import numpy as np
from scipy.optimize import minimize

import diffface as dif

rng = np.random.default_rng(0)
features = rng.normal(size=(200, 5))
labels = (features @ [1.0, -2.0, 0.0, 3.0, 0.5] + rng.logistic(size=200) > 0).astype(float)


def loss(w, features, labels):
    """Negative log likelihood of a logistic regression, with a Gaussian prior."""
    xp = dif.namespace(w)
    scores = features @ w
    return xp.sum(xp.logaddexp(scores * 0, scores) - labels * scores) + 0.5 * xp.sum(w**2)


# Before: SciPy's finite differences, six evaluations for one gradient.
before = minimize(loss, np.zeros(5), args=(features, labels))

# A prepared gradient takes the arguments of the loss, so it drops in as it is.
gradient = dif.prepare_gradient(
    loss, np.zeros(5), dif.Const(features), dif.Const(labels), backend="jax"
)
after = minimize(loss, np.zeros(5), args=(features, labels), jac=gradient)

# An objective has everything that any method asks for, and shares work between value and gradient.
problem = dif.objective(loss, np.zeros(5), features, labels, backend="jax")
newton = minimize(
    problem.fun, problem.x0, jac=problem.jac, hessp=problem.hessp, method="trust-krylov"
)

print("weights:                 ", after.x.round(4))
print("evaluations without diffface:", before.nfev)
print("evaluations by BFGS:     ", after.nfev)
print("evaluations by trust-krylov:", dict(problem.counts))
