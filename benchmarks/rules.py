"""Functions with rules, bridges and functions that write, beside the same written by hand.

Run as ``python -m benchmarks.rules [bridge sizes ...]``. Everything is prepared, takes NumPy arrays
of float64 and returns such, and is checked against the closed form before it is timed.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import diffface as dif
from benchmarks.cells import one_thread
from benchmarks.pairs import pair

Call = Callable[[Any], Any]
SIZES = (10, 10_000)
ALL = ("jax", "torch", "autograd", "numpy", "complex-step")
HEADER = ("", "diffface (us)", "by hand (us)", "ratio", "quartiles")


def main() -> None:
    sizes = tuple(map(int, sys.argv[1:])) or SIZES
    with one_thread():
        table(
            "gradient of a softplus with a rule", [(name, *case) for name, case in rules().items()]
        )
        table("gradient through a bridge", bridges(sizes))
        table("in_place, heat equation, N = 100, beside the functional form", in_place())
        writes()


def table(title: str, cases: list[tuple[str, Call, Call, Any]]) -> None:
    """One line for each of (name, prepared, by hand, point)."""
    print(title)
    print("{:44} {:>14} {:>13} {:>6} {:>12}".format(*HEADER))
    for name, ours, by_hand, x in cases:
        np.testing.assert_allclose(ours(x), by_hand(x), rtol=1e-5, atol=1e-7)
        found = pair(lambda f=ours, x=x: f(x), lambda f=by_hand, x=x: f(x))
        quartiles = f"{found.low:.2f}-{found.high:.2f}"
        times = f"{found.first:14.1f} {found.second:13.1f} {found.ratio:6.2f} {quartiles:>12}"
        print(f"{name:44} {times}")


# One rule: d softplus = sigmoid


@dif.custom_rule
def softplus(x: Any) -> Any:
    xp = dif.namespace(x)
    return xp.logaddexp(x, xp.zeros_like(x))


@softplus.pullback
def _(active: Any, saved: Any, dy: Any) -> Any:
    y, x = saved
    return dy * dif.namespace(x).exp(x - y)


def rules(n: int = 100) -> dict[str, tuple[Call, Call, Any]]:
    """By backend: prepared, by hand, and where."""
    x = np.linspace(-3.0, 3.0, n)

    def loss(x: Any) -> Any:
        return dif.namespace(x).sum(softplus(x) ** 2)

    made = {"jax": _rule_in_jax(), "torch": _rule_in_torch(), "autograd": _rule_in_autograd()}
    return {
        name: (dif.prepare_gradient(loss, x, backend=name, fallback="error"), by_hand, x)
        for name, by_hand in made.items()
    }


def _rule_in_jax() -> Call:
    import jax
    import jax.numpy as jnp

    f = jax.custom_vjp(lambda x: jnp.logaddexp(x, 0.0))

    def forward(x: Any) -> Any:
        y = f(x)
        return y, (x, y)

    f.defvjp(forward, lambda saved, dy: (dy * jnp.exp(saved[0] - saved[1]),))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(f(x) ** 2)))
    return _in_double(gradient)


def _rule_in_torch() -> Call:
    import torch

    class Softplus(torch.autograd.Function):
        @staticmethod
        def forward(x: Any) -> Any:
            return torch.logaddexp(x, torch.zeros_like(x))

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs, output)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            x, y = ctx.saved_tensors
            return dy * torch.exp(x - y)

    return _torch_gradient(lambda x: torch.sum(Softplus.apply(x) ** 2))


def _rule_in_autograd() -> Call:
    import autograd
    import autograd.numpy as anp
    from autograd.extend import defvjp, primitive

    f = primitive(lambda x: np.logaddexp(x, 0.0))
    defvjp(f, lambda y, x: lambda dy: dy * anp.exp(x - y))
    gradient: Call = autograd.grad(lambda x: anp.sum(f(x) ** 2))
    return gradient


def _in_double(jitted: Callable[[Any], Any]) -> Call:
    import jax

    def call(x: Any) -> Any:
        with jax.enable_x64(True):
            return np.asarray(jitted(x))

    return call


def _torch_gradient(loss: Callable[[Any], Any]) -> Call:
    import torch

    def gradient(x: Any) -> Any:
        leaf = torch.from_numpy(x).requires_grad_()
        return torch.autograd.grad(loss(leaf), leaf)[0].numpy()

    return gradient


# Bridges: x sin x of one framework, in the sum of its squares in another


def bridges(sizes: tuple[int, ...]) -> list[tuple[str, Call, Call, Any]]:
    """A torch function in JAX, and a JAX function in torch."""
    import jax.numpy as jnp
    import torch

    inner = {"torch": lambda x: x * torch.sin(x), "jax": lambda x: x * jnp.sin(x)}
    made = {("torch", "jax"): _torch_in_jax, ("jax", "torch"): _jax_in_torch}
    found = []
    for n in sizes:
        x = np.linspace(-3.0, 3.0, n)
        for (inside, outside), by_hand in made.items():
            f = dif.bridge(inner[inside], backend=inside)
            loss = lambda x, f=f: dif.namespace(x).sum(f(x) ** 2)
            ours = dif.prepare_gradient(loss, x, backend=outside, fallback="error")
            name = f"{inside} in {outside}, n = {n:,}"
            found.append((name, ours, by_hand(inner[inside]), x))
    return found


def _torch_in_jax(f: Call) -> Call:
    import jax
    import jax.numpy as jnp
    import torch

    def value(x: Any) -> Any:
        return f(torch.from_numpy(np.array(x))).numpy()

    def pulled(x: Any, dy: Any) -> Any:
        leaf = torch.from_numpy(np.array(x)).requires_grad_()
        dy = torch.from_numpy(np.array(dy))
        return torch.autograd.grad(f(leaf), leaf, dy)[0].numpy()

    def like(x: Any) -> Any:
        return jax.ShapeDtypeStruct(x.shape, x.dtype)

    g = jax.custom_vjp(lambda x: jax.pure_callback(value, like(x), x))
    g.defvjp(lambda x: (g(x), x), lambda x, dy: (jax.pure_callback(pulled, like(x), x, dy),))
    return _in_double(jax.jit(jax.grad(lambda x: jnp.sum(g(x) ** 2))))


def _jax_in_torch(f: Call) -> Call:
    import jax
    import torch

    value = jax.jit(f)
    pulled = jax.jit(lambda x, dy: jax.vjp(f, x)[1](dy)[0])

    class Call(torch.autograd.Function):
        @staticmethod
        def forward(x: Any) -> Any:
            with jax.enable_x64(True):
                return torch.from_numpy(np.array(value(x.detach().numpy())))

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            (x,) = ctx.saved_tensors
            with jax.enable_x64(True):
                return torch.from_numpy(np.array(pulled(x.detach().numpy(), dy.numpy())))

    return _torch_gradient(lambda x: torch.sum(Call.apply(x) ** 2))


# Functions that write


def heat(dx: Any, x: Any, p: Any, t: Any) -> None:
    dx[0] = dx[-1] = 0.0
    dx[1:-1] = p * t * (x[:-2] - 2.0 * x[1:-1] + x[2:])


def functional(x: Any, p: Any, t: Any) -> Any:
    xp = dif.namespace(x, p)
    zero = xp.zeros_like(x[:1])
    return xp.concat([zero, p * t * (x[:-2] - 2.0 * x[1:-1] + x[2:]), zero])


def in_place(n: int = 100) -> list[tuple[str, Call, Call, Any]]:
    """The prepared Jacobian and pullback, on every backend that has it."""
    x, p, t = np.linspace(0.0, 1.0, n) ** 2, dif.Const(1.5), dif.Const(0.7)
    found = []
    for backend in ALL:
        for operator in ("jacobian", "gradient"):
            calls = []
            for f in (dif.in_place(heat), functional):
                whole = f if operator == "jacobian" else _energy(f)
                prepare = getattr(dif, f"prepare_{operator}")
                prepared = prepare(whole, x, p, t, backend=backend, fallback="error")
                calls.append(lambda x, g=prepared: g(x, 1.5, 0.7))
            found.append((f"{operator}, {backend}", *calls, x))
    return found


def _energy(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, p, t: dif.namespace(x).sum(f(x, p, t) ** 2)


def writes() -> None:
    """Time of a preparation by the number of elements that are written one by one."""
    counts = (100, 200, 400)
    print(f"preparing a gradient with {counts} writes of single elements: seconds")
    for backend in ("jax", "torch", "autograd"):
        times = []
        for count in (10, *counts):  # the first one warms up
            start = time.perf_counter()
            f = _energy(dif.in_place(_by_elements))
            x = np.linspace(0.0, 1.0, count)
            dif.prepare_gradient(f, x, dif.Const(1.5), dif.Const(0.7), backend=backend)
            times.append(time.perf_counter() - start)
        print(f"{backend:44} " + " ".join(f"{seconds:8.2f}" for seconds in times[1:]))


def _by_elements(dx: Any, x: Any, p: Any, t: Any) -> None:
    for i in range(1, x.shape[0] - 1):
        dx[i] = p * t * (x[i - 1] - 2.0 * x[i] + x[i + 1])


if __name__ == "__main__":
    main()
