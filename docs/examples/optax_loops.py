"""The update loops of optax, with a loss of NumPy-style code, and its L-BFGS with line search.

Needs: pip install 'diffface[jax]' optax
"""

import jax
import jax.numpy as jnp
import optax

import diffface as dif

target = jnp.array([1.0, -2.0, 3.0])
start = {"shift": jnp.zeros(3), "scale": jnp.ones(())}


def loss(parameters, target):
    """Smallest, zero, where shift is the target and scale is 2."""
    xp = dif.namespace(parameters["shift"])
    far = (parameters["shift"] - target) * parameters["scale"]
    return xp.sum(far**2) + (parameters["scale"] - 2.0) ** 2


# Gradients come as JAX arrays, in the structure of the parameters.
value_and_gradient = dif.prepare_value_and_gradient(loss, start, dif.Const(target))

adam, parameters = optax.adam(0.1), start
state = adam.init(parameters)
for _ in range(200):
    value, gradients = value_and_gradient(parameters, target)
    updates, state = adam.update(gradients, state, parameters)
    parameters = optax.apply_updates(parameters, updates)
by_adam = parameters
print(f"Adam:   {value:.2e}", {name: leaf.round(3) for name, leaf in by_adam.items()})

# Its line search evaluates the loss itself, inside JAX.
lbfgs, parameters = optax.lbfgs(), start
state = lbfgs.init(parameters)
update = jax.jit(lbfgs.update, static_argnames="value_fn")


def at_target(parameters):
    """The loss as the line search calls it."""
    return loss(parameters, target)


for _ in range(15):
    value, gradients = value_and_gradient(parameters, target)
    updates, state = update(
        gradients, state, parameters, value=value, grad=gradients, value_fn=at_target
    )
    parameters = optax.apply_updates(parameters, updates)
by_lbfgs = parameters
print(f"L-BFGS: {value:.2e}", {name: leaf.round(3) for name, leaf in by_lbfgs.items()})
