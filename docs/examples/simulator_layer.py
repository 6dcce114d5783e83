"""A simulator in NumPy as a layer of a torch model: how long must a pendulum be?

A network tells the length for which a pendulum that starts at a given angle swings in two seconds.
It learns that from a simulator, which lets the pendulum go and looks where it is after a quarter
of the time: it should hang straight down. By theory the length is

    g (T / (4 K(sin²(angle / 2))))²,   K the complete elliptic integral.

Needs: pip install 'diffface[torch]' scipy
"""

import numpy as np
import torch
from scipy.special import ellipk

import diffface as dif

gravity, period, steps = 9.81, 2.0, 50


def simulate(angle, length):
    """Angles after a quarter of the period, shape (n,), for starting angles and lengths (n,)."""
    dt = period / 4 / steps
    speed = -0.5 * dt * gravity / length * np.sin(angle)
    for _ in range(steps):
        angle = angle + dt * speed
        speed = speed - dt * gravity / length * np.sin(angle)
    return angle


# torch cannot look into it: its derivatives are finite differences.
layer = dif.bridge(simulate, backend="numpy")

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1), torch.nn.Softplus()
).double()
start = torch.linspace(0.2, 2.0, 10, dtype=torch.float64)
optimizer = torch.optim.LBFGS(
    network.parameters(), max_iter=60, tolerance_change=1e-12, line_search_fn="strong_wolfe"
)


def closure():
    """The loss, with gradients in the parameters: torch's own backward pass."""
    optimizer.zero_grad()
    loss = torch.sum(layer(start, network(start[:, None] ** 2)[:, 0]) ** 2)
    loss.backward()
    return loss


optimizer.step(closure)
found = network(start[:, None] ** 2)[:, 0].detach().numpy()
theory = gravity * (period / (4 * ellipk(np.sin(start.numpy() / 2) ** 2))) ** 2

print("angle  ", start.numpy()[::3])
print("length ", found[::3].round(4))
print("theory ", theory[::3].round(4))
