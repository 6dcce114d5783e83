"""Forward sensitivities of a heat equation with an input signal, by pushforwards.

A rod of unit length is heated at its left end by a given signal u(t) and loses heat at its right
end. In space it is discretized by finite volumes (Hundsdorfer and Verwer, Numerical Solution of
Time-Dependent Advection-Diffusion-Reaction Equations, 2003, section I.4), which leaves

    dx/dt = f(x, p, t),   p = (diffusivity, gain of the heater, loss).

The sensitivities S = dx/dp follow dS/dt = (df/dx) S + df/dp: column k is one pushforward of f, with
the tangents (S e_k, e_k). Parameters are active, time is constant.

Needs: pip install 'diffface[jax]' scipy matplotlib
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp

import diffface as dif

n, k = 12, 3
p0 = np.array([0.2, 2.0, 0.5])
times = np.linspace(0.0, 1.0, 6)


def rate(x, p, t):
    """dx/dt, shape (n,), of temperatures x in n cells of width 1/n."""
    xp = dif.namespace(x, p)
    signal = 4.0 * t * (1.0 - t)  # the input u(t)
    inside = p[0] * n * (x[1:] - x[:-1])
    flux = xp.concat([-p[1:2] * signal, inside, -p[2:3] * x[-1:]])
    return n * (flux[1:] - flux[:-1])


# One call gives f and all columns of dS/dt: a batch of k tangents.
push = dif.prepare_value_and_pushforward(
    rate, np.zeros(n), p0, dif.Const(0.0), batched=True, backend="jax"
)


def augmented(t, state, p):
    """Temperatures and sensitivities together, as solve_ivp wants them."""
    x, sensitivities = state[:n], state[n:].reshape(k, n)
    dx, ds = push(x, p, float(t), tangents=(sensitivities, np.eye(k)))
    return np.concatenate([dx, ds.reshape(-1)])


def solve(p):
    """Temperatures, shape (times, n), and their derivatives, shape (times, k, n)."""
    solution = solve_ivp(
        augmented, (0, 1), np.zeros(n + k * n), t_eval=times, args=(p,), rtol=1e-8, atol=1e-10
    )
    return solution.y[:n].T, solution.y[n:].T.reshape(-1, k, n)


temperatures, sensitivities = solve(p0)

# Check: central differences of the whole solution.
differences = np.empty_like(sensitivities)
for j, h in enumerate(1e-4 * p0):
    e = h * np.eye(k)[j]
    differences[:, j] = (solve(p0 + e)[0] - solve(p0 - e)[0]) / (2 * h)
error = np.abs(sensitivities - differences).max() / np.abs(differences).max()

print("temperature at the left end: ", temperatures[:, 0].round(4))
for j, name in enumerate(["diffusivity", "gain", "loss"]):
    print(f"its derivative by the {name:12}", sensitivities[:, j, 0].round(4))
print(f"largest difference from finite differences: {error:.1e}")

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
for j, name in enumerate(["diffusivity", "gain", "loss"]):
    axes.plot(times, p0[j] * sensitivities[:, j, 0], "o-", label=name)
axes.set(
    xlabel="time",
    ylabel="temperature at the left end, change\nfor a relative change of 1 of the parameter",
)
axes.legend()
plt.show()
