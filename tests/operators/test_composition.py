"""Operators inside whatever is differentiated, traced, batched or compiled."""

from typing import Any

import autograd
import autograd.numpy as anp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import diffface as dif

AD = ("jax", "torch", "autograd")
X = np.array([1.0, 2.0])
WAYS = ("plain", "prepared", "lazy")


def quartic(x: Any) -> Any:
    return dif.namespace(x).sum(x**4)


def operator(
    name: str, f: Any, way: str, backend: str | None = None, like: Any = X, **options: Any
) -> Any:
    """``x -> op(f, x)``, prepared as ``way`` says outside of what differentiates it."""
    seeds = {key: options.pop(key) for key in ("tangents", "cotangents") if key in options}
    if way == "plain":
        return lambda x: getattr(dif, name)(f, x, backend=backend, **seeds, **options)
    example = (like,) if way == "prepared" else ()
    prepared = getattr(dif, f"prepare_{name}")(f, *example, backend=backend, **options)
    return lambda x: prepared(x, **seeds)


# Sums of squares of what the operators give at x = (a, b), and gradients of these by differences
# of closed forms.
A, B = X
SUM, ONES = A + B, np.ones(2)
QUARTIC_GRADIENT = 2 * 4 * X**3 * 12 * X**2
QUARTIC_HESSIAN = 2 * 12 * X**2 * 24 * X
INSIDE: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "gradient": (quartic, {}, QUARTIC_GRADIENT),
    "hessian": (quartic, {}, QUARTIC_HESSIAN),
    "hvp": (quartic, {"tangents": ONES}, QUARTIC_HESSIAN),
    "jacobian": (lambda x: x**4, {}, QUARTIC_GRADIENT),
    "pushforward": (lambda x: x**4, {"tangents": ONES}, QUARTIC_GRADIENT),
    "pullback": (lambda x: x**4, {"cotangents": ONES}, QUARTIC_GRADIENT),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("backend", AD)
def test_inside_itself(backend: str, name: str, way: str) -> None:
    f, options, right = INSIDE[name]
    inner = operator(name, f, way, backend, **options)

    def outer(x: Any) -> Any:
        return dif.namespace(x).sum(inner(x) ** 2)

    np.testing.assert_allclose(dif.gradient(outer, X, backend=backend), right, rtol=1e-12)
    prepared = dif.prepare_gradient(outer, 2 * X, backend=backend)
    np.testing.assert_allclose(prepared(X), right, rtol=1e-12)
    pushed = dif.pushforward(outer, X, tangents=ONES, backend=backend)
    np.testing.assert_allclose(pushed, np.sum(right), rtol=1e-12)


@pytest.mark.parametrize("backend", AD)
@pytest.mark.parametrize("name", ["linearize", "vjp"])
def test_fixed_points_inside(backend: str, name: str) -> None:
    def outer(x: Any) -> Any:
        xp = dif.namespace(x)
        _, apply = getattr(dif, name)(lambda x: x**4, x, backend=backend)
        return xp.sum(apply(xp.ones_like(x)) ** 2)

    np.testing.assert_allclose(
        dif.gradient(outer, X, backend=backend), QUARTIC_GRADIENT, rtol=1e-12
    )


@pytest.mark.parametrize("backend", AD)
@pytest.mark.parametrize("captured", [False, True], ids=["Const", "captured"])
@pytest.mark.parametrize("way", ["plain", "prepared inside", "lazy inside"])
def test_constants_that_are_active_outside(backend: str, captured: bool, way: str) -> None:
    def inner(x: Any, w: Any) -> Any:
        return dif.namespace(x).sum(w * x**3)

    def outer(w: Any) -> Any:
        f, args = (lambda x: inner(x, w), (X,)) if captured else (inner, (X, dif.Const(w)))
        if way == "plain":
            slope = dif.gradient(f, *args, backend=backend)
        else:
            example = args if way == "prepared inside" else ()
            slope = dif.prepare_gradient(f, *example, backend=backend)(*args)
        return dif.namespace(w).sum(slope**2)

    right = 2 * (3 * X**2) ** 2 * X
    np.testing.assert_allclose(dif.gradient(outer, X, backend=backend), right, rtol=1e-12)
    prepared = dif.prepare_gradient(outer, 2 * X, backend=backend)
    np.testing.assert_allclose(prepared(X), right, rtol=1e-12)


@pytest.mark.parametrize("outside", AD)
@pytest.mark.parametrize("inside", [*AD, "numpy", "complex-step"])
@pytest.mark.parametrize("way", WAYS)
def test_across_frameworks_is_refused(outside: str, inside: str, way: str) -> None:
    if outside == inside:
        return
    inner = operator("gradient", quartic, way, inside)
    with pytest.raises(dif.NotDifferentiableError, match=r"`diffface\.bridge`") as caught:
        dif.gradient(lambda x: dif.namespace(x).sum(inner(x)), X, backend=outside)
    owner = {b.name: b.backend for b in dif.list_backends()}[inside]
    assert repr(owner) in str(caught.value)
    assert f"that {outside} is computing" in str(caught.value)


def network(t: Any, w: Any) -> Any:
    xp = dif.namespace(w["a"], t)
    return xp.sum(w["b"] * xp.tanh(w["a"] * t + w["c"]))


W = {
    "a": np.array([0.5, -1.0, 0.3]),
    "b": np.array([1.0, 0.2, -0.4]),
    "c": np.array([0.0, 0.1, 0.2]),
}
TIMES = (0.1, 0.4, 0.9)


def physics(backend: str) -> Any:
    def loss(w: Any) -> Any:
        total = 0.0
        for t in TIMES:
            u, slope = dif.value_and_derivative(network, t, dif.Const(w), backend=backend)
            total = total + (slope + u) ** 2
        return total

    return loss


def trained(backend: str) -> Any:
    g = dif.prepare_value_and_gradient(physics(backend), W, backend=backend)
    w = {key: value.copy() for key, value in W.items()}
    for _ in range(20):
        value, slope = g(w)
        w = {key: w[key] - 0.05 * slope[key] for key in w}
    return value, w


def test_physics_informed_network() -> None:
    value, w = trained("autograd")
    start, slope = dif.value_and_gradient(physics("autograd"), W, backend="autograd")
    assert value < 0.5 * start
    differences = dif.gradient(physics("numpy"), W, backend=dif.FiniteDifferences("central4"))
    for key in W:
        np.testing.assert_allclose(slope[key], differences[key], rtol=1e-4, atol=1e-6)
    for backend in ("jax", "torch"):
        other, found = trained(backend)
        assert other == pytest.approx(value, rel=1e-10)
        for key in w:
            np.testing.assert_allclose(found[key], w[key], rtol=1e-9)


# torch


def tensors() -> torch.Tensor:
    return torch.tensor(X)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", INSIDE)
def test_backward(name: str, way: str) -> None:
    f, options, right = INSIDE[name]
    options = {key: torch.ones(2, dtype=torch.float64) for key in options}
    inner = operator(name, f, way, "torch", tensors(), **options)
    w = tensors().requires_grad_()
    torch.sum(inner(w) ** 2).backward()
    assert w.grad is not None
    np.testing.assert_allclose(w.grad, right, rtol=1e-12)
    with torch.no_grad():
        assert not inner(w).requires_grad
    assert not torch.as_tensor(inner(tensors())).requires_grad


@pytest.mark.parametrize("name", ["gradient", "pushforward", "jacobian", "hessian"])
def test_captured_tensors_that_require_grad(name: str) -> None:
    w = tensors().requires_grad_()
    f = (lambda x: torch.sum(w * x**4)) if name in ("gradient", "hessian") else lambda x: w * x**4
    options = {"tangents": torch.ones(2, dtype=torch.float64)} if name == "pushforward" else {}
    torch.sum(getattr(dif, name)(f, tensors(), **options) ** 2).backward()
    power = 12 * X**2 if name == "hessian" else 4 * X**3
    assert w.grad is not None
    np.testing.assert_allclose(w.grad, 2 * power**2 * X, rtol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", INSIDE)
def test_torch_func(name: str, way: str) -> None:
    f, options, right = INSIDE[name]
    options = {key: torch.ones(2, dtype=torch.float64) for key in options}
    inner = operator(name, f, way, "torch", tensors(), **options)
    x, one = tensors(), torch.ones(2, dtype=torch.float64)

    def square(x: Any) -> Any:
        return torch.sum(inner(x) ** 2)

    np.testing.assert_allclose(torch.func.grad(square)(x), right, rtol=1e-12)
    np.testing.assert_allclose(torch.func.jvp(square, (x,), (one,))[1], sum(right), rtol=1e-12)
    np.testing.assert_allclose(torch.func.jacrev(square)(x), right, rtol=1e-12)
    np.testing.assert_allclose(torch.func.jacfwd(square)(x), right, rtol=1e-12)
    mapped = torch.func.vmap(inner)(torch.stack([x, 2 * x]))
    np.testing.assert_allclose(mapped[1], inner(2 * x), rtol=1e-12)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(square(forward_ad.make_dual(x, one)))
        np.testing.assert_allclose(dual.tangent.detach(), sum(right), rtol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["real", "fake"])
def test_make_fx_records_the_derivative(way: str, mode: str) -> None:
    inner = operator("gradient", quartic, way, "torch", tensors())
    graph = make_fx(inner, tracing_mode=mode)(tensors())
    np.testing.assert_allclose(graph(2 * tensors()).detach(), 4 * (2 * X) ** 3, rtol=1e-12)


def test_a_compiled_callable_never_sees_fake_tensors() -> None:
    inner = dif.prepare_gradient(quartic, X, backend=dif.Torch(compile=True))
    outer = dif.prepare_gradient(
        lambda x, c: torch.sum(x * inner(c)), X, dif.Const(X), backend="torch"
    )
    np.testing.assert_allclose(outer(X, 2 * X), 4 * (2 * X) ** 3, rtol=1e-12)


# jax


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", INSIDE)
def test_jax_transformations(name: str, way: str) -> None:
    f, options, right = INSIDE[name]
    with jax.enable_x64(True):
        x, one = jnp.asarray(X), jnp.ones(2)
        inner = operator(name, f, way, "jax", x, **options)

        def square(x: Any) -> Any:
            return jnp.sum(inner(x) ** 2)

        np.testing.assert_allclose(jax.grad(square)(x), right, rtol=1e-12)
        np.testing.assert_allclose(jax.jit(jax.grad(square))(x), right, rtol=1e-12)
        np.testing.assert_allclose(jax.jvp(square, (x,), (one,))[1], sum(right), rtol=1e-12)
        np.testing.assert_allclose(jax.vmap(inner)(jnp.stack([x, 2 * x]))[1], inner(2 * x))
        total, _ = jax.lax.scan(lambda c, a: (c + square(a), None), 0.0, jnp.stack([x, x]))
        np.testing.assert_allclose(total, 2 * square(x))


# autograd


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", INSIDE)
def test_autograd_transformations(name: str, way: str) -> None:
    f, options, right = INSIDE[name]
    inner = operator(name, f, way, "autograd", **options)

    def square(x: Any) -> Any:
        return anp.sum(inner(x) ** 2)

    np.testing.assert_allclose(autograd.grad(square)(X), right, rtol=1e-12)
    np.testing.assert_allclose(autograd.make_jvp(square)(X)(ONES)[1], sum(right), rtol=1e-12)


def test_numbers_of_autograd() -> None:
    assert autograd.grad(lambda t: dif.derivative(lambda s: s**4, t))(2.0) == 48.0


# Rules that are missing, or wrong


class OldSine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return torch.sin(x)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * torch.cos(ctx.saved_tensors[0])


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        return 2 * g * ctx.saved_tensors[0]


class Forward(torch.autograd.Function):
    @staticmethod
    def forward(x: Any) -> Any:
        return torch.sin(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, dx: Any) -> Any:
        return dx * torch.cos(ctx.saved_tensors[0])


def both(name: str, f: Any, x: Any, **options: Any) -> list[Any]:
    """Called and prepared."""
    seeds = {key: options.pop(key) for key in ("tangents", "cotangents") if key in options}
    prepared = getattr(dif, f"prepare_{name}")(f, x, **options)
    return [getattr(dif, name)(f, x, **seeds, **options), prepared(x, **seeds)]


def layer(t: Any) -> Any:
    stacked = torch.stack([t, t**2, torch.sin(t)])
    return torch.nn.functional.layer_norm(stacked, (3,))[0]


# By mpmath with 40 digits.
SECOND = {
    "det": (lambda t: torch.linalg.det(torch.eye(2, dtype=torch.float64) * t**2), 0.4, 1.92),
    "layer norm": (layer, 0.4, 1.6539897279324507),
    "no forward rule": (OldSine.apply, 0.3, -0.29552020666133955),
}


# A record that differs gives way to eager evaluation.
@pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")
@pytest.mark.parametrize("case", SECOND)
def test_second_derivatives_on_torch(case: str) -> None:
    f, t, right = SECOND[case]
    for found in both("second_derivative", f, t, backend="torch"):
        assert found == pytest.approx(right, rel=1e-10)
    nested = dif.derivative(lambda t: dif.derivative(f, t), t, backend="torch")
    assert nested == pytest.approx(right, rel=1e-10)
    nested = dif.gradient(lambda t: dif.derivative(f, t), t, backend="torch")
    assert nested == pytest.approx(right, rel=1e-10)


@pytest.mark.parametrize(
    ("f", "slope"), [(OldSine.apply, np.cos(X)), (Once.apply, 2 * X), (Forward.apply, np.cos(X))]
)
def test_torch_functions_with_few_rules(f: Any, slope: Any) -> None:
    for mode in ("auto", "forward"):
        for found in both("jacobian", f, X, backend="torch", mode=mode):
            np.testing.assert_allclose(found, np.diag(slope), rtol=1e-12, atol=1e-15)
    for found in both("pushforward", f, X, backend="torch", tangents=ONES):
        np.testing.assert_allclose(found, slope, rtol=1e-12)
    batch = np.stack([ONES, X])
    found = dif.pushforward(f, X, backend="torch", tangents=batch, batched=True)
    np.testing.assert_allclose(found, batch * slope, rtol=1e-12)
    for found in both("pullback", f, X, backend="torch", cotangents=ONES):
        np.testing.assert_allclose(found, slope, rtol=1e-12)
    for found in both("gradient", lambda x: f(x).sum(), X, backend="torch"):
        np.testing.assert_allclose(found, slope, rtol=1e-12)


@pytest.mark.parametrize("rest", [0.0, 1.0])
def test_functions_of_torch_without_derivative(rest: float) -> None:
    with pytest.raises(dif.NotDifferentiableError, match="bessel_j0"):
        dif.gradient(lambda x: (rest * x + torch.special.bessel_j0(x)).sum(), X, backend="torch")


def test_dropout_has_one_draw() -> None:
    x = np.linspace(1.0, 2.0, 50)
    found = dif.jacobian(torch.nn.functional.dropout, x, backend="torch")
    np.testing.assert_array_equal(found, np.diag(np.diag(found)))
    assert set(np.diag(found)) == {0.0, 2.0}


# autograd's eigh branches on values.
@pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")
def test_transposed_where_a_cotangent_of_zero_is_skipped() -> None:
    a, b = np.diag([2.0, 1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])
    for found in both(
        "derivative", lambda t: anp.linalg.eigh(a + t * b)[1][0, 1] ** 2, 0.4, backend="autograd"
    ):
        assert found == pytest.approx(-0.380911614362454, rel=1e-12)


@jax.custom_vjp
def only_reverse(x: Any) -> Any:
    return jnp.sin(x)


only_reverse.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))


def only_forward(x: Any) -> Any:
    return jax.lax.while_loop(lambda s: s[0] < 1, lambda s: (s[0] + 1, jnp.sin(s[1])), (0, x))[1]


@pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")
@pytest.mark.parametrize(
    ("f", "has", "lacks"),
    [(only_reverse, "reverse", "forward"), (only_forward, "forward", "reverse")],
)
def test_the_mode_that_jax_has(f: Any, has: Any, lacks: Any) -> None:
    slope, curvature = np.cos(X), -np.sin(X)
    for found in both("jacobian", f, X, backend="jax"):
        np.testing.assert_allclose(found, np.diag(slope), rtol=1e-12)
    for found in both("gradient", lambda x: jnp.sum(f(x)), X, backend="jax"):
        np.testing.assert_allclose(found, slope, rtol=1e-12)
    for found in both("hessian", lambda x: jnp.sum(f(x)), X, backend="jax"):
        np.testing.assert_allclose(found, np.diag(curvature), rtol=1e-12)
    for name, seeds in (("pushforward", "tangents"), ("pullback", "cotangents")):
        for found in both(name, f, X, backend="jax", **{seeds: ONES}):
            np.testing.assert_allclose(found, slope, rtol=1e-12)
    np.testing.assert_allclose(dif.linearize(f, X, backend="jax")[1](ONES), slope, rtol=1e-12)
    np.testing.assert_allclose(dif.vjp(f, X, backend="jax")[1](ONES), slope, rtol=1e-12)
    np.testing.assert_allclose(dif.jacobian(f, X, backend="jax", mode=has), np.diag(slope))
    with pytest.raises(dif.UnsupportedOperatorError, match=f"use mode='{has}'"):
        dif.jacobian(f, X, backend="jax", mode=lacks)


@pytest.mark.parametrize("name", ["pullback", "value_and_pullback", "pushforward", "jacobian"])
@pytest.mark.parametrize("backend", AD)
def test_prepared_inside_what_is_prepared_by_a_plain_call(backend: str, name: str) -> None:
    """A preparation evaluates f on arrays of the backend, and not of NumPy."""
    inner = dif.prepare_gradient(quartic, X, backend=backend)
    outer = getattr(dif, f"prepare_{name}")(lambda x: 1.0 * inner(x), X, backend=backend)
    seeds = {"jacobian": {}, "pushforward": {"tangents": ONES}}
    found = outer(X, **seeds.get(name, {"cotangents": ONES}))
    product = found[-1] if isinstance(found, tuple) else found
    wanted = np.diag(12 * X**2) if name == "jacobian" else 12 * X**2
    np.testing.assert_allclose(product, wanted, rtol=1e-12)
    assert outer.strategy != "eager"
