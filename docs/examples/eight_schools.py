"""Hamiltonian Monte Carlo on the eight schools, with a log density in NumPy-style code.

The data are of D. B. Rubin, Estimation in parallel randomized experiments, Journal of Educational
Statistics 6 (1981), 377-401. The posterior means, and their Monte Carlo errors, are those of
posteriordb (https://github.com/stan-dev/posteriordb, eight_schools-eight_schools_noncentered).

Needs: pip install 'diffface[autograd]' matplotlib
"""

import matplotlib.pyplot as plt
import numpy as np

import diffface as dif

effects = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
errors = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
# theta[1] to theta[8], mu, tau: (mean, Monte Carlo error of the mean)
REFERENCE = np.array([
    [6.15050229334425, 0.0557375282295219], [4.9395811407422, 0.0462293788624847],
    [3.90590609001582, 0.0542313705632124], [4.79601675138494, 0.0474935816762281],
    [3.6144363246799, 0.0461450610244603], [4.0511475789675, 0.0485195392528031],
    [6.31716975886893, 0.0498766794075794], [4.88399694353288, 0.0542511606560972],
    [4.41051833695493, 0.0330374705950917], [3.60205952364059, 0.0318615135640706],
])  # fmt: skip


def log_density(p, effects, errors):
    """Non-centered: theta = mu + tau z; mu = 5 m ~ N(0, 5), tau = exp(t) ~ half-Cauchy(0, 5)."""
    xp = dif.namespace(p["z"])
    tau = xp.exp(p["t"])
    theta = 5.0 * p["m"] + tau * p["z"]
    likelihood = -0.5 * xp.sum(((effects - theta) / errors) ** 2)
    prior = -0.5 * xp.sum(p["z"] ** 2) - 0.5 * p["m"] ** 2 - xp.log1p((tau / 5.0) ** 2)
    return likelihood + prior + p["t"]  # the last for the change from tau to t


def hmc(density, x, draws, rng, step=0.25, longest=12):
    """Draws, shape (draws, n): R. M. Neal, MCMC Using Hamiltonian Dynamics, 2011, figure 2."""
    kept = np.empty((draws, x.size))
    value, gradient = density.logdensity_and_gradient(x)
    for i in range(draws):
        momentum = rng.normal(size=x.size)
        proposed, new_value, new_gradient = x, value, gradient
        energy = 0.5 * momentum @ momentum - value
        epsilon = step * rng.uniform(0.7, 1.3)
        for _ in range(rng.integers(1, longest + 1)):
            momentum = momentum + 0.5 * epsilon * new_gradient
            proposed = proposed + epsilon * momentum
            new_value, new_gradient = density.logdensity_and_gradient(proposed)
            momentum = momentum + 0.5 * epsilon * new_gradient
        # A value that is not finite is never accepted.
        if np.log(rng.uniform()) < energy - 0.5 * momentum @ momentum + new_value:
            x, value, gradient = proposed, new_value, new_gradient
        kept[i] = x
    return kept


def of_interest(p):
    """theta[1] to theta[8], mu and tau, shape (draws, 10)."""
    mu, tau = 5.0 * p["m"], np.exp(p["t"])
    return np.column_stack([mu[:, None] + tau[:, None] * p["z"], mu, tau])


start = {"z": np.zeros(8), "m": 0.0, "t": 0.0}
density = dif.log_density(log_density, start, effects, errors, backend="autograd")
chains = [hmc(density, density.x0, 6000, np.random.default_rng(seed))[500:] for seed in range(4)]
quantities = np.array([of_interest(density.unravel_samples(draws)) for draws in chains])
means = quantities.mean((0, 1))
# Monte Carlo error by the means of 44 batches of 500 draws.
batches = quantities.reshape(44, 500, 10).mean(1)
mcse = batches.std(0, ddof=1) / np.sqrt(44)
deviations = (means - REFERENCE[:, 0]) / np.hypot(mcse, REFERENCE[:, 1])

if __name__ == "__main__":
    names = [f"theta[{i}]" for i in range(1, 9)] + ["mu", "tau"]
    print("           mean  posteriordb  Monte Carlo error  deviation in errors")
    for row in zip(names, means, REFERENCE[:, 0], mcse, deviations, strict=True):
        print("{:9}{:6.3f}  {:11.3f}  {:17.3f}  {:19.1f}".format(*row))

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(quantities[:, ::10, 9].ravel(), quantities[:, ::10, 0].ravel(), ".", markersize=1)
    axes.set(xlabel="tau", ylabel="theta[1]", xscale="log", xlim=(0.05, 50))
    plt.show()
