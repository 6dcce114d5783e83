"""Rules inside JAX's loops, branches and maps, at any order, whatever they capture."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import same

import diffface as dif

jax = pytest.importorskip("jax")
lax = jax.lax
X = np.array([1.0, 2.25, -1.75])
Step = Callable[[Any], Any]


def rounded(kind: str) -> Any:
    """Rounding whose derivative is one, by rules of some kind: not that of what it computes."""
    f = dif.custom_rule(black_box="box" in kind)(lambda x: dif.namespace(x).round(x))
    if "pull" in kind:
        f.pullback(lambda active, saved, dy: (dy,))
    if "push" in kind:
        f.pushforward(lambda active, args, tangents: tangents[0])
    return f


KINDS = ("pull", "push", "pull and push", "box, pull", "box, push", "box, pull and push")

# Each is ``step`` twice, element by element.
LOOPS: dict[str, Callable[[Step], Step]] = {
    "scan": lambda step: lambda x: lax.scan(lambda c, _: (step(c), None), x, None, length=2)[0],
    "fori_loop": lambda step: lambda x: lax.fori_loop(0, 2, lambda _, c: step(c), x),
    "map": lambda step: lambda x: lax.map(lambda a: step(step(a)), x),
    "vmap": lambda step: lambda x: jax.vmap(lambda a: step(step(a)))(x),
    "cond": lambda step: lambda x: lax.cond(x[0] > 0, lambda c: step(step(c)), step, x),
    "checkpoint": lambda step: lambda x: jax.checkpoint(lambda c: step(step(c)))(x),
    "jit": lambda step: lambda x: jax.jit(step)(jax.jit(step)(x)),
    "scan of scans": lambda step: LOOPS["scan"](
        lambda x: lax.scan(lambda c, _: (step(c), None), x, None, length=1)[0]
    ),
    "scan of maps": lambda step: LOOPS["scan"](lambda x: lax.map(step, x)),
}


def expected() -> tuple[Any, Any, Any]:
    """``c -> round(c) c`` twice, and its derivatives where that of ``round`` is one."""
    y, first = np.round(X) * X, np.round(X) + X
    return (
        np.round(y) * y,
        (np.round(y) + y) * first,
        2 * first**2 + (np.round(y) + y) * 2,
    )


@pytest.mark.parametrize("prepared", [False, True], ids=["now", "prepared"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loop", LOOPS)
def test_derivatives_of_a_rule_in_a_loop(loop: str, kind: str, prepared: bool) -> None:
    r = rounded(kind)
    twice = LOOPS[loop](lambda c: r(c) * c)
    total = lambda x: twice(x).sum()
    value, first, second = expected()

    def derivative(name: str, f: Step, **options: Any) -> Any:
        if not prepared:
            return getattr(dif, name)(f, X, backend="jax", **options)
        return getattr(dif, f"prepare_{name}")(f, X, backend="jax", **options)(X)

    same(np.asarray(jax.jit(twice)(X)), value, 1e-6)
    same(derivative("gradient", total), first)
    same(derivative("jacobian", twice, mode="forward"), np.diag(first))
    same(derivative("jacobian", twice, mode="reverse"), np.diag(first))
    same(derivative("hessian", total), np.diag(second))
    same(derivative("hessian", total, sparsity="trace").toarray(), np.diag(second))


@pytest.mark.parametrize("kind", KINDS)
def test_forward_over_forward_in_a_while_loop(kind: str) -> None:
    r = rounded(kind)

    def f(x: Any) -> Any:
        more = lambda state: state[0] < 2
        return lax.while_loop(more, lambda s: (s[0] + 1, r(s[1]) * s[1]), (0, x))[1]

    _, first, second = expected()
    x, ones = jax.numpy.asarray(X), jax.numpy.ones(3)
    once = lambda x: jax.jvp(f, (x,), (ones,))[1]
    same(np.asarray(once(x)), first, 1e-5)
    same(np.asarray(jax.jvp(once, (x,), (ones,))[1]), second, 1e-5)


@pytest.mark.parametrize("inner", ["numpy", "torch", "autograd"])
@pytest.mark.parametrize("loop", LOOPS)
def test_bridges_in_a_loop(loop: str, inner: str) -> None:
    bridged = dif.bridge(lambda x: dif.namespace(x).sin(x), backend=inner)
    twice = LOOPS[loop](bridged)
    total = lambda x: twice(x).sum()
    sin, cos = np.sin(X), np.cos(X)
    rtol = 1e-6 if inner == "numpy" else 1e-12
    same(dif.gradient(total, X, backend="jax"), np.cos(sin) * cos, rtol)
    second = -np.sin(sin) * cos**2 - np.cos(sin) * sin
    same(dif.hessian(total, X, backend="jax"), np.diag(second), 1e-4 if inner == "numpy" else rtol)
    same(dif.prepare_hessian(total, X, backend="jax")(X), np.diag(second), 1e-4)


# What surrounds a rule that captures ``c``.
AROUND: dict[str, Callable[[Step, Any], Any]] = {
    "nothing": lambda f, c: f,
    "jit": lambda f, c: jax.jit(f),
    "scan": lambda f, c: lambda x: lax.scan(lambda y, _: (f(y), None), x, None, length=1)[0],
    "map": lambda f, c: lambda x: lax.map(lambda a: f(a[None])[0], x),
}
DERIVED = {
    "grad": lambda f: jax.grad(f),
    "jit of grad": lambda f: jax.jit(jax.grad(f)),
    "grad of jit": lambda f: jax.grad(jax.jit(f)),
    "diffface": lambda f: lambda x, c: dif.gradient(f, x, dif.Const(c), backend="jax"),
    "prepared": lambda f: (
        lambda x, c: dif.prepare_gradient(f, x, dif.Const(c), backend="jax", argnums=0)(x, c)
    ),
}


@pytest.mark.parametrize("kind", ["pull", "push"])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("derived", DERIVED)
def test_values_that_a_rule_captures(derived: str, around: str, kind: str) -> None:
    """They may be tracers of a program that was read long ago when the rule is used."""

    def f(x: Any, c: Any) -> Any:
        cubed = dif.custom_rule(lambda x: c * x**3)
        if kind == "pull":
            cubed.pullback(lambda active, saved, dy: (3 * c * saved[1] ** 2 * dy,))
        else:
            cubed.pushforward(lambda active, args, dx: 3 * c * args[0] ** 2 * dx[0])
        return AROUND[around](cubed, c)(x).sum()

    same(np.asarray(DERIVED[derived](f)(X, 2.0)), 6 * X**2, 1e-6)
    hessian = jax.jit(jax.hessian(f))(X, 2.0)
    same(np.asarray(hessian), np.diag(12 * X), 1e-5)


@pytest.mark.parametrize("kind", ["pull", "push"])
def test_captured_values_at_arguments_that_are_known(kind: str) -> None:
    def cubed(c: Any) -> Any:
        f = dif.custom_rule(lambda x: c * x**3)
        if kind == "pull":
            f.pullback(lambda active, saved, dy: (3 * c * saved[1] ** 2 * dy,))
        else:
            f.pushforward(lambda active, args, dx: 3 * c * args[0] ** 2 * dx[0])
        return f

    x, many = jax.numpy.asarray(X), jax.numpy.asarray([2.0, 3.0])
    expected = np.outer([2, 3], X**3)
    same(np.asarray(jax.vmap(lambda c: cubed(c)(x))(many)), expected, 1e-6)
    same(np.asarray(lax.map(lambda c: cubed(c)(x), many)), expected, 1e-6)
    same(np.asarray(jax.jit(lambda c: cubed(c)(x))(2.0)), expected[0], 1e-6)
    first = jax.vmap(lambda c: jax.grad(lambda x: cubed(c)(x).sum())(x))
    same(np.asarray(first(many)), np.outer([6, 9], X**2), 1e-6)
    second = jax.vmap(lambda c: jax.hessian(lambda x: cubed(c)(x).sum())(x).sum(0))
    same(np.asarray(second(many)), np.outer([12, 18], X), 1e-5)
    with pytest.raises(dif.NotDifferentiableError, match="captures a value that is differentiated"):
        jax.grad(lambda c: cubed(c)(x).sum())(2.0)


@pytest.mark.parametrize("around", AROUND)
def test_a_captured_value_that_is_differentiated(around: str) -> None:
    def f(x: Any, c: Any) -> Any:
        times = dif.custom_rule(lambda x: c * x)
        times.pullback(lambda active, saved, dy: (c * dy,))
        return AROUND[around](times, c)(x).sum()

    message = "captures a value that is differentiated. Pass it as an argument"
    with pytest.raises(dif.NotDifferentiableError, match=message):
        jax.grad(jax.jit(f), 1)(X, 2.0)


@pytest.mark.parametrize("kind", ["pull", "push"])
def test_sums_over_a_named_axis(kind: str) -> None:
    centred = dif.custom_rule(lambda x: x**2 - lax.psum(x**2, "points") / 3)
    if kind == "pull":
        centred.pullback(lambda _, saved, dy: (2 * saved[1] * (dy - lax.psum(dy, "points") / 3),))
    else:
        centred.pushforward(
            lambda _, x, dx: 2 * x[0] * dx[0] - lax.psum(2 * x[0] * dx[0], "points") / 3
        )
    f = lambda x: (jax.vmap(centred, axis_name="points")(x) ** 3).sum()
    plain = lambda x: ((x**2 - (x**2).sum() / 3) ** 3).sum()
    same(dif.gradient(f, X, backend="jax"), dif.gradient(plain, X, backend="jax"))
    same(dif.hessian(f, X, backend="jax"), dif.hessian(plain, X, backend="jax"))
