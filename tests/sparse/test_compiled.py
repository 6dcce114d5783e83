"""Sparse derivatives run as compiled programs, and so does what captures arrays of JAX."""

import numpy as np
import pytest
from sparse_cases import tridiagonal

import diffface as dif
from diffface.operators.call import prepare_value

X = np.linspace(0.5, 1.5, 5)


@pytest.mark.smoke
def test_jax_arrays_that_a_function_captures_leave_it_compiled():
    import jax.numpy as jnp

    W = jnp.ones((5, 5), jnp.float32)
    assert dif.prepare_jacobian(lambda x: W @ x, X, backend="jax").strategy == "xla"
    assert dif.prepare_jacobian(tridiagonal, X, backend="jax", sparsity="trace").strategy == "xla"


@pytest.mark.slow
def test_what_inductor_gathers_from_is_computed_before():
    import torch

    at = torch.tensor([3, 1, 1, 0, 5, 2, 2])

    places = torch.tensor([2, 0, 1]).reshape(3, 1, 1).expand(3, 2, 2)

    def f(x):
        pairs = x.reshape(2, 3)
        return {
            "flat": torch.sin(x)[at],
            "transposed": (pairs.T * 2).reshape(-1)[[1, 0, 3, 3, 5, 2]],
            "rows": pairs.T.exp()[at[1:4]],
            "every second": torch.cat([x, x * 2])[1::2].cos().index_select(0, at),
            "along": (pairs.expand(2, 2, 3) * x[0]).transpose(0, 2).gather(0, places),
            "outer": (x[:, None] * x[None, :]).T[at, at.flip(0)],
        }

    x = np.linspace(0.5, 1.5, 6)
    found = dif.prepare_jacobian(f, x, backend=dif.Torch(compile=True))
    assert found.strategy == "inductor"
    expected = dif.jacobian(f, x + 1, backend="torch")
    for name, jacobian in found(x + 1).items():
        np.testing.assert_allclose(jacobian, expected[name], rtol=1e-12, err_msg=name)


def source_of_hessian(f, n):
    """What is compiled for a sparse Hessian, which is found to be right."""
    x = np.linspace(0.5, 1.5, n)
    found = dif.prepare_hessian(f, x, backend=dif.Torch(compile=True), sparsity="trace")
    assert found.strategy == "inductor"
    expected = dif.hessian(f, np.sin(x), backend="autograd")
    np.testing.assert_allclose(found(np.sin(x)).toarray(), expected, rtol=1e-12, atol=1e-12)
    return found.native.source


@pytest.mark.slow
def test_inductor_computes_what_it_gathers_from_along_the_axes_that_there_are():
    """Not along one of all elements, whose places it would take apart by a remainder each."""

    def f(x):
        xp = dif.namespace(x)
        return xp.sum(xp.sin(x) * x[0] ** 2) + xp.sum(x**4)

    assert " % " not in source_of_hessian(f, 1000)


@pytest.mark.slow
def test_inductor_leaves_padded_arithmetic_to_the_compiler_of_cpp():
    def energy(x):
        xp = dif.namespace(x)
        grid = xp.reshape(x, (6, 7))
        down, across = grid[1:] - grid[:-1], grid[:, 1:] - grid[:, :-1]
        return xp.sum(down**4) + xp.sum(across**4) + xp.sum(x**2)

    assert "VecMask" not in source_of_hessian(energy, 42)


@pytest.mark.slow
def test_inductor_uses_indices_as_they_are_only_where_all_are_within():
    import torch

    at, outside = torch.tensor([4, 0, 0, 2]), torch.tensor([-1, 0, -5, 2])
    backend = dif.Torch(compile=True)
    functions = {
        "within": (lambda x: torch.sin(x)[at] * x.index_select(0, at), True),
        "negative": (lambda x: torch.sin(x)[outside], False),
        "both": (lambda x: torch.sin(x)[at] + x[outside], False),
        "of values": (lambda x: x[at] * x[torch.argsort(x)][:4], False),
    }
    x = np.array([0.3, -1.2, 0.7, 2.0, -0.4])
    for name, (f, unchecked) in functions.items():
        found = prepare_value(f, x, backend=backend)
        assert found.strategy == "inductor", name
        assert ("out of bounds" not in found.native.source) == unchecked, name
        expected = f(torch.tensor(-2 * x))
        np.testing.assert_allclose(found(-2 * x), expected, rtol=1e-15, err_msg=name)
