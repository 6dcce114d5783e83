"""JAX arrays that are spread over eight devices stay so in their derivatives.

Here the devices are parts of the processor; on a machine with several accelerators, leave out the
flag. A prepared call is compiled like one of ``jax.jit``, and communicates as that does.

Needs: pip install 'diffface[jax]'
"""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import diffface as dif

mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
by_rows = NamedSharding(mesh, PartitionSpec("data"))


def loss(w, x, y):
    return jnp.mean((jnp.tanh(x @ w) - y) ** 2)


# Samples in parts, parameters everywhere: the gradient is everywhere, too.
x = jax.device_put(jnp.linspace(-1.0, 1.0, 64 * 3).reshape(64, 3), by_rows)
y = jax.device_put(jnp.sin(jnp.arange(64.0)), by_rows)
w = jax.device_put(jnp.ones(3), NamedSharding(mesh, PartitionSpec()))
gradient = dif.prepare_gradient(loss, w, dif.Const(x), dif.Const(y))(w, x, y)
print("gradient:     ", gradient.sharding.spec, len(gradient.devices()), "devices")

# One derivative for each of many points, which are in parts: so are the derivatives.
points = jax.device_put(jnp.linspace(0.0, 1.0, 16 * 5).reshape(16, 5), by_rows)
hessians = dif.prepare_hessian(lambda p: jnp.sum(p**4), points, in_axes=0)(points)
print("many Hessians:", hessians.sharding.spec, hessians.shape)

# A NumPy array beside constants in parts goes to their devices, and comes back as one of NumPy.
start = np.ones(3, np.float32)
by_numpy = dif.prepare_gradient(loss, start, dif.Const(x), dif.Const(y), backend="jax")
print("NumPy array:  ", by_numpy(start, x, y))
