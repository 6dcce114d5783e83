"""Functions that write into an argument, on every backend."""

import inspect

import autograd.numpy as anp
import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers import AD, BACKENDS, STRATEGY

import diffface as dif

N = 4
X = np.linspace(0.1, 1, N) ** 2
P, T = np.array(1.5), np.array(0.7)
SECOND = np.diag(np.full(N, -2.0)) + np.diag(np.ones(N - 1), 1) + np.diag(np.ones(N - 1), -1)


def by_elements(dx, x, p, t):
    for i in range(N):
        dx[i] = -2 * x[i]
        if i > 0:
            dx[i] += x[i - 1]
        if i < N - 1:
            dx[i] += x[i + 1]
        dx[i] *= p * t


def by_slices(dx, x, p, t):
    dx[1:-1] = x[:-2] - 2 * x[1:-1] + x[2:]
    dx[0] = -2 * x[0] + x[1]
    dx[-1] = x[-2] - 2 * x[-1]
    view = dx[1:4]
    view[1:] *= 2.0
    view[1:] /= 2.0
    dx[[3, 1]] = dx[[3, 1]] * 1.0
    dx[...] *= p * t


every_backend = pytest.mark.parametrize("backend", BACKENDS)
every_ad = pytest.mark.parametrize("backend", AD)


@pytest.mark.parametrize(
    ("f", "mode", "prepared", "backend"),
    [
        *((by_elements, "forward", False, name) for name in BACKENDS if name != "jax"),
        *((by_elements, "reverse", True, name) for name in BACKENDS),
        *((by_slices, "forward", True, name) for name in BACKENDS),
        *((by_slices, "reverse", False, name) for name in BACKENDS if name != "jax"),
        # Step by step, JAX compiles a kernel for every index.
        pytest.param(by_elements, "forward", False, "jax", marks=pytest.mark.slow),
        pytest.param(by_slices, "reverse", False, "jax", marks=pytest.mark.slow),
    ],
)
def test_the_heat_equation(f, mode, prepared, backend):
    g = dif.in_place(f)
    args = (X, P, dif.Const(T))
    options = {"backend": backend, "mode": mode if backend in AD else "auto"}
    if prepared:
        j = dif.prepare_jacobian(g, *args, fallback="error", **options)
        assert j.strategy == STRATEGY[backend]
        dx, dp = j(X, P, T)
    else:
        dx, dp = dif.jacobian(g, *args, **options)
    np.testing.assert_allclose(dx, P * T * SECOND, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(dp, T * SECOND @ X, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(g(X, P, T), P * T * SECOND @ X)


@every_backend
def test_products(backend):
    g = dif.in_place(by_slices)
    args, v = (X, dif.Const(P), dif.Const(T)), np.cos(np.arange(N))
    close = lambda found, expected: np.testing.assert_allclose(found, expected, 1e-6, 1e-6)
    close(dif.pushforward(g, *args, tangents=v, backend=backend), P * T * SECOND @ v)
    close(dif.pullback(g, *args, cotangents=v, backend=backend), P * T * SECOND @ v)
    energy = lambda x, p, t: dif.namespace(x).sum(g(x, p, t) ** 2)
    hessian = 2 * (P * T) ** 2 * SECOND @ SECOND
    close(dif.gradient(energy, *args, backend=backend), hessian @ X)
    if backend in AD:
        close(dif.hvp(energy, *args, tangents=v, backend=backend), hessian @ v)


@pytest.mark.slow
@every_backend
def test_a_hundred_points(backend):
    """The published size of the heat equation, written by elements and by slices."""
    n = 100
    x = np.linspace(0.1, 1, n) ** 2

    def by_elements(dx, x, p, t):
        for i in range(n):
            left = x[i - 1] if i else 0.0
            right = x[i + 1] if i < n - 1 else 0.0
            dx[i] = p * t * (left - 2 * x[i] + right)

    def by_slices(dx, x, p, t):
        dx[:] = -2 * x
        dx[1:] += x[:-1]
        dx[:-1] += x[1:]
        dx *= p * t

    second = np.diag(np.full(n, -2.0)) + np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)
    close = lambda found, expected: np.testing.assert_allclose(found, expected, 1e-6, 1e-6)
    for mode in ("forward", "reverse") if backend in AD else ("auto",):
        g, args = dif.in_place(by_slices), (x, P, dif.Const(T))
        dx, dp = dif.prepare_jacobian(g, *args, backend=backend, mode=mode)(x, P, T)
        close(dx, P * T * second)
        close(dp, T * second @ x)
    for f in (by_elements, by_slices):
        g = dif.in_place(f)
        energy = lambda x, g=g: dif.namespace(x).sum(g(x, P, T) ** 2)
        gradient = dif.prepare_gradient(energy, x, backend=backend)
        close(gradient(x), 2 * (P * T) ** 2 * second @ second @ x)


@every_backend
def test_two_dimensions_and_a_cache(backend):
    def f(out, x, work):
        work[:, 0] = x * x
        work[:, 1] = work[:, 0] * x
        for i in range(3):
            out[0, i] = work[-1 - i, 0]
        out[1, :] = work[:, 1]

    g = dif.in_place(f, like=lambda x, work: (2, *x.shape))
    x = np.array([1.0, 2.0, 3.0])
    found = dif.jacobian(g, x, dif.Cache((3, 2)), backend=backend)
    expected = np.stack([np.diag(2 * x)[::-1], np.diag(3 * x**2)])
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@every_backend
def test_writing_into_a_constant(backend):
    def f(out, x, a):
        a[0] = 5.0
        out[:] = a * x

    a = np.ones(N)
    with pytest.raises((dif.NotDifferentiableError, TypeError)) as caught:
        dif.jacobian(dif.in_place(f), X, dif.Const(a), backend=backend)
    assert backend == "jax" or "`diffface.Cache(like)`" in str(caught.value)
    np.testing.assert_array_equal(a, 1.0)


@every_ad
def test_what_numpy_refuses(backend):
    def outside(out, x):
        out[N] = x[0]

    def too_long(out, x):
        out[:3] = x

    with pytest.raises(IndexError):
        dif.jacobian(dif.in_place(outside), X, backend=backend)
    with pytest.raises((ValueError, RuntimeError)):
        dif.jacobian(dif.in_place(too_long), X, backend=backend)


@pytest.mark.parametrize("backend", ["jax", "autograd"])
def test_an_element_named_twice(backend):
    def f(out, x):
        out[[0, 0]] = x[:2]

    with pytest.raises(dif.NotDifferentiableError, match="names an element twice"):
        dif.jacobian(dif.in_place(f), X, backend=backend)


@every_backend
def test_a_function_that_returns_its_result(backend):
    with pytest.raises(dif.NotDifferentiableError, match="must write its result into its first"):
        dif.jacobian(dif.in_place(lambda out, x: x * 2.0), X, backend=backend)


@every_ad
def test_complex_numbers_do_not_fit_into_real_memory(backend):
    def f(out, x):
        out[:] = x * 1j

    with pytest.raises((TypeError, Warning)):
        dif.jacobian(dif.in_place(f), X, backend=backend)


@every_backend
def test_single_elements_are_read_as_they_were_written(backend):
    """Also where they are written together in the end."""

    def f(out, x):
        work = np.array([2.0, 5.0, 5.0])
        if backend == "torch":
            out[0] = 2.0  # torch takes no NumPy arrays
        else:
            out[0] = work[:1].reshape(())
            out[1:3] = work[1:]
            work[...] = 7.0
            out[1:3] -= 5.0
        out[0] += x[0]
        out[-1] = out[0] * out[1] + x[1]
        out[1] = x[2]
        out[2:] *= x[3]
        out[1] += out[-1]

    x = np.array([0.5, -1.0, 2.0, 3.0])
    found = dif.prepare_jacobian(dif.in_place(f), x, backend=backend)(x)
    expected = [[1, 0, 0, 0], [0, 3, 1, -1], [0, 0, 0, 0], [0, 3, 0, -1]]
    np.testing.assert_allclose(found, expected, atol=1e-8)


@every_backend
def test_what_was_written_is_read_and_written_over(backend):
    """Products of all elements up to each, of which torch would keep each operand."""

    def products(out, x, work):
        work[0] = x[0] * 1.0
        for i in range(1, N):
            out[i] = work[0] * x[i]
            work[:1] *= x[i : i + 1]
        out[0] = x[0] * 1.0

    g, x, work = dif.in_place(products), X + 1, dif.Cache((1,))
    y = np.cumprod(x)
    for mode in ("forward", "reverse") if backend in AD else ("auto",):
        found = dif.prepare_jacobian(g, x, work, backend=backend, mode=mode)(x, work)
        np.testing.assert_allclose(found, np.tril(y[:, None] / x), rtol=1e-6)
    if backend == "torch":
        found = dif.hessian(lambda x, work: g(x, work)[-1], x, work, backend=backend)
        expected = y[-1] / np.outer(x, x) * (1 - np.eye(N))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("transform", ["grad of vmap", "vmap of grad", "backward"])
def test_reading_what_was_written_under_torch(transform):
    import torch

    sin = dif.elementwise(np.sin, torch.cos)

    def squares(out, x):
        out[0] = x[0]
        out[0] *= x[1]
        out[1:] = sin(out[:-1])  # of what is written over
        out[1:] = out[:-1] * x[1:]

    e = lambda x: (dif.in_place(squares, like=(2,))(x) ** 2).sum()
    x = torch.tensor([[2.0, 3.0], [1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    if transform == "grad of vmap":
        found = torch.func.grad(lambda x: torch.vmap(e)(x).sum())(x)
    elif transform == "vmap of grad":
        found = torch.vmap(torch.func.grad(e))(x)
    else:
        torch.vmap(e)(x).sum().backward()
        found = x.grad
    a, b = x.detach().T
    expected = torch.stack([2 * a * b**2 + 2 * a * b**4, 2 * a**2 * b + 4 * a**2 * b**3], 1)
    torch.testing.assert_close(found.detach(), expected)


def product(out, x):
    out[0] = x[0]
    for i in range(1, N):
        out[i] = out[i - 1] * x[i]


def reads_itself(out, x):
    xp = dif.namespace(x)
    out[:] = x * x
    out[1:] = xp.exp(out[1:]) + out[:-1] * out[1:]
    out[...] = xp.where(x > 0.2, out, x) + xp.multiply(x, out)
    out *= out
    out[:] = (x @ out) * xp.sin(out) - x * out[::1] + xp.stack([out, x])[0] * out.sum()
    out[:] = dif.in_place(product)(out)


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("mode", ["forward", "reverse"])
@every_ad
def test_what_was_written_is_read_and_overwritten(backend, mode, prepared):
    x = X + 0.1
    if backend == "jax" and not prepared:
        return  # a kernel for every index; what JAX compiles is the same
    for f in (product, reads_itself):
        g = dif.in_place(f)
        if prepared:
            j = dif.prepare_jacobian(g, X + 0.3, backend=backend, mode=mode, fallback="error")(x)
        else:
            j = dif.jacobian(g, x, backend=backend, mode=mode)
        h = 1e-30  # NumPy's own complex step
        for k in range(N):
            out = np.zeros(N, complex)
            f(out, x + 1j * h * np.eye(N)[k])
            np.testing.assert_allclose(j[:, k], out.imag / h, rtol=1e-12, atol=1e-13)


def test_a_product_with_what_is_overwritten_later():
    """By functions of the frameworks themselves, which see no box in such an array."""

    def with_autograd(out, x):
        out[:] = 2.0
        y = anp.multiply(x, out)
        out[:] = 5 * y

    def with_jax(out, x):
        out[:] = 2.0
        y = jnp.multiply(x, out)
        out[:] = 5 * y

    def hidden(out, x):
        jax.jit(lambda memory: memory.__setitem__(0, 1.0))(out)

    with pytest.raises(dif.NotDifferentiableError, match=r"passes an array that it writes to.*anp"):
        dif.jacobian(dif.in_place(with_autograd), X, backend="autograd")
    found = dif.prepare_jacobian(dif.in_place(with_jax), X, backend="jax")(X)
    np.testing.assert_allclose(found, 10 * np.eye(N))
    with pytest.raises(TypeError, match="immutable"):
        dif.jacobian(dif.in_place(hidden), X, backend="jax")


@pytest.mark.parametrize("backend", ["jax", "autograd"])
@pytest.mark.parametrize("name", ["reshape", "T"])
def test_no_view_but_slices(name, backend):
    """It would not show what is written after it was taken."""

    def f(out, x):
        view = getattr(out, name)
        out[0] = x[0]
        out[1] = view[0]

    with pytest.raises(dif.NotDifferentiableError, match="would be no view"):
        dif.jacobian(dif.in_place(f), X, backend=backend)


@pytest.mark.parametrize("backend", ["jax", "autograd"])
def test_a_write_to_what_is_no_view(backend):
    def f(out, x):
        shaped = dif.namespace(x).reshape(out, (2, 2))
        out[0] = x[0]
        shaped[1] = 2.0

    with pytest.raises((TypeError, ValueError), match=r"no view|writes into an argument"):
        dif.jacobian(dif.in_place(f), X, backend=backend)


def test_functions_of_torch_that_write_and_that_look():
    def f(out, x):
        out[:] = x
        torch.nn.functional.relu(out, inplace=True)
        out.reshape(2, 2)[0] *= x[2:] ** 2
        out.view(N)[1] = out[0] * x[0]
        out[2:] = dif.gradient(lambda z: (z**3).sum(), out)[2:]

    for mode in ("forward", "reverse"):
        for j in (
            dif.jacobian(dif.in_place(f), X, backend="torch", mode=mode),
            dif.prepare_jacobian(dif.in_place(f), X + 1, backend="torch", mode=mode)(X),
        ):
            a, _, c, d = X
            want = [[c**2, 0, 2 * a * c, 0], [2 * a * c**2, 0, 2 * a**2 * c, 0],
                    [0, 0, 6 * c, 0], [0, 0, 0, 6 * d]]  # fmt: skip
            np.testing.assert_allclose(j, want, rtol=1e-12)


@pytest.mark.slow
def test_reading_what_was_written_in_compiled_code():
    import torch

    def products(out, x):
        out[0] = x[0] * 1.0
        for i in range(1, N):
            out[i] = out[i - 1] * x[i]

    g = dif.in_place(products)
    x = torch.tensor(X + 1, requires_grad=True)
    y = torch.compile(g, backend="eager")(x)[-1]
    (found,) = torch.autograd.grad(y, x)
    torch.testing.assert_close(found, y.detach() / x.detach())


def test_numbers_alone_are_doubles():
    assert dif.in_place(lambda out, a: out.__setitem__(0, a / 3), like=(1,))(2.0) == 2.0 / 3


def test_what_is_told_about_the_function():
    """Its parameters, by which bridges and rules go, and what it is made of, for pickling."""
    g = dif.in_place(by_slices)
    assert list(inspect.signature(g).parameters) == ["x", "p", "t"]
    bridged = dif.bridge(g, backend="autograd")
    found = dif.jacobian(bridged, X, dif.Const(P), dif.Const(T), backend="torch")
    np.testing.assert_allclose(found, P * T * SECOND)
    j = dif.prepare_jacobian(g, X, dif.Const(P), dif.Const(T), backend="autograd")
    again = cloudpickle.loads(cloudpickle.dumps(j))
    np.testing.assert_allclose(again(X, P, T), P * T * SECOND)


def neighbours(out, x):
    """Values that differ in what they are computed from, and by what."""
    xp = dif.namespace(x)
    n = x.shape[0]
    for i in range(n):
        out[i] = xp.where(x[i] > 0.5, x[i] ** (1 + i % 3), x[-1 - i] * (i + 0.5))
        if i % 3 == 0 and i:
            out[i] += out[i - 1] * x[0]
    out[2:5] *= 2.0


def running(out, x):
    """Each element needs the one before."""
    out[0] = x[0]
    for i in range(1, x.shape[0]):
        out[i] = 0.5 * out[i - 1] + x[i] * x[i - 1]


def by_rows(out, x):
    """Views of rows, in another order, and memory to scribble into."""
    y = dif.namespace(x).reshape(x, (-1, 4))
    table, upside_down = out[: 4 * y.shape[0]], out[::-1]
    for i in range(y.shape[0]):
        for j in range(4):
            table[4 * i + j] = y[i][j] * y[i - 1, j]
    for i in range(3):
        upside_down[i] = table[i] + x[i]


@pytest.mark.parametrize(
    "f", [neighbours, *(pytest.param(f, marks=pytest.mark.slow) for f in (running, by_rows))]
)
def test_equal_operations_on_elements_are_done_together_on_jax(f):
    """The program has one operation for all elements, however many there are."""
    import jax

    g = dif.in_place(f)
    energy = lambda x: dif.namespace(x).sum(g(x) ** 2)
    sizes = []
    for n in (32, 64):
        x = np.cos(np.arange(n) * 1.7) ** 2
        with jax.enable_x64(True):
            compiled = jax.jit(jax.grad(energy)).lower(x).compile()
            found = compiled(x)
        expected = dif.gradient(energy, x, backend="autograd")
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
        sizes.append(compiled.as_text().count(" multiply("))
    assert f is running or max(sizes) < 50
