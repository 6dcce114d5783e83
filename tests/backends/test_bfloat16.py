"""bfloat16, which NumPy lacks: on JAX and torch, and arrays of `ml_dtypes`."""

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch

import diffface as dif

X = np.array([1.0, 2.0, -3.0], ml_dtypes.bfloat16)
ARGUMENTS = {
    "jax": (jnp.asarray(X), "jax"),
    "torch": (torch.tensor([1.0, 2.0, -3.0], dtype=torch.bfloat16), "torch"),
    "numpy by jax": (X, "jax"),
    "numpy by torch": (X, "torch"),
}


def cubes(x):
    return x * x * x


def total(x):
    return dif.namespace(x).sum(cubes(x))


def numbers(a):
    return np.asarray(a.float() if isinstance(a, torch.Tensor) else a, np.float32)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_derivatives_have_its_dtype(name):
    x, backend = ARGUMENTS[name]
    x32 = numbers(x)
    prepared = dif.prepare_gradient(total, x, backend=backend, fallback="error")
    for g in (dif.gradient(total, x, backend=backend), prepared(x), prepared(x)):
        assert type(g) is type(x)
        assert g.dtype == x.dtype
        np.testing.assert_allclose(numbers(g), 3 * x32**2, rtol=1e-2)
    pushed = dif.pushforward(cubes, x, tangents=x, backend=backend)
    np.testing.assert_allclose(numbers(pushed), 3 * x32**3, rtol=2e-2)
    jacobian = dif.prepare_jacobian(cubes, x, backend=backend)(x)
    np.testing.assert_allclose(numbers(jacobian), np.diag(3 * x32**2), rtol=1e-2)


@pytest.mark.parametrize("backend", ["numpy", "complex-step", "autograd"])
def test_numpy_cannot_compute_with_it(backend):
    library = "autograd" if backend == "autograd" else "numpy"
    for x, _ in ARGUMENTS.values():
        with pytest.raises(dif.NotDifferentiableError) as caught:
            dif.gradient(total, x, backend=backend)
        assert str(caught.value) == (
            f"`x` has dtype bfloat16, which {library} lacks; convert it with astype, or use "
            "another backend."
        )


def test_numbers_of_half_the_bits_round_to_the_nearest():
    from diffface.backends.bfloat16 import narrowed, widened

    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    np.testing.assert_array_equal(narrowed(x, X.dtype), x.astype(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(widened(narrowed(x, X.dtype)), x.astype(ml_dtypes.bfloat16))
