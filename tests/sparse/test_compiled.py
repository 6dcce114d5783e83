"""Sparse derivatives run as compiled programs, and so does what captures arrays of JAX."""

import numpy as np
import pytest
from sparse_cases import tridiagonal

import diffface as dif

X = np.linspace(0.5, 1.5, 5)


@pytest.mark.smoke
def test_jax_arrays_that_a_function_captures_leave_it_compiled():
    import jax.numpy as jnp

    W = jnp.ones((5, 5), jnp.float32)
    assert dif.prepare_jacobian(lambda x: W @ x, X, backend="jax").strategy == "xla"
    assert dif.prepare_jacobian(tridiagonal, X, backend="jax", sparsity="trace").strategy == "xla"
