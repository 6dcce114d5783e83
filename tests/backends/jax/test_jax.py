"""What only JAX has: late reads, its flag, its transformations around ours, its trees and keys."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import same

import diffface as dif
from diffface.backends.jax.adapter import warn_of_draws

jax = pytest.importorskip("jax")
jnp = jax.numpy
X = np.array([1.0, 2.0, 3.0])


def cubes(x: Any) -> Any:
    return (x**3).sum()


@pytest.fixture
def busy() -> Callable[[], object]:
    """Gives JAX so much to do that what is asked of it next has to wait."""
    matrix = jnp.ones((1000, 1000))
    work = jax.jit(lambda a: a @ a @ a @ a)
    work(matrix).block_until_ready()
    return lambda: [work(matrix) for _ in range(3)]


SIZE = 100_000
ONES = np.ones(SIZE, "f4")


def times(x: Any, d: Any) -> Any:
    return (x * d).sum()


LATE: dict[str, Callable[[Any, Any], Any]] = {
    "constant": lambda x, d: dif.gradient(times, x, dif.Const(d)),
    "prepared constant": lambda x, d: PREPARED["gradient"](x, d),
    "tangents": lambda x, d: dif.pushforward(lambda x: x * 1, x, tangents=d),
    "prepared tangents": lambda x, d: PREPARED["pushforward"](x, tangents=d),
    "linearize": lambda x, d: dif.linearize(lambda x: x * 1, x)[1](d),
    "vjp": lambda x, d: dif.vjp(lambda x: x * 1, x)[1](d),
    "aux": lambda x, d: dif.gradient(lambda x: (x.sum(), d), x, has_aux=True)[1],
}
PREPARED = {
    "gradient": dif.prepare_gradient(times, backend="jax", argnums=0),
    "pushforward": dif.prepare_pushforward(lambda x: x * 1, backend="jax"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LATE)
def test_arrays_may_be_overwritten_while_jax_computes(
    name: str, busy: Callable[[], object]
) -> None:
    x = jnp.asarray(ONES)
    LATE[name](x, ONES.copy())
    for _ in range(5):
        d = np.arange(SIZE, dtype="f4")
        held = busy()
        result = LATE[name](x, d)
        d[:] = -1.0
        assert np.array_equal(np.asarray(result), np.arange(SIZE))
        del held


def test_a_preparation_traces_where_jit_is_disabled() -> None:
    def f(x: Any) -> Any:
        try:
            return (x**2).sum() if bool(x.sum() > 0) else cubes(x)
        except Exception:  # noqa: BLE001 - what is tested
            return (x**4).sum()

    with jax.disable_jit(), pytest.warns(dif.PreparationWarning):
        g = dif.prepare_gradient(f, X, backend="jax")
    same(g(X), 2 * X)
    same(g(-X), 3 * X**2)


@pytest.mark.parametrize("flag", [False, True])
def test_a_preparation_keeps_the_flag_that_was_set(flag: bool) -> None:
    with jax.enable_x64(flag):
        x = jnp.arange(3, dtype="f4")
        pull = dif.prepare_pullback(lambda x: x * jnp.linspace(1.0, 3.0, 3), x)
        dtype = pull(x, cotangents=jnp.ones(3)).dtype
        cotangents = jnp.ones(3)
    with jax.enable_x64(not flag):
        result = pull(x, cotangents=cotangents)
    assert result.dtype == dtype == np.float32
    same(np.asarray(result), np.linspace(1.0, 3.0, 3).astype("f4"), 1e-6)


def test_a_prepared_call_inside_transformations() -> None:
    x = jnp.asarray(X, "f4")
    for g in (dif.prepare_gradient(cubes, x), dif.prepare_gradient(cubes, backend="jax")):
        same(np.asarray(jax.jit(g)(x)), 3 * X**2, 1e-6)
        same(np.asarray(jax.vmap(g)(jnp.stack([x, 2 * x]))[1]), 12 * X**2, 1e-6)
        same(np.asarray(jax.jacfwd(g)(x)), np.diag(6 * X), 1e-6)
    g = dif.prepare_gradient(cubes, x)
    with pytest.raises(dif.PreparationMismatchError, match=r"called with jax float32\[2\]"):
        jax.jit(g)(x[:2])


@functools.partial(jax.tree_util.register_dataclass, data_fields=["w"], meta_fields=["power"])
@dataclasses.dataclass
class Layer:
    """A dataclass of which JAX knows that one field is static."""

    w: Any
    power: int


def test_dataclasses_that_jax_knows() -> None:
    f = lambda layer: (layer.w**layer.power).sum()
    right = jax.grad(f)(Layer(jnp.asarray(X, "f4"), 3))
    for prepared in (False, True):
        layer = Layer(jnp.asarray(X, "f4"), 3)
        found = (
            dif.prepare_gradient(f, layer, backend="jax")(layer)
            if prepared
            else dif.gradient(f, layer, backend="jax")
        )
        assert found.power == 3
        same(np.asarray(found.w), np.asarray(right.w))


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_one_warning_that_draws_differ_under_64_bits(make_key: Any) -> None:
    def f(x: Any, key: Any) -> Any:
        return (x * jax.random.normal(key, x.shape)).sum()

    warn_of_draws.cache_clear()
    key = dif.Const(make_key(0))
    dif.gradient(f, X.astype("f4"), key, backend="jax")
    with jax.enable_x64(True):
        dif.gradient(f, X, key, backend="jax")
    with pytest.warns(UserWarning, match="a random key") as caught:
        dif.gradient(f, X, key, backend="jax")
    dif.gradient(f, X, key, backend="jax")
    assert [str(w.message) for w in caught] == [
        "a random key (or an array of its dtype) is among the arguments, and others are float64: "
        "`f` runs with jax_enable_x64, under which jax.random draws float64 numbers by default, "
        "other ones than without. Give dtype=jnp.float32 to jax.random, or set jax_enable_x64 "
        "yourself, to have the same draws in your own calls of `f`."
    ]
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore:a random key:UserWarning")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_keys_are_arguments(dtype: str) -> None:
    def f(x: Any, key: Any) -> Any:
        return (x * jax.random.normal(key, x.shape, x.dtype)).sum()

    x = X.astype(dtype)
    with jax.enable_x64(True):
        right = [np.asarray(jax.random.normal(jax.random.key(i), (3,), dtype)) for i in range(2)]
    g = dif.prepare_gradient(f, x, dif.Const(jax.random.key(0)), backend="jax")
    for i in range(2):
        same(g(x, jax.random.key(i)), right[i])
        same(dif.gradient(f, x, dif.Const(jax.random.key(i)), backend="jax"), right[i])
    key = jax.random.key(0)
    with pytest.raises(dif.NotDifferentiableError, match="`key` has dtype key<fry>"):
        dif.gradient(f, x, key, backend="jax")
    with pytest.raises(dif.NotDifferentiableError, match="which numpy lacks"):
        dif.gradient(f, x, dif.Const(key), backend="numpy")


@pytest.mark.xfail(
    strict=True,
    raises=(TypeError, jax.errors.JaxRuntimeError),  # by how far JAX gets
    reason="JAX keeps what it made of a captured NumPy array, whatever the flag for 64 bits says",
)
def test_an_array_that_is_captured_under_either_flag() -> None:
    captured = np.arange(1.0, 4.0)
    f = lambda x: (x * captured).sum()
    kept = dif.prepare_gradient(f, X, backend="jax")
    same(kept(X), captured)
    same(dif.prepare_gradient(f, X.astype("f4"), backend="jax")(X.astype("f4")), captured, 1e-6)


Z = np.array([1 + 2j, -0.5 + 0.3j])
SIGNS = {"by sign": lambda xp, z: xp.sign(z), "by a quotient": lambda xp, z: z / xp.abs(z)}
UNTRUE = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="in JAX, signs of complex numbers never change"
)


@pytest.mark.parametrize("way", [pytest.param("by sign", marks=UNTRUE), "by a quotient"])
def test_complex_signs(way: str) -> None:
    def f(z: Any) -> Any:
        xp = dif.namespace(z)
        return xp.sum(xp.real(SIGNS[way](xp, z) * (2 - 1j)))

    same(dif.gradient(f, Z, backend="jax"), dif.gradient(f, Z, backend="autograd"))


@pytest.mark.parametrize("options", [{}, {"sparsity": "trace"}, {"chunk_size": 1}], ids=str)
def test_settings_of_each_call_are_followed(options: Any) -> None:
    """As by ``jax.jit``."""

    def f(x: Any) -> Any:
        return x**2 * (2.0 if jax.config.jax_default_matmul_precision == "bfloat16" else 1.0)

    x = np.array([1.0, 2.0])
    prepared = dif.prepare_jacobian(f, x, backend="jax", **options)
    dense = lambda found: found.toarray() if options.get("sparsity") else found
    for _ in range(2):
        np.testing.assert_allclose(dense(prepared(x)), np.diag(2 * x))
        with jax.default_matmul_precision("bfloat16"):
            np.testing.assert_allclose(dense(prepared(x)), np.diag(4 * x))
