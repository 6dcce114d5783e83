"""Sparse derivatives where they are easily got wrong: equal to the dense ones, or refused."""

import numpy as np
import pytest
import scipy.sparse as sp
from sparse_cases import compiled, points, tridiagonal

import diffface as dif

N = 4
EXACT = ["jax", "torch", "autograd"]
ALL = [*EXACT, "numpy", "complex-step"]
INDEX = np.array([0, 0, 1, -1])
W = np.array([[1.0, 0, 0, 0], [0, 2, 0, 0], [0, 3, 4, 0], [5, 0, 0, 6]])
X = np.array([0.5, -1.0, 2.0, 1.5])


# What only one framework has: name -> (function, number of entries).


def native_to_jax():
    import jax
    import jax.numpy as jnp
    from jax import lax

    @jax.custom_jvp
    def rounded(x):
        return jnp.round(x)

    rounded.defjvp(lambda x, dx: (jnp.round(x[0]), dx[0]))

    def moved(x):
        y = lax.rev(lax.pad(x, 0.0, [(1, 2, 1)]), (0,)).reshape(5, 2).T
        y = jnp.squeeze(jnp.expand_dims(lax.slice(y, (0, 1), (2, 5), (1, 2)), 1), 1)
        return jnp.concatenate([y.ravel() * 2, lax.pad(x, 1.0, [(-1, 1, 0)]), x[::2] ** 2])

    out_of_range = np.array([0, 0, -1, 9])
    return {
        "cond": (lambda x: lax.cond(x[0] > 0, lambda x: 2 * x, lambda x: x[::-1] ** 2, x), 8),
        "select": (lambda x: lax.select(x > 0, x, x[::-1]), 8),
        "add at": (lambda x: jnp.zeros(N).at[out_of_range].add(x**2), 3),
        "set at": (lambda x: jnp.ones(N).at[out_of_range].set(x**2), 2),
        "fill": (lambda x: x.at[out_of_range].get(mode="fill", fill_value=0.0) * 2, 3),
        "stop_gradient": (lambda x: x * lax.stop_gradient(x[::-1]), 4),
        "straight-through": (lambda x: x + lax.stop_gradient(jnp.round(x) - x), 4),
        "custom_jvp": (lambda x: 3 * rounded(x), 4),
        "fft": (lambda x: jnp.fft.fft(x).real, 16),
        "scan": (lambda x: lax.scan(lambda c, r: (c / 2 + r, c * r), 0.0, x)[1], 9),
        "while": (
            lambda x: lax.while_loop(
                lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] * jnp.roll(c[1], 1)), (0, x)
            )[1], 16,
        ),
        "vmap": (lambda x: jax.vmap(lambda a, b: a * b)(x, x[::-1]), 8),
        "map": (lambda x: lax.map(jnp.sin, x), 4),
        "cumprod": (lax.cumprod, 10),
        "clamp": (lambda x: lax.clamp(-1.0, x, jnp.roll(x, 1)), 8),
        "moved": (moved, 7),
    }  # fmt: skip


def native_to_torch():
    import torch

    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return torch.round(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, dy):
            return dy

    at = torch.tensor([0, 0, 3, 3])
    return {
        "scatter_add": (lambda x: torch.zeros_like(x).scatter_add(0, at, x**2), 4),
        "index_add": (lambda x: x.index_add(0, at[1:], x[:3] ** 2), 6),
        "index_put": (lambda x: torch.ones_like(x).index_put((at[1:],), x[:3], accumulate=True), 3),
        "index_copy": (lambda x: x.index_copy(0, at[1:3], x[1:3] ** 2), 4),
        "detach": (lambda x: x * x.flip(0).detach(), 4),
        "straight-through": (lambda x: x + (torch.round(x) - x).detach(), 4),
        "Function": (lambda x: 3 * Rounded.apply(x), 4),
        "fft": (lambda x: torch.fft.fft(x).real, 16),
        "fft of rows": (lambda x: torch.fft.rfft(x.reshape(2, 2)).abs(), 8),
        "relu": (torch.relu, 4),
        "rows": (lambda x: torch.sort(x.reshape(2, 2), 1)[0], 8),
        "maximum of rows": (lambda x: x.reshape(2, 2).max(1)[0], 4),
        "mask": (lambda x: x.masked_fill(x > 0, 0.0), 4),
        "softmax": (lambda x: torch.softmax(x.reshape(2, 2), 1), 8),
    }


def native_to_autograd():
    import autograd.numpy as anp
    from autograd.extend import defvjp, primitive

    @primitive
    def rounded(x):
        return np.round(x)

    defvjp(rounded, lambda ans, x: lambda dy: dy)
    return {
        "primitive": (lambda x: 3 * rounded(x), 4),
        "fft": (lambda x: anp.real(anp.fft.fft(x)), 16),
        "tensordot": (lambda x: anp.tensordot(W, x, 1), 6),
        "rows": (lambda x: anp.max(anp.reshape(x, (2, 2)), axis=1), 4),
        "loop": (lambda x: anp.array([x[i] * x[i - 1] for i in range(N)]), 8),
    }


def native_to_numpy():
    def views(x):
        y = np.zeros_like(x).reshape(2, 2)
        for i, row in enumerate(y):
            row[:] = x[2 * i : 2 * i + 2] ** 2
        y[0][1] *= x[3]
        y.flat[2] += x[0]
        return y

    def added(x):
        y = np.zeros_like(x)
        np.add.at(y, INDEX, x**2)
        y[1:] += x[0]
        return y

    def overwritten(x):
        y = 2 * x
        y[1:3] = 0
        return y

    return {
        "views": (views, 6),
        "added": (added, 7),
        "overwritten": (overwritten, 2),
        "filled": (lambda x: x * np.full_like(x, fill_value=x[0]), 7),
        "padded": (lambda x: np.pad(x, 1, constant_values=2 * x[0]), 24),
        "swapped": (lambda x: np.stack([x[i] * x[i - 1] for i in range(N)]), 8),
    }


def not_analytic():
    """NumPy functions that complex step cannot differentiate."""

    def masked(x):
        y = x.copy()
        y[x > 0] = 0
        return y

    def sorted_in_place(x):
        y = x.copy()
        y.sort()
        return y

    return {
        "masked": (masked, 4), "sorted in place": (sorted_in_place, 16),
        "fft": (lambda x: np.fft.fft(x).real, 16),
    }  # fmt: skip


NATIVE = {
    "jax": native_to_jax, "torch": native_to_torch, "autograd": native_to_autograd,
    "numpy": lambda: native_to_numpy() | not_analytic(), "complex-step": native_to_numpy,
}  # fmt: skip
STRATEGIES = {
    "jax": "xla", "torch": "replay", "autograd": "program", "numpy": "stencil",
    "complex-step": "stencil",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("backend", ALL)
def test_native_functions_have_the_dense_derivative_at_every_point(backend):
    functions = NATIVE[backend]()
    f = compiled(lambda x: {name: g(x) for name, (g, _) in functions.items()}, backend)
    sparse = dif.prepare_jacobian(f, np.zeros(N), backend=backend, sparsity="trace")
    assert sparse.strategy == STRATEGIES[backend]
    for x in points(N):
        found, expected = sparse(x), dif.jacobian(f, x, backend=backend)
        for name, (_, size) in functions.items():
            assert found[name].nnz == size, name
            np.testing.assert_allclose(
                found[name].toarray(), expected[name].reshape(-1, N), rtol=1e-12, atol=1e-13,
                err_msg=name,
            )  # fmt: skip


def test_a_rule_for_pullbacks_alone_shows_the_structure_on_jax():
    import jax
    import jax.numpy as jnp

    @jax.custom_vjp
    def rounded(x):
        return jnp.round(x)

    rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, dy: (dy,))
    found = dif.prepare_jacobian(lambda x: 3 * rounded(x), X, backend="jax", sparsity="trace")
    assert str(found.sparsity) == "<sparsity of shape (4, 4), 4 non-zeros, reverse 1>"
    np.testing.assert_array_equal(found(X).toarray(), 3 * np.eye(N))


@pytest.mark.parametrize("backend", EXACT)
def test_a_rounding_that_a_rule_of_diffface_passes_through(backend):
    @dif.custom_rule
    def rounded(x):
        return dif.namespace(x).round(x)

    @rounded.pullback
    def _(active, saved, dy):
        return (dy,)

    found = dif.jacobian(lambda x: 3 * rounded(x), X, backend=backend, sparsity="trace")
    np.testing.assert_allclose(found.toarray(), 3 * np.eye(N), rtol=1e-12)


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_a_black_box_of_several_results(backend):
    """Second derivatives: the rule of the first has several results, and is unknown to all."""

    @dif.custom_rule(black_box=True)
    def both(x, a):
        return np.sin(x) * a, a * np.sum(x)

    @both.pullback
    def _(active, saved, dy):
        _, x, a = saved
        return dif.namespace(x).cos(x) * a * dy[0] + a * dy[1], None

    f = lambda x: (both(x, 2.0)[0] ** 2).sum() + both(x, 2.0)[1]
    found = dif.prepare_hessian(f, np.zeros(N), backend=backend, sparsity="trace")
    np.testing.assert_allclose(found(X).toarray(), np.diag(8 * np.cos(2 * X)), atol=1e-12)
    assert "both" in found.sparsity.dense or backend != "autograd"


def test_a_torch_function_that_writes_into_its_own_array():
    import torch

    def f(x):
        y = torch.zeros_like(x)
        y[1:] = x[:-1] ** 2
        y[0] += x[3]
        return y

    found = dif.prepare_jacobian(f, np.zeros(N), backend="torch", sparsity="trace")
    assert found.strategy == "replay"
    assert str(found.sparsity) == "<sparsity of shape (4, 4), 4 non-zeros, forward 1>"
    np.testing.assert_allclose(found(X).toarray(), dif.jacobian(f, X, backend="torch"))


def test_an_unknown_operation_some_of_whose_results_nobody_asked_for():
    """The backward pass of a convolution has None where no derivative by the kernel is asked."""
    import torch

    kernel = torch.tensor([[[1.0, -2.0, 0.5]]], dtype=torch.float64)
    f = lambda x: (torch.conv1d(x[None, None], kernel, padding=1) ** 3).sum()
    found = dif.prepare_hessian(f, np.zeros(N), backend="torch", sparsity="trace")
    assert found.sparsity.dense.startswith("convolution")
    np.testing.assert_allclose(found(X).toarray(), dif.hessian(f, X, backend="torch"))


def test_where_torchs_two_modes_disagree_the_sparse_derivative_is_the_dense_one():
    import torch

    # Of elements that are written to the same place, torch's backward passes count all.
    f = lambda x: torch.ones(N, dtype=x.dtype).scatter(0, torch.tensor([0, 0, 3, 3]), x**2)
    found = dif.prepare_jacobian(f, np.zeros(N), backend="torch", sparsity="trace")
    np.testing.assert_allclose(found(X).toarray(), dif.jacobian(f, X, backend="torch"))


@pytest.mark.parametrize("backend", ["autograd", "torch"])
def test_functions_that_write_show_what_they_write(backend):
    def f(out, x):
        out[...] = x
        out[:2, 1] = x[:2, 0]
        out[-1] = 3 * x[1]
        out[::2, 0] *= x[0, 1]
        out[1, 0] = 1.0

    f, x = dif.in_place(f), np.linspace(-1, 2, 8).reshape(4, 2)
    found = dif.prepare_jacobian(f, np.zeros((4, 2)), backend=backend, sparsity="trace")
    assert (found.sparsity.nnz, found.sparsity.dense) == (9, "")
    np.testing.assert_allclose(
        found(x).toarray(), dif.jacobian(f, x, backend=backend).reshape(8, 8), rtol=1e-12
    )


# Entries.


@pytest.mark.parametrize("backend", ALL)
def test_nan_stays_in_its_rows(backend):
    band = abs(np.subtract.outer(range(N), range(N))) < 2
    x = np.array([0.5, np.nan, 1.0, 2.0])
    found = dif.jacobian(tridiagonal, x, backend=backend, sparsity=band)
    rows = np.isnan(found.toarray()).any(axis=1)
    assert rows[1]
    assert not rows[3]


@pytest.mark.parametrize("backend", ["autograd", "numpy"])
def test_zeros_of_the_pattern_are_kept_and_rows_and_columns_may_be_empty(backend):
    given = np.array([[0, 0, 0], [0, 1, 1], [0, 0, 0]])
    f = lambda x: x * np.array([0.0, 1.0, 0.0])
    prepared = dif.prepare_jacobian(f, np.zeros(3), backend=backend, sparsity=given)
    found = prepared(np.ones(3))
    assert (found.nnz, found.shape) == (2, (3, 3))
    np.testing.assert_allclose(found.data, [1.0, 0.0], atol=1e-12)
    assert prepared.data(np.ones(3)).shape == (2,)


@pytest.mark.parametrize("backend", ALL)
def test_a_later_call_leaves_earlier_results_alone(backend):
    prepared = dif.prepare_jacobian(tridiagonal, X, backend=backend, sparsity="trace")
    first, data = prepared(X), prepared.data(X)
    before = first.toarray(), data.copy()
    prepared(X + 1)
    first.indices[:] = 0
    assert np.array_equal(prepared(X).toarray(), before[0])
    assert np.array_equal(data, before[1])


# Patterns that are given.


def reversed_product(x):
    return dif.namespace(x).flip(x) * x


@pytest.mark.parametrize("backend", ALL)
def test_a_pattern_that_is_too_small_is_refused_at_preparation(backend):
    small = np.eye(N)
    for prepare in (dif.prepare_jacobian, dif.jacobian):
        with pytest.raises(dif.SparsityError, match=r"The pattern lacks an entry in row [0-3]:"):
            prepare(tridiagonal, X, backend=backend, sparsity=small)
    # At zeros these entries are zero, too.
    with pytest.raises(dif.SparsityError, match=r"in row [0-3]"):
        dif.prepare_jacobian(reversed_product, np.zeros(N), backend=backend, sparsity=small)


def test_a_pattern_may_be_too_large_and_unsorted():
    rows, cols = np.nonzero(np.ones((N, N)))
    order = np.random.default_rng(0).permutation(N * N)
    given = sp.coo_array((np.zeros(N * N), (rows[order], cols[order])), shape=(N, N))
    found = dif.jacobian(tridiagonal, X, backend="autograd", sparsity=given)
    assert found.has_sorted_indices
    assert found.nnz == N * N
    np.testing.assert_allclose(found.toarray(), dif.jacobian(tridiagonal, X, backend="autograd"))


def test_a_pattern_of_the_wrong_shape_is_refused():
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.jacobian(tridiagonal, X, backend="autograd", sparsity=np.eye(3))
    assert str(caught.value) == (
        "`sparsity` must have the shape of the matrix, (4, 4), got (3, 3): one row for each "
        "element that is differentiated, one column for each element of the active arguments."
    )


def test_an_unsymmetric_pattern_of_a_hessian_counts_both_ways():
    f = lambda x: (x[1:] * x[:-1]).sum()
    found = dif.hessian(f, X, backend="autograd", sparsity=np.eye(N, k=1))
    np.testing.assert_allclose(found.toarray(), np.eye(N, k=1) + np.eye(N, k=-1))


# Black boxes, and patterns that hold in one place.


@pytest.mark.parametrize("backend", ["numpy", "complex-step"])
def test_a_black_box_that_writes_into_numbers_is_to_be_probed(backend):
    def f(x):
        y = np.zeros(N, x.dtype)
        y[1:] = x[:-1] ** 2
        return y

    with pytest.raises(dif.SparsityError) as caught:
        dif.jacobian(f, X, backend=backend, sparsity="trace")
    assert "values were written into an array of NumPy" in str(caught.value)
    assert "sparsity='probe'" in str(caught.value)
    found = dif.jacobian(f, X, backend=backend, sparsity="probe")
    np.testing.assert_allclose(found.toarray(), np.diag(2 * X[:-1], -1), rtol=1e-6)


def kinked(x):
    xp = dif.namespace(x)
    return xp.where(x > 0, x[::-1] if xp is np else xp.flip(x), x)


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd", "numpy"])
def test_a_pattern_that_is_larger_elsewhere(backend):
    traced = dif.prepare_jacobian(kinked, -np.ones(N), backend=backend, sparsity="trace")
    np.testing.assert_allclose(traced(np.ones(N)).toarray(), np.fliplr(np.eye(N)), atol=1e-9)
    probed = dif.prepare_jacobian(
        kinked, -np.ones(N), backend=backend, sparsity="probe", check="always"
    )
    assert probed.sparsity.nnz == N
    np.testing.assert_allclose(probed(-np.ones(N)).toarray(), np.eye(N), atol=1e-9)
    with pytest.raises(dif.SparsityError, match="lacks an entry in row"):
        probed(np.array([1.0, 2.0, 3.0, 4.0]))


def test_a_large_dense_pattern_says_that_constants_are_to_be_captured():
    def f(x, at):
        return dif.namespace(x).take(x, at)

    n = 4_000
    with pytest.raises(dif.SparsityError) as caught:
        dif.jacobian(f, np.zeros(n), dif.Const(np.arange(n)), backend="autograd", sparsity="trace")
    assert "The pattern would have 16,000,000 entries because of" in str(caught.value)
    assert "captures them, rather than taking them in `Const`" in str(caught.value)


@pytest.mark.parametrize("backend", ALL)
def test_what_makes_a_pattern_dense_is_named_with_the_users_line(backend):
    def f(x):
        xp = dif.namespace(x)
        return xp.linalg.solve(xp.eye(4, dtype=x.dtype) * 2, x)

    found = dif.jacobian_sparsity(f, X, backend=backend)
    assert "test_derivatives.py" in found.dense
    assert "f: `return xp.linalg.solve(" in found.dense


# Arguments and results of other kinds.


@pytest.mark.parametrize("backend", ["torch", "autograd", "numpy"])
def test_holomorphic_functions(backend):
    z = X + 1j * X[::-1]
    f = lambda z: dif.namespace(z).flip(z) ** 2
    found = dif.jacobian(f, z, backend=backend, sparsity="trace", holomorphic=True)
    np.testing.assert_allclose(found.toarray(), np.fliplr(np.diag(2 * z[::-1])), rtol=1e-6)


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd", "numpy"])
def test_single_precision_and_empty_arrays(backend):
    x = X.astype(np.float32)
    found = dif.jacobian(tridiagonal, x, backend=backend, sparsity="trace")
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found.toarray(), dif.jacobian(tridiagonal, X, backend="autograd"), atol=2e-2
    )
    square = lambda x: x**2
    assert dif.prepare_jacobian(square, x[:0], backend=backend, sparsity="trace")(x[:0]).shape == (
        0,
        0,
    )


@pytest.mark.parametrize("backend", ALL)
def test_arguments_of_two_precisions_keep_their_own(backend):
    x, y = X.astype(np.float32), 1 / (3 + X)
    f = lambda x, y: x * y**2 + y[0]
    found = dif.prepare_jacobian(f, x, y, backend=backend, sparsity="trace")(x, y)
    expected = dif.jacobian(f, x, y, backend=backend)
    for sparse, dense in zip(found, expected, strict=True):
        assert sparse.dtype == dense.dtype
        np.testing.assert_allclose(
            sparse.toarray(), dense, rtol=1e-12 if sparse.dtype == float else 1e-6
        )


@pytest.mark.parametrize("backend", ["torch", "autograd", "numpy"])
def test_trees_and_several_arguments_give_blocks(backend):
    def f(p, q):
        return {"a": p["u"] * q, "b": dif.namespace(q).sum(p["v"] ** 2) * q[:2]}

    p = {"u": X, "v": np.ones((2, 2))}
    prepared = dif.prepare_jacobian(f, p, X, backend=backend, sparsity="trace")
    found, expected = prepared(p, X), dif.jacobian(f, p, X, backend=backend)
    assert prepared.sparsity.shape == (6, 12)
    for name, rows in (("a", 4), ("b", 2)):
        own, whole = found[name], expected[name]
        np.testing.assert_allclose(own[1].toarray(), whole[1].reshape(rows, 4), atol=1e-12)
        for part in "uv":
            np.testing.assert_allclose(
                own[0][part].toarray(), whole[0][part].reshape(rows, 4), atol=1e-12
            )


def test_differences_of_exact_gradients():
    f = lambda x: dif.namespace(x).sum(x[1:] ** 2 * x[:-1])
    backend = dif.SecondOrder("numpy", "autograd")
    found = dif.prepare_hessian(f, X, backend=backend, sparsity="trace")
    assert found.sparsity.colors == "forward 3"
    np.testing.assert_allclose(
        found(X).toarray(), dif.hessian(f, X, backend="autograd"), rtol=1e-6, atol=1e-6
    )


# With the value, and the entries alone.


@pytest.mark.parametrize("backend", ["torch", "autograd", "numpy"])
@pytest.mark.parametrize("form", ["csr", "csc"])
def test_the_value_comes_first_and_entries_are_those_of_the_structure(backend, form):
    options = {"backend": backend, "sparsity": "trace", "format": form}
    f = lambda x: dif.namespace(x).sum(x[1:] ** 2 * x[:-1])
    slope = dif.gradient(f, X, backend="autograd")
    for prepared, value, dense, atol in (
        (dif.prepare_value_and_jacobian(tridiagonal, X, **options), tridiagonal(X),
         dif.jacobian(tridiagonal, X, backend="autograd"), 1e-7),
        (dif.prepare_value_gradient_and_hessian(f, X, **options), f(X),
         dif.hessian(f, X, backend="autograd"), 1e-3),
    ):  # fmt: skip
        y, *between, matrix = prepared(X)
        np.testing.assert_allclose(y, value, rtol=1e-12)
        for found in between:
            np.testing.assert_allclose(found, slope, atol=1e-6)
        np.testing.assert_allclose(matrix.toarray(), dense, atol=atol)
        rows, columns = prepared.structure()
        np.testing.assert_allclose(prepared.data(X), dense[rows, columns], atol=atol)


@pytest.mark.parametrize("backend", ALL)
def test_entries_are_written_into_what_is_given(backend):
    options = {"backend": backend, "sparsity": "trace", "format": "csc"}
    prepared = dif.prepare_jacobian(tridiagonal, X, **options)
    rows, columns = prepared.structure()
    # Not contiguous, full of what was there before.
    whole = np.full((2, len(rows)), np.nan)
    for x in (X, X + 1):
        out = whole.T[:, 0]
        assert prepared.data(x, out=out) is out
        dense = dif.jacobian(tridiagonal, x, backend="autograd")
        np.testing.assert_allclose(whole[0], dense[rows, columns], atol=1e-7)
    assert np.isnan(whole[1]).all()


def test_what_does_not_fit_is_refused_as_out():
    prepared = dif.prepare_jacobian(tridiagonal, X, backend="autograd", sparsity="trace")
    locked = np.empty(10)
    locked.flags.writeable = False
    for out, message in (
        (np.empty(9), "`out` must have shape (10,) and dtype float64, got (9,) and float64."),
        (np.empty(10, np.float32),
         "`out` must have shape (10,) and dtype float64, got (10,) and float32."),
        (locked, "`out` must be an array that can be written to, got ndarray."),
        ([0.0] * 10, "`out` must be an array that can be written to, got list."),
    ):  # fmt: skip
        with pytest.raises(dif.InvalidArgumentError) as caught:
            prepared.data(X, out=out)
        assert str(caught.value) == message


def test_entries_of_torch_are_written_into_a_tensor():
    import torch

    x = torch.tensor(X)
    f = lambda x: (x[1:] ** 2 * x[:-1]).sum()
    prepared = dif.prepare_hessian(f, x, sparsity="trace")
    rows, columns = prepared.structure()
    assert (rows >= columns).all()
    out = torch.empty(len(rows), dtype=torch.float64)
    assert prepared.data(x, out=out) is out
    dense = torch.func.hessian(f)(x)
    torch.testing.assert_close(out, dense[rows, columns])
    assert np.array_equal(prepared.data(x, out=np.empty(len(rows))), out.numpy())


@pytest.mark.parametrize(("n", "directions"), [(8, "Prepared"), (9, "ByColor")])
def test_few_directions_share_one_program_on_autograd(n, directions):
    x = np.linspace(0.5, 1.5, n)
    f = lambda x: dif.namespace(x).sum(dif.namespace(x).cumulative_sum(x) ** 3)
    found = dif.prepare_hessian(f, x, backend="autograd", sparsity="trace")
    assert type(found._last()._entries).__name__ == directions
    assert found.strategy == "program"
    np.testing.assert_allclose(found(x).toarray(), dif.hessian(f, x, backend="autograd"))


# Pictures.


def test_a_picture_shows_each_entry_where_it_is_and_where_it_is_computed():
    pytest.importorskip("matplotlib")
    f = lambda x: dif.namespace(x).concat([x[:1] * dif.namespace(x).sum(x), x[1:] ** 2])
    found = dif.jacobian_sparsity(f, X, backend="autograd")
    assert found.colors == "forward 1 + reverse 1"
    before, after = found.plot().axes
    assert before.get_title() == "7 non-zeros of (4, 4)"
    assert after.get_title() == "forward 1 + reverse 1"
    at = lambda panel: {tuple(map(int, xy)) for xy in panel.collections[0].get_offsets()}
    assert at(before) == {(j, i) for i, j in zip(found.rows, found.cols, strict=True)}
    # One column, and below the matrix one row: an entry that is read, at most, in each.
    assert at(after) == {(0, 1), (0, 2), (0, 3), *((j, N) for j in range(N))}
    # Without colors there is nothing to compute.
    (alone,) = dif.Sparsity((2, 3), [1, 0, 0], [2, 0, 1]).plot().axes
    assert at(alone) == {(2, 1), (0, 0), (1, 0)}


# Files.


def test_patterns_are_saved_loaded_and_pickled(tmp_path):
    import pickle

    found = dif.jacobian_sparsity(tridiagonal, X, backend="autograd")
    found.save(tmp_path / "pattern.npz")
    for again in (dif.Sparsity.load(tmp_path / "pattern.npz"), pickle.loads(pickle.dumps(found))):
        assert again == found
        assert hash(again) == hash(found)
        matrix = dif.jacobian(tridiagonal, X, backend="autograd", sparsity=again)
        assert matrix.nnz == 10


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_places_that_single_precision_does_not_tell_apart(backend):
    import jax.numpy as jnp
    import torch

    size, at = 2**24 + 4, np.array([2**24 + 1, 2**24 + 3, 5])
    f = {
        "jax": lambda x: jnp.zeros(size, x.dtype).at[at].set(x),
        "torch": lambda x: torch.zeros(size).index_put((torch.tensor(at),), x),
    }[backend]
    found = dif.jacobian_sparsity(f, np.ones(3, np.float32), backend=backend)
    assert dict(zip(found.cols, found.rows, strict=True)) == dict(enumerate(at))


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd", "numpy"])
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod", "prod"])
def test_of_no_elements(backend, shape, name):
    f = lambda x: getattr(dif.namespace(x), name)(x, axis=0)
    found = dif.jacobian(f, np.ones(shape), backend=backend, sparsity="trace")
    assert found.shape == (f(np.ones(shape)).size, 0)
    h = lambda x: dif.namespace(x).sum(f(x) ** 2)
    assert dif.hessian(h, np.ones(shape), backend=backend, sparsity="trace").shape == (0, 0)


# Options.


@pytest.mark.parametrize("backend", ["jax", "autograd"])
@pytest.mark.parametrize("chunk_size", [1, 2])
def test_chunks_of_directions(backend, chunk_size):
    # Rows of five entries: five directions.
    f = lambda x: dif.namespace(x).cumulative_sum(x) * x
    x = np.linspace(0.5, 1.5, 5)
    found = dif.prepare_jacobian(
        f, x, backend=backend, sparsity="trace", mode="forward", chunk_size=chunk_size
    )
    assert found.sparsity.colors == "forward 5"
    np.testing.assert_allclose(found(x).toarray(), dif.jacobian(f, x, backend="autograd"))


def test_jax_derives_hessians_as_suits_the_device_of_their_arrays(monkeypatch):
    import jax

    f = lambda x: (x[1:] ** 2 * x[:-1]).sum()
    # Whatever else the machine has.
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    found = dif.prepare_hessian(f, X, backend="jax", sparsity="trace")
    with jax.enable_x64(True):
        program = found.native.lower(X).as_text()
    assert "stablehlo.while" in program  # one direction after the other, on a CPU


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_the_mode_of_a_hessian(backend):
    f = lambda x: dif.namespace(x).sum(x[1:] ** 2 * x[:-1])
    expected = dif.hessian(f, X, backend="autograd")
    for mode in ("forward", "reverse"):
        found = dif.prepare_hessian(f, X, backend=backend, sparsity="trace", mode=mode)
        assert found.sparsity.colors == f"{mode} 3"
        np.testing.assert_allclose(found(X).toarray(), expected, rtol=1e-12, atol=1e-14)


def test_a_hessian_whose_gradient_has_a_rule_for_pullbacks_alone():
    import jax
    import jax.numpy as jnp

    @jax.custom_vjp
    def sine(x):
        return jnp.sin(x)

    sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (cosine(x) * dy,))

    @jax.custom_vjp
    def cosine(x):
        return jnp.cos(x)

    cosine.defvjp(lambda x: (jnp.cos(x), x), lambda x, dy: (-jnp.sin(x) * dy,))
    found = dif.hessian(lambda x: sine(x).sum(), X, backend="jax", sparsity=np.eye(N))
    np.testing.assert_allclose(found.toarray(), np.diag(-np.sin(X)), rtol=1e-12)
