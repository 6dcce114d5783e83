"""Entries are compared with a derivative along a direction, whatever computes both."""

import numpy as np
import pytest

import diffface as dif

X = np.linspace(0.3, 2, 12)


def rounded(dtype):
    """A function that computes in lower precision."""

    def f(x):
        xp = dif.namespace(x)
        y = xp.astype(x, getattr(xp, dtype))
        return xp.astype(3 * y[1:] * y[:-1] + y[1:] ** 2 / 7, xp.float64) + xp.sin(x[1:])

    return f


@pytest.mark.parametrize("backend", ["torch", "jax", "autograd"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_lower_precision_within_is_no_lack(backend, dtype):
    f = rounded(dtype)
    for derive, g in (
        (dif.jacobian, f),
        (dif.hessian, lambda x: dif.namespace(x).sum(f(x) * x[1:])),
    ):
        dense = derive(g, X, backend=backend)
        found = derive(g, X, backend=backend, sparsity="trace").toarray()
        np.testing.assert_allclose(found, dense, atol=2 * np.finfo(dtype).eps * abs(dense).max())
        small = dense != 0
        small[5, 4] = small[4, 5] = False
        with pytest.raises(dif.SparsityError, match="The pattern lacks an entry in row"):
            derive(g, X, backend=backend, sparsity=small)


@pytest.mark.slow
@pytest.mark.filterwarnings("error::diffface.PreparationWarning")
def test_compiled_functions_of_lower_precision_are_rounded_otherwise():
    def f(x):
        xp = dif.namespace(x)
        return xp.astype(xp.sin(xp.astype(x, xp.float32)), xp.float64) * x

    x = np.linspace(0.1, 2, 50)
    dense = dif.jacobian(f, x, backend="torch")
    for sparsity in (None, "trace"):
        backend = dif.Torch(compile=True)
        prepared = dif.prepare_jacobian(f, x, backend=backend, sparsity=sparsity)
        assert prepared.strategy == "inductor"
        found = prepared(x) if sparsity is None else prepared(x).toarray()
        np.testing.assert_allclose(found, dense, atol=1e-6)


def squares_with(gradient):
    """A sum of squares, and a rule that says another gradient."""
    import jax
    import jax.numpy as jnp

    @jax.custom_jvp
    def skewed(x):
        return jnp.sum(x**2)

    @skewed.defjvp
    def _(primals, tangents):
        (x,), (dx,) = primals, tangents
        return skewed(x), jnp.sum(gradient(x) * dx)

    return skewed


@pytest.mark.parametrize("branches", [False, True])
def test_hessians_of_rules_that_are_no_derivatives_are_refused(branches):
    import jax
    import jax.numpy as jnp

    f = skewed = squares_with(lambda x: jnp.cumsum(x) ** 2)
    if branches:
        f = lambda x: jax.lax.cond(x[0] > 0, skewed, lambda x: jnp.sum(x) ** 2, x)
    for x in (X[:2], X[:4]):
        with pytest.raises(dif.SparsityError, match=r"^The Hessian is not symmetric in row \d: "):
            dif.hessian(f, x, backend="jax", sparsity=np.ones((len(x), len(x))))
        with pytest.raises(dif.SparsityError, match=r"leave `sparsity` out\.$"):
            dif.hessian(f, x, backend="jax", sparsity="trace")
        with pytest.raises(dif.SparsityError, match=r"leave `sparsity` out\.$"):
            dif.prepare_hessian(f, x, backend="jax", sparsity="trace")


def test_rules_that_add_to_a_traced_pattern_are_named():
    import jax.numpy as jnp

    skewed = squares_with(lambda x: jnp.roll(x, 1) * x**2)
    message = (
        r"^The pattern that was traced lacks an entry in row \d: the derivative along a random "
        r"direction is \S+ there, and \S+ by the pattern\. Rules in `f` that are no true "
        r"derivatives \(of a straight-through estimator, say\) are not always followed; give a "
        r"pattern with what they add, or leave `sparsity` out\.$"
    )
    with pytest.raises(dif.SparsityError, match=message):
        dif.hessian(skewed, X[:4], backend="jax", sparsity="trace")
