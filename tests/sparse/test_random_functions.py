"""Sparse derivatives of random functions equal the dense ones of the same backend."""

import numpy as np
import pytest
from random_programs import RandomProgram, leaves
from sparse_cases import compiled

import diffface as dif

EXACT = ["jax", "torch", "autograd"]


class RandomFunction:
    """Layers of sparse linear maps, gathers, sums over groups and nonlinear functions."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.n = int(rng.integers(1, 12))
        self.steps = [self._step(rng) for _ in range(rng.integers(1, 5))]

    def _step(self, rng):
        m = self.n
        kind = rng.choice(["linear", "gather", "product", "square", "where", "cumsum", "part"])
        matrix = rng.uniform(-1, 1, (m, m)) * (rng.random((m, m)) < rng.uniform(0, 0.5))
        return kind, matrix, rng.integers(0, m, m), rng.permutation(m)

    def __call__(self, x):
        xp = dif.namespace(x)
        for kind, matrix, at, order in self.steps:
            if kind == "linear":
                x = xp.matmul(xp.asarray(matrix), x)
            elif kind == "gather":
                x = x[at]
            elif kind == "product":
                x = x * x[order]
            elif kind == "square":
                x = xp.sin(x) + x**2
            elif kind == "where":
                x = xp.where(x > 0, x, x[order])
            elif kind == "cumsum":
                half = self.n // 2
                x = xp.concat([x[:half], xp.cumulative_sum(x[half:])])
            else:
                x = xp.concat([x[:1], xp.zeros_like(x[1:])]) + x * xp.asarray(matrix[0])
        return x


def agrees(backend, seeds):
    for seed in seeds:
        f = RandomFunction(seed)
        x = np.random.default_rng(seed).uniform(-1, 1, f.n)
        g = lambda x, f=f: dif.namespace(x).sum(f(x) ** 2)
        for sparse, dense in (
            (dif.jacobian(compiled(f, backend), x, backend=backend, sparsity="trace"),
             dif.jacobian(compiled(f, backend), x, backend=backend)),
            (dif.hessian(compiled(g, backend), x, backend=backend, sparsity="trace"),
             dif.hessian(compiled(g, backend), x, backend=backend)),
        ):  # fmt: skip
            scale = abs(dense).max(initial=1e-300)
            np.testing.assert_allclose(
                sparse.toarray(), dense, rtol=1e-12, atol=1e-12 * scale, err_msg=f"seed {seed}"
            )


@pytest.mark.parametrize(("backend", "count"), [("jax", 1), ("torch", 5), ("autograd", 10)])
def test_some_random_functions(backend, count):
    agrees(backend, range(count))


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    # JAX compiles each for seconds.
    [pytest.param(b, marks=[pytest.mark.exhaustive] if b == "jax" else []) for b in EXACT],
)
@pytest.mark.parametrize(
    "start", [0, *(pytest.param(s, marks=pytest.mark.exhaustive) for s in (100, 200, 300))]
)
def test_four_hundred_random_functions(backend, start):
    agrees(backend, range(start, start + 100))


@pytest.mark.slow
@pytest.mark.exhaustive
def test_twenty_random_functions_of_jax():
    agrees("jax", range(20))


@pytest.mark.parametrize(
    ("backend", "seeds"),
    [
        ("autograd", range(6)),
        pytest.param("torch", range(6, 12), marks=pytest.mark.slow),
        *(pytest.param(b, range(12, 60), marks=[pytest.mark.slow, pytest.mark.exhaustive])
          for b in ("autograd", "torch")),
    ],
)  # fmt: skip
def test_random_programs_of_trees(backend, seeds):
    for seed in seeds:
        p = RandomProgram(seed)
        prepared = dif.prepare_jacobian(p.vector, p.example, backend=backend, sparsity="trace")
        moved = p.random_like(p.example, 0.5)
        for sparse, x in (
            (dif.jacobian(p.vector, p.example, backend=backend, sparsity="trace"), p.example),
            (prepared(moved), moved),
            (dif.hessian(p.scalar, moved, backend=backend, sparsity="trace"), None),
        ):
            operator = dif.hessian if x is None else dif.jacobian
            f = p.scalar if x is None else p.vector
            dense = operator(f, moved if x is None else x, backend=backend)
            for block, whole in zip(leaves(sparse), leaves(dense), strict=True):
                expected = np.reshape(whole, block.shape)
                np.testing.assert_allclose(
                    block.toarray(), expected, rtol=1e-11, atol=1e-12, err_msg=f"{seed}\n{p}"
                )
