"""Principal directions on a manifold, by pymanopt with exact gradients and Hessians.

The three directions in which data vary most span the subspace that keeps most of their variance; it
is found on the manifold of subspaces, and known from the eigenvectors. (When it is imported,
pymanopt switches JAX to 64 bits for the whole process; diffface needs no such switch.)

Needs: pip install 'diffface[torch]' pymanopt
"""

import numpy as np
import pymanopt
from pymanopt.manifolds import Grassmann
from pymanopt.optimizers import TrustRegions

import diffface as dif

rng = np.random.default_rng(0)
data = rng.normal(size=(200, 8)) * np.arange(8, 0, -1)
covariance = data.T @ data / 200
manifold = Grassmann(8, 3)


def lost(w, covariance):
    """Less the variance that the columns of w keep, shape (8, 3)."""
    return -dif.namespace(w).sum(w * (covariance @ w))


w0 = np.linalg.qr(rng.normal(size=(8, 3)))[0]
gradient = dif.prepare_gradient(lost, w0, dif.Const(covariance), backend="torch")
hvp = dif.prepare_hvp(lost, w0, dif.Const(covariance), backend="torch")

problem = pymanopt.Problem(
    manifold,
    pymanopt.function.numpy(manifold)(lambda w: float(lost(w, covariance))),
    euclidean_gradient=pymanopt.function.numpy(manifold)(lambda w: gradient(w, covariance)),
    euclidean_hessian=pymanopt.function.numpy(manifold)(
        lambda w, v: hvp(w, covariance, tangents=v)
    ),
)
result = TrustRegions(verbosity=0).run(problem, initial_point=w0)
kept = -result.cost
best = np.linalg.eigvalsh(covariance)[-3:].sum()

print(f"variance kept: {kept:.6f} of at most {best:.6f}")
print("iterations:", result.iterations)
