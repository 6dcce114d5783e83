"""Rules that differentiate on their own: results carry a graph only where one is asked for."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import diffface as dif
from diffface.backends.torch import host
from diffface.backends.torch.graph import build

X = torch.tensor([0.7, 2.0], dtype=torch.float64)
V = torch.tensor([1.0, -2.0], dtype=torch.float64)


def cubic(x, p):
    return x**3 + x - p


def solve(p):
    x = np.zeros(np.shape(p))
    for _ in range(60):
        x = x - cubic(x, p) / (3 * x**2 + 1)
    return x


def energy(x, p):
    xp = dif.namespace(x, p)
    return xp.sum(x**4 / 4 + x**2 / 2 - p * x)


@dif.custom_rule
def squared(x):
    return x * x


@squared.pullback
def _(active, saved, dy):
    _, x = saved
    # A derivative of the rule's own, which may leave a graph behind
    return (dif.pullback(lambda a: a * a, x, cotangents=dy),)


@dif.custom_rule(black_box=True)
def sine(x):
    return np.sin(x)


@sine.pushforward
def _(active, args, tangents):
    (x,) = args
    return dif.pushforward(lambda a: dif.namespace(a).sin(a), x, tangents=tangents[0])


RULES = {
    "implicit": dif.implicit(cubic, solve),
    "fixed_point": dif.fixed_point(lambda x, p: x - 0.1 * cubic(x, p), solve),
    "argmin": dif.argmin(energy, solve),
    "custom rule": squared,
    "pushforward": sine,
    "bridge": dif.bridge(lambda x: dif.namespace(x).sin(x), backend="jax"),
    "bridge from autograd": dif.bridge(lambda x: dif.namespace(x).sin(x), backend="autograd"),
    "differences": dif.bridge(lambda x: np.sin(x), backend="numpy"),
}
every_rule = pytest.mark.parametrize("name", RULES)


def leaves(found):
    return [found] if isinstance(found, torch.Tensor) else [a for each in found for a in each]


@every_rule
def test_results_carry_no_graph(name):
    f = RULES[name]
    total = lambda p: f(p).sum()
    inner = lambda p: (dif.jacobian(f, p, backend="torch") ** 2).sum()
    found = {
        "gradient": dif.gradient(total, X),
        "gradient of a jacobian": dif.gradient(inner, X),
        "hvp": dif.hvp(total, X, tangents=V),
        "hessian": dif.hessian(total, X),
        "pullback": dif.pullback(f, X, cotangents=V),
        "pullbacks": dif.pullback(f, X, cotangents=torch.stack([V, X]), batched=True),
        "pushforward": dif.pushforward(f, X, tangents=V),
        "pushforwards": dif.pushforward(f, X, tangents=torch.stack([V, X]), batched=True),
        "vjp": dif.vjp(f, X)[1](V),
        "linearize": dif.linearize(f, X)[1](V),
    }
    for mode in ("forward", "reverse"):
        found[mode] = dif.jacobian(f, X, mode=mode)
        y, found[mode + " with value"] = dif.value_and_jacobian(f, X, mode=mode)
        assert not y.requires_grad
    assert [key for key, a in found.items() if a.requires_grad] == []
    np.testing.assert_allclose(found["reverse"], found["forward"], rtol=1e-6, atol=1e-8)


@every_rule
def test_autograds_own_calls_carry_none_either(name):
    f = RULES[name]
    x = X.clone().requires_grad_()
    y = f(x)
    plain = torch.autograd.grad(y, x, V, retain_graph=True)
    pull = lambda dy: torch.autograd.grad(y, x, dy, retain_graph=True)[0]
    many = torch.vmap(pull)(torch.stack([V, X]))
    assert not plain[0].requires_grad
    assert not many.requires_grad
    torch.testing.assert_close(many[0], plain[0])


@pytest.mark.parametrize("name", ["implicit", "fixed_point", "argmin", "custom rule", "bridge"])
def test_a_graph_that_is_asked_for_is_there(name):
    f = RULES[name]
    x = X.clone().requires_grad_()
    slope = torch.diagonal(dif.jacobian(f, X, mode="forward"))
    curvature = torch.diagonal(dif.hessian(lambda p: f(p).sum(), X))
    for rows in (
        torch.vmap(lambda dy: torch.autograd.grad(f(x), x, dy, create_graph=True)[0])(
            torch.eye(2, dtype=x.dtype)
        ),
        torch.stack([torch.autograd.grad(f(x)[i], x, create_graph=True)[0] for i in range(2)]),
        dif.jacobian(f, x, mode="reverse"),
        torch.func.jacrev(f)(x),
    ):
        torch.testing.assert_close(torch.diagonal(rows), slope)
        (second,) = torch.autograd.grad(rows.sum(), x)
        torch.testing.assert_close(second, curvature)
    each = torch.vmap(torch.func.grad(lambda p: f(p[None])[0]))(x)
    torch.testing.assert_close(torch.autograd.grad(each.sum(), x)[0], curvature)
    # Forward over a backward pass that keeps no graph of its own
    with forward_ad.dual_level():
        leaf = X.clone().requires_grad_()
        dual = forward_ad.make_dual(leaf, V)
        (pulled,) = torch.autograd.grad(f(dual), leaf, torch.ones_like(X), create_graph=True)
        tangent = forward_ad.unpack_dual(pulled).tangent
    torch.testing.assert_close(tangent, curvature * V)


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_a_graph_keeps_the_rules_that_were_made_for_it(compiled, monkeypatch):
    """Whenever garbage is collected: between recording and comparing, and before a call."""

    def f(x):
        return dif.odeint(lambda y, t, p: -p * y, x[:1], np.array([0.0, 1.0]), x[1])[-1]

    def trace_and_collect(*args):
        module = trace(*args)
        gc.collect()
        return module

    trace = build.trace
    monkeypatch.setattr(build, "trace", trace_and_collect)
    x = np.array([1.3, 0.7])
    j = dif.prepare_jacobian(f, x, backend=dif.Torch(compile=compiled), fallback="error")
    host._traced.clear()
    gc.collect()
    expected = np.exp(-x[1]) * np.array([[1.0, -x[0]]])
    np.testing.assert_allclose(j(x), expected, rtol=1e-6)


@every_rule
def test_batches_of_the_vmap_that_autograd_itself_uses(name):
    """``is_grads_batched``, vectorized Jacobians, and batches of tangents."""
    f = RULES[name]
    x = X.clone().requires_grad_()
    y = f(x * 1.0)
    seeds = torch.stack([V, X, -V])
    batched = torch.autograd.grad(y, x, seeds, is_grads_batched=True, retain_graph=True)[0]
    rows = [torch.autograd.grad(y, x, seed, retain_graph=True)[0] for seed in seeds]
    torch.testing.assert_close(batched, torch.stack(rows))
    assert not batched.requires_grad
    slope = torch.diag(rows[0] / V)
    for strategy in ("reverse-mode", "forward-mode"):
        found = torch.autograd.functional.jacobian(f, X, vectorize=True, strategy=strategy)
        torch.testing.assert_close(found.detach(), slope)


def test_batches_of_second_derivatives():
    for name in ("implicit", "custom rule", "bridge"):
        f = RULES[name]
        expected = dif.hessian(lambda p, f=f: f(p).sum(), X)
        for outer in ("reverse-mode", "forward-mode"):
            found = torch.autograd.functional.hessian(
                lambda p, f=f: f(p).sum(), X, vectorize=True, outer_jacobian_strategy=outer
            )
            torch.testing.assert_close(found.detach(), expected)


@pytest.mark.parametrize("name", ["custom rule", "implicit", "bridge from autograd", "differences"])
def test_functions_with_rules_stay_in_compiled_graphs(name):
    """One graph, and another one for other shapes."""
    f = RULES[name]
    total = lambda x: torch.sum(torch.sin(f(2 * x)))
    torch.compiler.reset()
    compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
    for x in (X, X + 1, torch.cat([X, X])):
        leaf = x.clone().requires_grad_()
        (found,) = torch.autograd.grad(compiled(leaf), leaf)
        torch.testing.assert_close(found, torch.func.grad(total)(x), rtol=1e-6, atol=1e-8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch looks at it itself
def test_trees_and_static_objects_in_compiled_graphs():
    """What torch cannot carry in a graph is called outside of it."""
    layer = dif.bridge(
        lambda p, power=2, *, name="sin": getattr(np, name)(p["a"]) * p["b"][0] ** power,
        backend="numpy",
    )
    several = dif.bridge(lambda p: {"y": p["a"] * 2.0}, backend="numpy")

    @dif.custom_rule(black_box=True)
    def power(x, options):
        return x**options.power

    power.pullback(lambda active, saved, dy: (3 * saved[1] ** 2 * dy, None))
    for f, whole in (
        (lambda x: layer({"a": x, "b": [2 * x]}, 3, name="cos").sum(), True),
        (lambda x: several({"a": x})["y"].sum(), False),
        (lambda x: power(x, SimpleNamespace(power=3)).sum(), False),
    ):
        torch.compiler.reset()
        leaf = X.clone().requires_grad_()
        compiled = torch.compile(f, fullgraph=whole, backend="aot_eager")
        (found,) = torch.autograd.grad(compiled(leaf), leaf)
        (expected,) = torch.autograd.grad(f(leaf), leaf)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["implicit", "bridge from autograd"])
def test_derivatives_of_torch_func_in_each_other(name):
    """Forward over a backward pass that calls functions with rules, in batches."""
    f = RULES[name]
    total = lambda p: f(p).sum()
    expected = dif.hessian(total, X)
    for outer in (torch.func.jacfwd, torch.func.jacrev):
        for inner in (torch.func.jacfwd, torch.func.jacrev):
            torch.testing.assert_close(outer(inner(total))(X), expected)
    each = torch.vmap(torch.func.hessian(total))(torch.stack([X, V.abs()]))
    torch.testing.assert_close(each[0], expected)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(X[None], V[None])
        tangent = forward_ad.unpack_dual(torch.vmap(torch.func.grad(total))(dual)).tangent
    torch.testing.assert_close(tangent[0], expected @ V)


def test_graphs_of_torch_keep_rules_that_nobody_else_does():
    def f(p):
        y = dif.odeint(lambda y, t, p: -p * y, torch.ones_like(p), torch.tensor([0.0, 1.0]), p)
        return y[-1].sum()

    graph = make_fx(torch.func.grad(f))(X)
    gc.collect()
    torch.testing.assert_close(graph(X + 1), -torch.exp(-X - 1), rtol=1e-6, atol=1e-8)
