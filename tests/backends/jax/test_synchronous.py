"""Programs that are run by who calls them and waits: what they give, and when."""

import os
import subprocess
import sys

# JAX keeps no such program on disk, which these tests would have it do.
PROGRAM = """
import os
from threading import Thread

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import diffface as dif

jax.config.update("jax_enable_x64", True)
x = np.random.default_rng(0).uniform(0.5, 1.5, 1_000)


def waves(x):
    return jnp.sum(jnp.sin(x[:, None] * x))


# Done when a call returns, and not for arrays of JAX, whose caller may have other things to do.
plain = jax.jit(jax.grad(waves))
expected = np.asarray(plain(x))
g = dif.prepare_gradient(waves, x, backend="jax")
for k in range(20):
    (found,) = g.native(x)
    assert found.is_ready()
np.testing.assert_array_equal(found, expected)
np.testing.assert_array_equal(g(x), expected)
of_jax = dif.prepare_gradient(waves, jnp.asarray(x))
called = [of_jax(jnp.asarray(x)) for _ in range(20)]
assert not all(y.is_ready() for y in called)
np.testing.assert_array_equal(called[0], expected)

# It is the program that JAX makes without.
text = lambda f: f.lower(x).as_text().split("\\n", 1)[1]
assert text(g.native) == text(of_jax.native)

# It may stand in other programs of JAX.
few = jnp.asarray(x[:5])
g5 = dif.prepare_gradient(waves, x[:5], backend="jax")
inner = lambda x: jnp.sum(g5.native(x)[0] ** 2)
outer = lambda x: jnp.sum(jax.grad(waves)(x) ** 2)
for transform in (jax.grad, jax.jacfwd, jax.hessian, jax.jit):
    np.testing.assert_allclose(transform(inner)(few), transform(outer)(few), rtol=1e-10)
rows = jnp.stack([few, 2 * few])
np.testing.assert_allclose(jax.vmap(inner)(rows), jax.vmap(outer)(rows), rtol=1e-10)
with jax.disable_jit():
    np.testing.assert_allclose(inner(few), outer(few), rtol=1e-10)

# No thread waits for another's program with the interpreter to itself, nor takes its results.
points = [x + k for k in range(4)]
results = [None] * 4


def work(k):
    results[k] = [g(points[k]) for _ in range(5)]


threads = [Thread(target=work, args=(k,)) for k in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
for point, found in zip(points, results):
    for y in found:
        np.testing.assert_array_equal(y, plain(point))

# Other kinds of arguments, results and constants.
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("d",))
a = jax.device_put(jnp.linspace(1.0, 2.0, 6), NamedSharding(mesh, PartitionSpec("d")))
spread = dif.prepare_gradient(lambda x: jnp.sum(a * x**3), x[:6], backend="jax")
np.testing.assert_allclose(spread(x[:6]), 3 * np.asarray(a) * x[:6] ** 2)
key = jax.random.key(0)
drawn = dif.prepare_gradient(
    lambda x, key: jnp.sum(x * jax.random.normal(key, x.shape, x.dtype)), 2.5, dif.Const(key),
    backend="jax",
)
assert isinstance(drawn(2.5, dif.Const(key)), (float, jax.Array))
number = dif.prepare_derivative(lambda t: jnp.sin(t), 0.5, backend="jax")
assert type(number(0.7)) is float and abs(number(0.7) - np.cos(0.7)) < 1e-12
with_value = dif.prepare_value_and_gradient(
    lambda x: (jnp.sum(x**2), {"last": x[-1]}), x, backend="jax", has_aux=True
)
value, derivative, aux = with_value(x)
np.testing.assert_allclose(derivative, 2 * x)
np.testing.assert_allclose((value, aux["last"]), (np.sum(x**2), x[-1]))
many = dif.prepare_gradient(lambda x: jnp.prod(x), x[:12].reshape(4, 3), backend="jax", in_axes=0)
block = x[:12].reshape(4, 3)
np.testing.assert_allclose(many(block), block.prod(1, keepdims=True) / block)
sparse = dif.prepare_jacobian(lambda x: x[1:] * x[:-1], x, backend="jax", sparsity="trace")
np.testing.assert_array_equal(sparse(x).diagonal(), x[1:])
nothing = dif.prepare_gradient(lambda x: jnp.sum(x) + 1, x[:0], backend="jax")
assert nothing(x[:0]).shape == (0,)
"""


def test_results_are_there_when_a_call_returns():
    _run(PROGRAM, JAX_COMPILATION_CACHE_DIR="")


KEPT = """
import jax.numpy as jnp
import numpy as np

import diffface as dif

x = np.linspace(0.5, 1.5, 5_000)
g = dif.prepare_gradient(lambda x: jnp.sum(jnp.sin(x) ** 3), x, backend="jax")
np.testing.assert_allclose(g(x), 3 * np.sin(x) ** 2 * np.cos(x))
"""


def test_programs_are_kept_on_disk_where_jax_is_told_to(tmp_path):
    always = {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    _run(KEPT, JAX_COMPILATION_CACHE_DIR=str(tmp_path), **always)
    assert any("jit_run" in path.name for path in tmp_path.iterdir())


def _run(program: str, **environment: str) -> None:
    command = [sys.executable, "-c", program]
    given = os.environ | environment
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=given)
    assert done.returncode == 0, done.stderr
