"""Arrays that are spread over devices stay so through every operator."""

import subprocess
import sys

import pytest

PROGRAM = """
import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import diffface as dif

mesh = jax.sharding.Mesh(np.array(jax.devices()), ("d",))
rows = NamedSharding(mesh, PartitionSpec("d"))
x = jax.device_put(jnp.arange(16.0) / 16, rows)
a = jax.device_put(jnp.linspace(1.0, 2.0, 16), rows)
points = jax.device_put(jnp.arange(48.0).reshape(16, 3) / 16, rows)
CALLS = {
    "gradient": (True, ()), "hvp": (True, ("tangents",)), "hessian": (True, ()),
    "pushforward": (False, ("tangents",)), "pullback": (False, ("cotangents",)),
    "jacobian": (False, ()),
}


def cubes(x, a):
    return a * x**3


def total(x, a):
    return jnp.sum(cubes(x, a))


def check(found, jitted):
    assert type(found) is type(jitted)
    assert len(found.sharding.device_set) == 8 and not found.sharding.is_fully_replicated
    assert found.sharding.is_equivalent_to(jitted.sharding, found.ndim), found.sharding
    np.testing.assert_allclose(found, jitted, rtol=1e-6)


for name, (scalar, seeds) in CALLS.items():
    f = total if scalar else cubes
    op, prepare = getattr(dif, name), getattr(dif, f"prepare_{name}")
    given = dict.fromkeys(seeds, x)
    jitted = jax.jit(lambda x, a: op(f, x, dif.Const(a), **given))(x, a)
    check(prepare(f, x, dif.Const(a))(x, a, **given), jitted)
    eager = op(f, x, dif.Const(a), **given)
    assert len(eager.sharding.device_set) == 8 and not eager.sharding.is_fully_replicated
    given = dict.fromkeys(seeds, points)
    many = prepare(f, points, dif.Const(jnp.ones(3)), in_axes=(0, None))
    found = many(points, jnp.ones(3), **given)
    assert len(found.sharding.device_set) == 8 and not found.sharding.is_fully_replicated
    one = {key: np.asarray(value[5]) for key, value in given.items()}
    at = op(f, np.asarray(points[5]), dif.Const(np.ones(3, np.float32)), backend="jax", **one)
    np.testing.assert_allclose(found[5], at, rtol=1e-5)

for dtype in (np.float32, np.float64):
    with jax.enable_x64(True):
        beside = jax.device_put(jnp.ones(16, dtype), rows)
    for start in (np.ones(16, dtype), np.ones(3, dtype)):
        f = lambda x, a: jnp.sum(jnp.outer(x**3, a))
        prepared = dif.prepare_gradient(f, start, dif.Const(beside), backend="jax")
        eager = dif.gradient(f, start, dif.Const(beside), backend="jax")
        for found in (prepared(start, beside), eager):
            assert type(found) is np.ndarray and found.dtype == dtype
            np.testing.assert_allclose(found, np.full(start.shape, 48.0))


# Rules inside of shard_map, where cotangents of what all devices share are summed over them.
def times(x, w):
    return x * x * w


def summed(x):
    return jax.lax.psum(x * x, "d")


def ruled(kind):
    f, g = dif.custom_rule(times), dif.custom_rule(summed)
    if kind == "pull":
        f.pullback(lambda active, saved, dy: (
            2 * saved[1] * saved[2] * dy if "x" in active else None,
            saved[1] ** 2 * dy if "w" in active else None,
        ))
        g.pullback(lambda active, saved, dy: (2 * saved[1] * dy,))
    else:
        f.pushforward(lambda active, args, dx: sum(
            slope * d
            for slope, d in zip((2 * args[0] * args[1], args[0] ** 2), dx)
            if d is not None
        ))
        g.pushforward(lambda active, args, dx: jax.lax.psum(2 * args[0] * dx[0], "d"))
    return f, g


def spread(times, summed):
    d, all_ = PartitionSpec("d"), PartitionSpec()
    by = jax.shard_map(times, mesh=mesh, in_specs=(d, all_), out_specs=d)
    to = jax.shard_map(summed, mesh=mesh, in_specs=d, out_specs=all_)
    return lambda x, w: (by(x, w) ** 2).sum() + (to(x) ** 2).sum()


x, w = jnp.arange(8.0) + 1, jnp.asarray([1.5])
for derivative in (
    lambda f: f(x, w),
    lambda f: jax.grad(f, (0, 1))(x, w),
    lambda f: jax.jvp(f, (x, w), (x, w))[1],
    lambda f: jax.jvp(lambda x: f(x, w), (x,), (x,))[1],
    lambda f: jax.jit(jax.hessian(f, (0, 1)))(x, w),
):
    for kind in ("pull", "push"):
        found, expected = derivative(spread(*ruled(kind))), derivative(spread(times, summed))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
"""


@pytest.mark.slow
def test_sharded_arrays():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
