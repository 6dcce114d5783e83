"""Rules, bridges and solvers as one writes them by hand for one framework."""

from collections.abc import Callable
from typing import Any

import numpy as np

Call = Callable[[Any], Any]


def in_double(jitted: Callable[[Any], Any]) -> Call:
    import jax

    def call(x: Any) -> Any:
        with jax.enable_x64(True):
            return np.asarray(jitted(x))

    return call


def torch_gradient(loss: Callable[[Any], Any]) -> Call:
    import torch

    def gradient(x: Any) -> Any:
        leaf = torch.from_numpy(x).requires_grad_()
        return torch.autograd.grad(loss(leaf), leaf)[0].numpy()

    return gradient


# A softplus and its rule


def rule_in_jax() -> Call:
    import jax
    import jax.numpy as jnp

    f = jax.custom_vjp(lambda x: jnp.logaddexp(x, 0.0))

    def forward(x: Any) -> Any:
        y = f(x)
        return y, (x, y)

    f.defvjp(forward, lambda saved, dy: (dy * jnp.exp(saved[0] - saved[1]),))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(f(x) ** 2)))
    return in_double(gradient)


def rule_in_torch() -> Call:
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

    return torch_gradient(lambda x: torch.sum(Softplus.apply(x) ** 2))


def rule_in_autograd() -> Call:
    import autograd
    import autograd.numpy as anp
    from autograd.extend import defvjp, primitive

    f = primitive(lambda x: np.logaddexp(x, 0.0))
    defvjp(f, lambda y, x: lambda dy: dy * anp.exp(x - y))
    gradient: Call = autograd.grad(lambda x: anp.sum(f(x) ** 2))
    return gradient


# A function of the other framework, and its gradient


def torch_in_jax(f: Call) -> Call:
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
    return in_double(jax.jit(jax.grad(lambda x: jnp.sum(g(x) ** 2))))


def jax_in_torch(f: Call) -> Call:
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

    return torch_gradient(lambda x: torch.sum(Call.apply(x) ** 2))


# Roots of x³ + x = p, found in NumPy


def cubic(x: Any, p: Any) -> Any:
    return x**3 + x - p


def newton(p: Any) -> Any:
    x = np.zeros(np.shape(p))
    for _ in range(20):
        x = x - cubic(x, p) / (3 * x**2 + 1)
    return x


def root_in_jax() -> Call:
    import jax
    import jax.numpy as jnp

    def value(p: Any) -> Any:
        return newton(np.asarray(p))

    root = jax.custom_vjp(
        lambda p: jax.pure_callback(value, jax.ShapeDtypeStruct(p.shape, p.dtype), p)
    )

    def forward(p: Any) -> Any:
        x = root(p)
        return x, (x, p)

    def backward(saved: Any, dx: Any) -> Any:
        x, p = saved
        w = jnp.linalg.solve(jax.jacrev(cubic)(x, p).T, -dx)
        return jax.vjp(lambda p: cubic(x, p), p)[1](w)

    root.defvjp(forward, backward)
    return in_double(jax.jit(jax.grad(lambda p: jnp.sum(root(p) ** 2))))


def root_in_torch() -> Call:
    import torch

    class Root(torch.autograd.Function):
        @staticmethod
        def forward(p: Any) -> Any:
            return torch.from_numpy(newton(p.detach().numpy()))

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs, output)

        @staticmethod
        def backward(ctx: Any, dx: Any) -> Any:
            p, x = ctx.saved_tensors
            w = torch.linalg.solve(torch.func.jacrev(cubic)(x, p).T, -dx)
            return torch.func.vjp(lambda p: cubic(x, p), p)[1](w)[0]

    return torch_gradient(lambda p: torch.sum(Root.apply(p) ** 2))


def root_in_autograd() -> Call:
    import autograd
    import autograd.numpy as anp
    from autograd.extend import defvjp, primitive

    root = primitive(newton)

    def pull(x: Any, p: Any) -> Call:
        slope, of_p = autograd.jacobian(cubic)(x, p), autograd.make_vjp(cubic, 1)(x, p)[0]
        return lambda dx: of_p(np.linalg.solve(slope.T, -dx))

    defvjp(root, pull)
    gradient: Call = autograd.grad(lambda p: anp.sum(root(p) ** 2))
    return gradient
