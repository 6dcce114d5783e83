"""nlopt, which passes an array to write the gradient into.

Needs: pip install 'diffface[autograd]' nlopt
"""

import nlopt
import numpy as np

import diffface as dif


def rosenbrock(x):
    """Its minimum is at ones."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


problem = dif.objective(rosenbrock, np.full(20, -0.5), backend="autograd")
optimizer = nlopt.opt(nlopt.LD_LBFGS, problem.x0.size)
optimizer.set_min_objective(problem.nlopt)
optimizer.set_xtol_rel(1e-8)
found = optimizer.optimize(problem.x0)
print("by objective:", found[:3], dict(problem.counts))

# The same by hand, for those who write their own function.
both = dif.prepare_value_and_gradient(rosenbrock, problem.x0, backend="autograd")


def f(x, grad):
    """Value of rosenbrock; its gradient goes into ``grad``, unless nlopt needs none."""
    value, gradient = both(x)
    if grad.size:
        grad[:] = gradient
    return float(value)


optimizer = nlopt.opt(nlopt.LD_SLSQP, problem.x0.size)
optimizer.set_min_objective(f)
optimizer.set_xtol_rel(1e-8)
by_hand = optimizer.optimize(problem.x0)
print("by hand:     ", by_hand[:3])
