"""torch.optim with gradients from any backend: an nn.Module, and a function of JAX.

Needs: pip install 'diffface[torch,jax]'
"""

import jax.numpy as jnp
import torch
from torch.func import functional_call

import diffface as dif

torch.manual_seed(0)
x = torch.linspace(-1.0, 1.0, 64)[:, None]
y = torch.sin(3.0 * x)
module = torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))


def loss(parameters, x, y):
    """Mean squared error of the module with these parameters."""
    return ((functional_call(module, parameters, (x,)) - y) ** 2).mean()


# The closure writes gradients into .grad; the optimizer changes the module's parameters in place.
closure = dif.closure(loss, dict(module.named_parameters()), x, y, backend="torch")
adam = torch.optim.Adam(module.parameters(), lr=0.02)
first = closure()
for _ in range(100):
    batch = torch.randperm(64)[:32]
    adam.step(lambda batch=batch: closure(x[batch], y[batch]))
after_adam = closure()
lbfgs = torch.optim.LBFGS(module.parameters(), max_iter=50, line_search_fn="strong_wolfe")
lbfgs.step(closure)
print(f"module: {first:.4f}, by Adam {after_adam:.5f}, by LBFGS {closure():.7f}")

# A function written in JAX, on tensors that torch.optim changes.
w = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)


def rosenbrock(w):
    """Its minimum is at ones."""
    return jnp.sum(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2)


optimizer = torch.optim.LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")
optimizer.step(dif.closure(rosenbrock, w, backend="jax"))
print("a JAX function:", w)
