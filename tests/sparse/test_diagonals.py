"""Entries on JAX, each computed from the terms of it that are not zero."""

import jax
import numpy as np
import pytest
from chains import FUNCTIONS, Chain, N, X, banded, quotients, reaction, springs

import diffface as dif
from diffface.backends.jax import adapter, entries

SPECIAL = (0.0, np.inf, -np.inf, np.nan, 1e200)
# Gradients of the last one have a sum over all elements.
FEW_IN_EACH_ROW = FUNCTIONS[:-1]


@pytest.fixture(autouse=True)
def _wherever_it_is_possible(monkeypatch):
    """Even where it does not pay."""
    monkeypatch.setattr(adapter, "_FEW", 0)
    monkeypatch.setattr(entries, "_WORTH", np.inf)


def by_batch(monkeypatch, prepare, *args, **options):
    """The same, without what is tested."""
    with monkeypatch.context() as patch:
        patch.setattr(adapter, "_FEW", np.inf)
        return prepare(*args, backend="jax", sparsity="trace", fallback="error", **options)


def program_of(prepared, x):
    with jax.enable_x64(x.dtype == np.float64):
        return prepared.native.trace(x).jaxpr


def choices(prepared):
    """The equations that choose between the entries alone and a batch."""
    return [e for e in program_of(prepared, X).eqns if e.primitive.name == "cond"]


def assert_same(found, expected):
    """They are, but for rounding: XLA fuses other operations."""
    kinds = np.isnan, np.isposinf, np.isneginf
    assert all(np.array_equal(kind(found), kind(expected)) for kind in kinds)
    found, expected = (np.where(np.isfinite(a), a, 0) for a in (found, expected))
    precise = np.finfo(expected.dtype).eps
    scale = np.abs(expected).max(initial=1)
    np.testing.assert_allclose(found, expected, rtol=20 * precise, atol=20 * precise * scale)


@pytest.mark.parametrize(("f", "prepare", "derive"), FEW_IN_EACH_ROW)
def test_terms_that_are_zero_are_not_computed(f, prepare, derive):
    found = prepare(f, X, backend="jax", sparsity="trace")
    (choice,) = choices(found)
    wide = found.sparsity.coloring.forward, N
    shapes = [v.aval.shape for e in choice.params["branches"][1].eqns for v in e.outvars]
    assert wide not in shapes
    assert_same(found(X + 1).toarray(), derive(f, X + 1, backend="jax"))


def test_a_batch_is_computed_where_rows_are_long():
    f, prepare, _ = FUNCTIONS[-1]
    assert not choices(prepare(f, X, backend="jax", sparsity="trace"))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("f", "prepare", "derive"), FUNCTIONS)
def test_infinities_go_where_a_product_with_zero_takes_them(monkeypatch, f, prepare, derive, dtype):
    found = prepare(f, X.astype(dtype), backend="jax", sparsity="trace", fallback="error")
    batch = by_batch(monkeypatch, prepare, f, X.astype(dtype))
    for special in SPECIAL:
        x = X.copy()
        x[[0, 400, N - 1]] = special
        x[600:602] = -special
        with np.errstate(all="ignore"):
            x = x.astype(dtype)
        assert_same(found(x).data, batch(x).data)


def test_an_infinity_that_no_entry_has_is_one_of_the_batch(monkeypatch):
    """Zeros that it is multiplied by belong to other directions, also where it is cut off."""

    def f(x):
        xp = dif.namespace(x)
        a = xp.concat([x[:1], x[1:-1] * xp.log(x[2:]), x[-1:]])
        return a[1:-1] + x[:-2] / x[1:-1]

    found = dif.prepare_jacobian(f, X, backend="jax", sparsity="trace", fallback="error")
    batch = by_batch(monkeypatch, dif.prepare_jacobian, f, X)
    for place in (0, 1, 500, N - 1):
        for special in SPECIAL:
            x = X.copy()
            x[place] = special
            assert_same(found(x).data, batch(x).data)


HIDDEN = {
    "by exp": lambda xp, x: xp.exp(-x * x) * (x[:1] + 1),
    "by a quotient": lambda xp, x: x * (1 / x),
    "by a slice": lambda xp, x: xp.exp(x) * x + xp.concat([xp.exp(x)[1:] * x[:-1], x[:1]]),
    "by a maximum": lambda xp, x: x * xp.maximum(-2 * x, xp.ones_like(x)),
    "by nothing": lambda xp, x: (3 - 2 * x) * x * -(x + 1),
    "by an overflow": lambda xp, x: (1e150 * x) * (1e150 * x) * x,
}


@pytest.mark.parametrize("name", HIDDEN)
def test_an_infinity_that_later_factors_may_hide(monkeypatch, name):
    """Not every factor is looked at, where one that is computed from it shows its infinities."""

    def f(x):
        xp = dif.namespace(x)
        y = HIDDEN[name](xp, x)
        return y + xp.concat([y[1:], x[:1]])

    found = dif.prepare_jacobian(f, X, backend="jax", sparsity="trace", fallback="error")
    batch = by_batch(monkeypatch, dif.prepare_jacobian, f, X)
    for place in (0, 1, 500, N - 1):
        for special in (*SPECIAL, 1e-310):
            x = X.copy()
            x[place] = special
            assert_same(found(x).data, batch(x).data)


def test_what_is_returned_besides():
    def f(x):
        y = banded(x["x"] * x["scale"])
        return {"y": y, "double": 2 * y[1:]}, {"sum": dif.namespace(y).sum(y)}

    x = {"x": X, "scale": np.array(2.0)}
    prepare = dif.prepare_value_and_jacobian
    active = lambda x, scale: f({"x": x, "scale": scale})
    found = prepare(active, X, dif.Const(x["scale"]), backend="jax", sparsity="trace", has_aux=True)
    y, jacobian, aux = found(X, dif.Const(np.array(3.0)))
    np.testing.assert_allclose(y["y"], banded(3 * X), rtol=1e-12)
    np.testing.assert_allclose(aux["sum"], banded(3 * X).sum(), rtol=1e-12)
    expected = dif.jacobian(lambda x: banded(3 * x), X, backend="jax")
    np.testing.assert_allclose(jacobian["y"].toarray(), expected, rtol=1e-12)
    np.testing.assert_allclose(jacobian["double"].toarray(), 2 * expected[1:], rtol=1e-12)


@pytest.mark.parametrize("f", [quotients, reaction])
def test_derivatives_and_batches_of_entries(monkeypatch, f):
    """Users differentiate what they are given, and map it over points."""
    with jax.enable_x64(True):
        x = jax.numpy.asarray(X)
        found = dif.prepare_jacobian(f, x, sparsity="trace")
        batch = by_batch(monkeypatch, dif.prepare_jacobian, f, x)
        weights = jax.numpy.arange(found.sparsity.nnz, dtype=float)
        points = jax.numpy.stack([x, x + 1, x.at[3].set(np.inf)])
        derived = []
        for data in (found.data, batch.data):
            sums = lambda x, data=data: data(x) @ weights
            derived.append([jax.grad(sums)(x), jax.jacfwd(sums)(x), jax.vmap(data)(points)])
        for got, expected in zip(*derived, strict=True):
            assert_same(np.asarray(got), np.asarray(expected))


@pytest.mark.parametrize("f", [reaction, springs])
def test_programs_are_written_the_same_each_time(f):
    """What JAX keeps on disk is found again."""
    prepare = dif.prepare_hessian if f is springs else dif.prepare_jacobian
    found = [prepare(f, X, backend="jax", sparsity="trace") for _ in range(2)]
    assert len({str(program_of(p, X)) for p in found}) == 1


@pytest.mark.parametrize("f", [
    lambda x: jax.lax.cond(x[0] > 0, lambda x: x**2, lambda x: x**3, x),
    lambda x: jax.lax.scan(lambda c, a: (c + 1, a * a + c), 0.0, x)[1],
    lambda x: jax.lax.map(lambda a: a * a, x) * x,
])  # fmt: skip
def test_programs_that_compute_values_and_derivatives_at_once(f):
    x = X[:30]
    found = dif.prepare_value_and_jacobian(f, x, backend="jax", sparsity="trace", fallback="error")
    y, jacobian = found(x + 1)
    np.testing.assert_allclose(y, f(x + 1), rtol=1e-6)
    assert_same(jacobian.toarray(), dif.jacobian(f, x + 1, backend="jax"))


def test_effects_happen_once():
    seen = []

    def f(x):
        jax.debug.callback(lambda a: seen.append(float(a)), x[0])
        return x[1:] * x[:-1]

    found = dif.prepare_jacobian(f, X, backend="jax", sparsity="trace")
    seen.clear()
    found.data(X + 1)
    jax.effects_barrier()
    assert seen == [X[0] + 1]


def agree(monkeypatch, seeds):
    for seed in seeds:
        f = Chain(seed)
        x = np.random.default_rng(seed).uniform(-1, 1, f.n)
        found = dif.prepare_jacobian(f, x, backend="jax", sparsity="trace")
        batch = by_batch(monkeypatch, dif.prepare_jacobian, f, x)
        assert_same(found(x).data, batch(x).data)
        for special in SPECIAL:
            x[seed % f.n] = special
            assert_same(found(x).data, batch(x).data)


def test_some_random_chains(monkeypatch):
    agree(monkeypatch, range(2))


@pytest.mark.slow
def test_more_random_chains(monkeypatch):
    agree(monkeypatch, range(5, 15))
