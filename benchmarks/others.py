"""The same derivatives by tools that diffface has no backend for, and by other hands.

Each function returns a callable that takes nothing and does the work of one derivative.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cells import rosenbrock


def casadi_gmm(args: tuple[Any, ...]) -> Callable[[], Any]:
    """ADBench's GMM by CasADi's matrix expressions; a gradient as one vector.

    Without the constant of the objective, which has no derivative.
    """
    import casadi as ca

    alphas, means, icf, points, gamma, m = args
    k, d = means.shape
    n = len(points)
    x = ca.MX.sym("x", alphas.size + means.size + icf.size)
    # CasADi's matrices go column by column.
    a, rest = x[:k], x[k:]
    mu, q = ca.reshape(rest[: k * d], d, k), ca.reshape(rest[k * d :], icf.shape[1], k)
    data = ca.DM(points)
    below = [(i, j) for j in range(d) for i in range(j + 1, d)]
    exponents = []
    for c in range(k):
        factor = ca.diag(ca.exp(q[:d, c]))
        if below:
            where = ca.Sparsity.triplet(d, d, [i for i, _ in below], [j for _, j in below])
            factor = factor + ca.MX(where, q[d:, c])
        residuals = (data - ca.repmat(mu[:, c].T, n, 1)) @ factor.T
        exponents.append(a[c] + ca.sum1(q[:d, c]) - 0.5 * ca.sum2(residuals**2))
    table = ca.horzcat(*exponents)
    largest = exponents[0]
    for column in exponents[1:]:
        largest = ca.fmax(largest, column)
    each = ca.log(ca.sum2(ca.exp(table - ca.repmat(largest, 1, k)))) + largest
    squares = ca.sumsqr(ca.exp(q[:d, :])) + ca.sumsqr(q[d:, :])
    prior = 0.5 * gamma**2 * squares - m * ca.sum1(ca.sum2(q[:d, :]))
    objective = ca.sum1(each) - n * ca.logsumexp(a) + prior
    gradient = ca.Function("gradient", [x], [ca.gradient(objective, x)])
    at = np.concatenate([alphas, means.ravel(), icf.ravel()])
    return lambda: gradient(at).full()


def torch_double_backward(x: Any, v: Any) -> Callable[[], Any]:
    """A Hessian-vector product of Rosenbrock's function, reverse over reverse."""
    import torch

    def product() -> Any:
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(rosenbrock(leaf), leaf, create_graph=True)
        return torch.autograd.grad(gradient, leaf, v)[0]

    return product


def numdifftools_gradient(f: Callable[..., Any], x: Any) -> Callable[[], Any]:
    """A gradient by numdifftools: central differences, extrapolated adaptively."""
    import numdifftools

    gradient = numdifftools.Gradient(f)
    return lambda: gradient(x)
