"""Large results in NumPy's hands: in XLA's own memory, which nobody else has."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffface as dif

N = 70_001
X = np.linspace(0.5, 1.5, N)
HELD = np.linspace(1.0, 2.0, N)

FUNCTIONS = {
    "computed": lambda x: x**3,
    "constant": lambda x: jnp.asarray(HELD),
    "its argument": lambda x: x,
    "zeros": lambda x: jnp.zeros_like(x),
    "twice the same": lambda x: (x, x),
    "what branches return": lambda x: jax.lax.cond(x[0] > 9, lambda: x**2, lambda: x),
    "complex": lambda x: x * (1 + 2j),
    "in single precision": lambda x: x.astype(jnp.float32),
}


def aligned(x, by=0):
    """A copy whose memory JAX takes as it is, or that begins some bytes after."""
    memory = np.empty(x.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + by
    copy = memory[start : start + x.nbytes].view(x.dtype)
    copy[...] = x
    return copy


def strided(x):
    copy = np.empty((x.size, 2), x.dtype)[::-1, 0]
    copy[...] = x
    return copy


LAYOUTS = {
    "aligned": aligned,
    "as NumPy aligns": lambda x: aligned(x, by=16),
    "at an odd place": lambda x: aligned(x, by=1),
    "strided": strided,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_share_no_memory(name, layout):
    f = FUNCTIONS[name]
    prepared = dif.prepare_value_and_pushforward(f, X, backend="jax")
    given, v = map(LAYOUTS[layout], (X, np.ones(N)))
    leaves = lambda: jax.tree.leaves(prepared(given, tangents=v))
    first, second = leaves(), leaves()
    expected = [np.array(a) for a in first]
    results = [*first, *second]
    for k, a in enumerate(results):
        assert type(a) is np.ndarray
        assert a.flags.c_contiguous
        assert a.flags.writeable
        others = [*results[:k], *results[k + 1 :], given, v, HELD]
        assert not any(np.may_share_memory(a, other) for other in others)
    for a in results:
        a[...] = -1
    again = leaves()
    np.testing.assert_array_equal(given, X)
    given[...], v[...] = -2, -3
    for a, b in zip(again, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(HELD, np.linspace(1.0, 2.0, N))


def test_memory_stays_when_jax_gives_up_its_arrays():
    prepared = dif.prepare_gradient(lambda x: jnp.sum(x**3), X, backend="jax")
    found = prepared(X)
    for a in jax.live_arrays():
        if a.shape == X.shape:
            a.delete()
    gc.collect()
    other = [prepared(X + 1) for _ in range(5)]
    np.testing.assert_allclose(found, 3 * X**2, rtol=1e-15)
    np.testing.assert_allclose(other[0], 3 * (X + 1) ** 2, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_precisions(dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.linspace(0.5, 1.5, 2**18).astype(getattr(ml_dtypes, dtype, dtype))
    found = dif.prepare_gradient(lambda x: jnp.sum(x * x), x, backend="jax")(x)
    assert found.dtype == x.dtype
    assert found.flags.writeable
    np.testing.assert_array_equal(found, 2 * x)


def test_data_of_a_sparse_derivative():
    prepared = dif.prepare_jacobian(
        lambda x: x[1:] ** 2 * x[:-1], X, backend="jax", sparsity="trace"
    )
    first = prepared.data(X)
    expected = first.copy()
    first[...] = 0
    matrix = prepared(X)
    np.testing.assert_array_equal(matrix.data, expected)
    matrix.data *= 0
    out = np.zeros_like(expected)
    assert prepared.data(X, out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(prepared.data(X), expected)
