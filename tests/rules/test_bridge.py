"""Functions of one framework inside every other."""

import threading
from functools import partial

import numpy as np
import pytest
from helpers import AD, STRATEGY
from scipy import special

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
A = np.array([0.5, -1.0, 2.0])
V = np.array([0.3, 0.2, -1.0])
D = A * (np.sin(X) + X * np.cos(X))
D2 = A * (2 * np.cos(X) - X * np.sin(X))
DA = X * np.sin(X)

INNER = ("jax", "torch", "autograd", "numpy", "complex-step")
pairs = pytest.mark.parametrize(
    ("inner", "outer"), [(i, o) for i in INNER for o in AD], ids=lambda name: name
)
prepared_or_not = pytest.mark.parametrize("prepared", [False, True], ids=["once", "prepared"])


def native(backend):
    """``a x sin(x)``, written for one framework."""
    if backend == "jax":
        import jax.numpy as xp
    elif backend == "torch":
        import torch as xp
    elif backend == "autograd":
        import autograd.numpy as xp
    else:
        xp = np
    return lambda x, a: xp.sin(x) * a * x


def total(f):
    return lambda x, a: dif.namespace(x, a).sum(f(x, a))


def tolerance(inner):
    return {"rtol": 1e-4, "atol": 1e-4} if inner in INNER[3:] else {"rtol": 1e-10, "atol": 1e-12}


def compute(operator, f, args, outer, prepared, **options):
    seeds = {k: options.pop(k) for k in ("tangents", "cotangents") if k in options}
    if not prepared:
        return getattr(dif, operator)(f, *args, backend=outer, **seeds, **options)
    g = getattr(dif, f"prepare_{operator}")(f, *args, backend=outer, fallback="error", **options)
    assert g.strategy == STRATEGY[outer]
    return g(*args, **seeds)


@prepared_or_not
@pairs
def test_derivatives(inner, outer, prepared):
    f = dif.bridge(native(inner), backend=inner)
    close = lambda found, expected: np.testing.assert_allclose(found, expected, **tolerance(inner))
    both = compute("gradient", total(f), (X, A), outer, prepared)
    close(both, (D, DA))
    args = (X, dif.Const(A))
    close(compute("gradient", total(f), args, outer, prepared), D)
    close(compute("pushforward", f, args, outer, prepared, tangents=V), D * V)
    close(compute("jacobian", f, args, outer, prepared, mode="forward"), np.diag(D))
    close(compute("jacobian", f, args, outer, prepared, mode="reverse"), np.diag(D))
    close(compute("hvp", total(f), args, outer, prepared, tangents=V), D2 * V)
    close(compute("hessian", total(f), args, outer, prepared), np.diag(D2))


@pytest.mark.parametrize("inner", INNER)
def test_plain_calls(inner):
    f = dif.bridge(native(inner), backend=inner)
    found = f(X, A)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, A * DA)
    np.testing.assert_allclose(
        dif.gradient(total(f), X, dif.Const(A), backend="numpy"), D, rtol=1e-6
    )


class Sine:
    def __call__(self, x):
        return np.sin(x)


@pytest.mark.parametrize("outer", ["torch", "autograd", "numpy"])
def test_functions_that_python_cannot_look_into(outer):
    """Ufuncs, which refuse their own defaults, C functions without a signature, and objects."""
    import torch

    for f, inner in (
        (np.sin, "numpy"), (special.sindg, "numpy"), (torch.sin, "torch"), (Sine(), "numpy"),
        (torch.Tensor.sin, "torch"), (partial(np.interp, xp=[0.0, 4.0], fp=[0.0, 8.0]), "numpy"),
    ):  # fmt: skip
        expected = {special.sindg: np.cos(X * np.pi / 180) * np.pi / 180}.get(f, np.cos(X))
        if isinstance(f, partial):
            expected = np.full(3, 2.0)
        bridged = dif.bridge(f, backend=inner)
        found = dif.jacobian(bridged, X, backend=outer)
        np.testing.assert_allclose(np.diag(found), expected, rtol=1e-5)


def test_rules_of_a_framework_are_rules_everywhere():
    """Derivatives that are wrong on purpose show whose rule was used."""
    import autograd.numpy as anp
    import jax
    import jax.numpy as jnp
    import torch
    from autograd.extend import defvjp, primitive

    in_jax = jax.custom_vjp(jnp.sin)
    in_jax.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (7.0 * dy,))

    class InTorch(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return torch.sin(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, dy):
            return 7.0 * dy

    # Not np.sin itself, whose rule would be replaced for all who call it on boxes.
    in_autograd = primitive(lambda x: np.sin(x))
    defvjp(in_autograd, lambda ans, x: lambda dy: 7.0 * dy)
    for inner, f in (("jax", in_jax), ("torch", InTorch.apply), ("autograd", in_autograd)):
        bridged = dif.bridge(f, backend=inner)
        for outer in AD:
            g = lambda x, f=bridged: dif.namespace(x).sum(f(2.0 * x))
            np.testing.assert_allclose(dif.gradient(g, X, backend=outer), np.full(3, 14.0))
            prepared = dif.prepare_gradient(g, X, backend=outer)
            np.testing.assert_allclose(prepared(X), np.full(3, 14.0))
    assert anp is not None


@prepared_or_not
@pytest.mark.parametrize("outer", AD)
def test_trees(outer, prepared):
    import jax.numpy as jnp

    @lambda f: dif.bridge(f, backend="jax")
    def model(p, x, power=2):
        return {"y": jnp.tanh(p["w"] @ x) + p["b"], "norm": jnp.sum(p["w"] ** power)}

    def loss(p, x):
        y = model(p, x, power=2)
        return dif.namespace(p["b"]).sum(y["y"] ** 2) + y["norm"]

    w = np.arange(6.0).reshape(2, 3) / 10
    p = {"w": w, "b": V[:2]}
    found = compute("gradient", loss, (p, dif.Const(X)), outer, prepared)
    y = np.tanh(w @ X)
    np.testing.assert_allclose(found["b"], 2 * (y + V[:2]))
    np.testing.assert_allclose(
        found["w"], np.outer(2 * (y + V[:2]) * (1 - y**2), X) + 2 * w, rtol=1e-12
    )


def test_under_the_frameworks_own_transformations():
    import jax
    import jax.numpy as jnp
    import torch

    in_torch = total(dif.bridge(native("torch"), backend="torch"))
    x, a = jnp.asarray(X, jnp.float32), jnp.asarray(A, jnp.float32)
    np.testing.assert_allclose(jax.jit(jax.grad(in_torch))(x, a), D, rtol=1e-5)
    batch = jax.vmap(jax.grad(in_torch), (0, None))(jnp.stack([x, x]), a)
    np.testing.assert_allclose(batch, np.stack([D, D]), rtol=1e-5)
    in_jax = total(dif.bridge(native("jax"), backend="jax"))
    x, a = torch.from_numpy(X), torch.from_numpy(A)
    np.testing.assert_allclose(torch.func.grad(in_jax)(x, a), D)
    batch = torch.vmap(torch.func.grad(in_jax), (0, None))(torch.stack([x, x]), a)
    np.testing.assert_allclose(batch, np.stack([D, D]))
    leaf = x.clone().requires_grad_()
    in_jax(leaf, a).backward()
    np.testing.assert_allclose(leaf.grad, D)


@pytest.mark.slow
def test_double_precision_in_many_threads():
    """The x64 flag of JAX is off, and every result is right to the last digits."""
    import jax

    assert not jax.config.jax_enable_x64
    f = total(dif.bridge(native("torch"), backend="torch"))
    rng = np.random.default_rng(0)
    x, a = rng.normal(size=300_000), rng.normal(size=300_000)
    g = dif.prepare_gradient(f, x, dif.Const(a), backend="jax")
    errors = []

    def work(k):
        for i in range(3):
            moved = x + k + i
            expected = a * (np.sin(moved) + moved * np.cos(moved))
            errors.append(np.max(np.abs(g(moved, a) - expected)))

    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(errors) == 24
    assert max(errors) < 1e-12


@prepared_or_not
@pytest.mark.parametrize("outer", AD)
def test_an_error_inside_comes_out_as_itself(outer, prepared):
    class UsersError(Exception):
        pass

    failing = []

    def f(x):
        if failing:
            raise UsersError("no solution")
        return np.sum(x**2)

    bridged = dif.bridge(f, backend="numpy")
    g = dif.prepare_gradient(lambda x: bridged(x) * 1.0, X, backend=outer)
    np.testing.assert_allclose(g(X), 2 * X, rtol=1e-6)
    failing.append(True)
    with pytest.raises(UsersError, match="no solution"):
        if prepared:
            g(X)
        else:
            dif.gradient(bridged, X, backend=outer)


def test_a_shape_that_must_be_told():
    def f(x):
        if np.all(x == 1.0):
            raise ValueError("singular")
        return np.sum(x**2)

    with pytest.warns(dif.PreparationWarning, match="singular"):
        g = dif.prepare_gradient(dif.bridge(f, backend="numpy"), X, backend="jax")
    np.testing.assert_allclose(g(X), 2 * X, rtol=1e-6)
    told = dif.bridge(f, backend="numpy", shape=lambda x: np.zeros(()))
    g = dif.prepare_gradient(told, X, backend="jax", fallback="error")
    np.testing.assert_allclose(g(X), 2 * X, rtol=1e-6)


def test_arrays_of_two_frameworks():
    import jax.numpy as jnp
    import torch

    f = dif.bridge(native("numpy"), backend="numpy")
    with pytest.raises(dif.NotDifferentiableError) as caught:
        f(jnp.ones(2), torch.ones(2))
    assert str(caught.value) == (
        "One call got arrays of both jax and torch; convert one of them, or make the function one "
        "of a single framework by `diffface.bridge`."
    )


@pairs
def test_results_that_are_the_argument_are_apart_from_it(inner, outer):
    """Programs write over what they hold; of a bridge they get memory that nobody else has."""
    f = dif.bridge(lambda x: (x, x, x[1:]), backend=inner)

    def loss(x):
        a, b, c = f(1.0 * x)
        xp = dif.namespace(x)
        return xp.sum(a * -2.0) + xp.sum(b * 3.0 * x) + xp.sum(xp.exp(c))

    x = X.copy()
    g = dif.prepare_value_and_gradient(loss, x, backend=outer)
    for _ in range(2):
        y, dx = g(x)
        np.testing.assert_allclose(y, np.sum(-2 * X + 3 * X**2) + np.exp(X[1:]).sum(), rtol=1e-12)
        expected = -2 + 6 * X + [0, *np.exp(X[1:])]
        np.testing.assert_allclose(dx, expected, rtol=1e-6)
        np.testing.assert_array_equal(x, X)
        dx[:] = np.nan
