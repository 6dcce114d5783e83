"""Functions with few derivatives in each row: some that are met in practice, and random ones."""

import numpy as np

import diffface as dif

N = 1000
X = np.random.default_rng(0).uniform(0.5, 1.5, N)


def banded(x):
    xp = dif.namespace(x)
    zero = xp.zeros_like(x[:1])
    return (3 - 2 * x) * x - xp.concat([zero, x[:-1]]) - 2 * xp.concat([x[1:], zero]) + 1


def quotients(x):
    return x[1:] / x[:-1] + dif.namespace(x).sqrt(x[:-1])


def reaction(x):
    xp = dif.namespace(x)
    u, v = x[: N // 2], x[N // 2 :]
    flux = xp.concat([u[:1] * 0, u[1:] - u[:-1]])
    return xp.concat([u * v**2 + flux, xp.flip(v, axis=0) / (1 + u**2) + xp.exp(v)])


def springs(x):
    xp = dif.namespace(x)
    grid = xp.reshape(x[:961], (31, 31))
    down, across = grid[1:] - grid[:-1], grid[:, 1:] - grid[:, :-1]
    return xp.sum(down**4) + xp.sum(across**4) + xp.sum(x**2)


def hub(x):
    xp = dif.namespace(x)
    return xp.sum(xp.sin(x) * x[0] ** 2) + xp.sum(x**4)


FUNCTIONS = [
    *((f, dif.prepare_jacobian, dif.jacobian) for f in (banded, quotients, reaction)),
    *((f, dif.prepare_hessian, dif.hessian) for f in (springs, hub)),
]


class Chain:
    """Slices, pads, joins, moves, products and sums, at random."""

    def __init__(self, seed):
        self.seed, self.n = seed, int(np.random.default_rng(seed).integers(3, 30))

    def __call__(self, x):
        random, pool = np.random.default_rng(self.seed), [x]
        for _ in range(random.integers(3, 12)):
            u, v = (pool[random.integers(len(pool))] for _ in range(2))
            made = _STEPS[random.integers(len(_STEPS))](dif.namespace(x), u, v, random)
            pool.append(made[:60])
        return dif.namespace(x).concat(pool[-2:])


def number(random):
    return float(random.choice([1, -1, 2, -3, 0.5, 0.1, 4]))


def table(xp, u):
    side = int(u.shape[0] ** 0.5)
    return xp.reshape(u[: side * side], (side, side))


def mask(xp, u, random):
    return xp.asarray(random.choice([0.0, 1.0, -1.0, 2.0], u.shape[0]))


def common(u, v):
    least = min(u.shape[0], v.shape[0])
    return u[:least], v[-least:]


_STEPS = [
    lambda xp, u, v, random: common(u, v)[0] * common(u, v)[1],
    lambda xp, u, v, random: common(u, v)[0] + number(random) * common(u, v)[1],
    lambda xp, u, v, random: common(u, v)[0] / (2 + common(u, v)[1] ** 2),
    lambda xp, u, v, random: xp.concat([u[1:], xp.zeros_like(u[:1])]) - number(random) * u,
    lambda xp, u, v, random: xp.sin(u) * number(random),
    lambda xp, u, v, random: xp.concat([u, v]),
    lambda xp, u, v, random: xp.flip(u, axis=0),
    lambda xp, u, v, random: u[::2],
    lambda xp, u, v, random: xp.reshape(table(xp, u).T, (-1,)),
    lambda xp, u, v, random: xp.concat(
        [xp.reshape(table(xp, u)[1:] - table(xp, u)[:-1], (-1,)), v]
    ),
    lambda xp, u, v, random: u * mask(xp, u, random),
    lambda xp, u, v, random: u[xp.asarray(random.integers(0, u.shape[0], 20))] * v[0],
    lambda xp, u, v, random: xp.where(u > 0.3, u * v[:1], number(random) * u),
    lambda xp, u, v, random: number(random) - u,
    lambda xp, u, v, random: xp.reshape(xp.stack(common(u, v), axis=1), (-1,)),
    lambda xp, u, v, random: xp.reshape(u[:3, None] * v[None, :4], (-1,)),
    lambda xp, u, v, random: u + xp.sum(v * v) - 1,
]
