"""Functions whose patterns are easily got wrong, for every framework that can run them."""

import numpy as np

import diffface as dif

W = np.array([[1.0, 0, 0, 0], [0, 2, 0, 0], [0, 3, 4, 0], [5, 0, 0, 6]])
DUPLICATE = np.array([0, 0, 1, -1])
ORDER = np.array([2, 0, 1, 3])
N = 4


def xp_of(x):
    return dif.namespace(x)


def points(n, count=6):
    rng = np.random.default_rng(5)
    return [rng.uniform(-2, 2, n) for _ in range(count)]


def compiled(f, backend):
    """On jax, one compilation in place of one for each operation of an eager run."""
    if backend != "jax":
        return f
    import jax

    return jax.jit(f)


def tridiagonal(x):
    xp = xp_of(x)
    zero = xp.zeros_like(x[:1])
    return (3 - 2 * x) * x - xp.concat([zero, x[:-1]]) - 2 * xp.concat([x[1:], zero])


def where(x):
    return xp_of(x).where(x > 0, x, xp_of(x).flip(x) ** 2)


def maximum(x):
    return xp_of(x).maximum(x, xp_of(x).flip(x))


def by_order(x):
    xp = xp_of(x)
    return xp.take(x, xp.argsort(x))


def sort(x):
    return xp_of(x).sort(x)


def gathered(x):
    return x[ORDER] * x


def duplicates(x):
    return x[DUPLICATE] ** 2


def cumsum(x):
    return xp_of(x).cumulative_sum(x)


def product_with_zeros(x):
    xp = xp_of(x)
    return xp.matmul(xp.asarray(W), x)


def times_zero(x):
    xp = xp_of(x)
    return x * xp.asarray(np.array([0.0, 1, 1, 0])) + 0 * xp.flip(x)


def floor(x):
    return x + xp_of(x).floor(xp_of(x).flip(x))


def norm(x):
    return x / xp_of(x).sqrt(1 + xp_of(x).sum(x**2))


def mean(x):
    return x - xp_of(x).mean(x)


def outer(x):
    xp = xp_of(x)
    return xp.reshape(x, (-1, 1)) * xp.reshape(x, (1, -1))


def square_product(x):
    xp = xp_of(x)
    a = xp.reshape(x, (2, 2))
    return xp.matmul(a, a)


def constant(x):
    return xp_of(x).ones_like(x)


def one_row(x):
    return xp_of(x).sum(x**2)


def rows_that_are_empty(x):
    xp = xp_of(x)
    return xp.concat([xp.zeros_like(x[:2]), x[1:3] ** 2, xp.ones_like(x[:1])])


def solve(x):
    xp = xp_of(x)
    return xp.linalg.solve(xp.asarray(np.eye(N) + 0.1 * W), x)


def exponential(x):
    return xp_of(x).exp(-(xp_of(x).flip(x) ** 2))


JACOBIANS = [
    tridiagonal, where, maximum, by_order, sort, gathered, duplicates, cumsum, product_with_zeros,
    times_zero, floor, norm, mean, outer, square_product, constant, one_row, rows_that_are_empty,
    solve, exponential,
]  # fmt: skip


def rosenbrock(x):
    xp = xp_of(x)
    return xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def arrow(x):
    xp = xp_of(x)
    return xp.sum(xp.sin(x) * x[0]) + xp.sum(x**4)


def linear(x):
    return xp_of(x).sum(3 * x)


def zero_diagonal(x):
    return xp_of(x).sum(x[1:] * x[:-1])


def quotient(x):
    return xp_of(x).sum(x[:2] / (1 + x[2:] ** 2))


def of_a_product(x):
    return xp_of(x).prod(x)


def of_a_where(x):
    return xp_of(x).sum(xp_of(x).where(x > 0, x**3, x[0] * x))


def of_a_square_product(x):
    return xp_of(x).sum(square_product(x))


HESSIANS = [
    rosenbrock, arrow, linear, zero_diagonal, quotient, of_a_product, of_a_where,
    of_a_square_product,
]  # fmt: skip
