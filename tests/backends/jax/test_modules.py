"""Modules of equinox and flax.nnx as arguments: derivatives are those of their own transforms."""

import copy
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import diffface as dif

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-6)


class Gated(eqx.Module):
    """Arrays, integers, numbers and functions, in and outside of other modules."""

    layers: list
    gate: jax.Array
    steps: jax.Array
    slope: float
    name: str

    def __init__(self):
        self.layers = [eqx.nn.MLP(3, 2, 4, 1, key=KEY, activation=jax.nn.relu), jnp.tanh]
        self.gate, self.steps, self.slope, self.name = jnp.ones(2), jnp.arange(2), 0.5, "gated"

    def __call__(self, x):
        if self.slope > 0:
            for layer in self.layers:
                x = layer(x)
        return self.gate * x + self.steps


def loss(model, x):
    return (jax.vmap(model)(x) ** 2).sum()


def test_equinox():
    model = Gated()
    expected = eqx.filter_grad(loss)(model, X)
    prepared = dif.prepare_gradient(loss, model, dif.Const(X))
    for found in (dif.gradient(loss, model, dif.Const(X)), prepared(model, X)):
        close(found, expected)
        assert type(found) is Gated
        assert found.steps is found.slope is found.layers[1] is None
    assert prepared.strategy == "xla"
    moved = eqx.tree_at(lambda m: (m.gate, m.steps), model, (2 * model.gate, 3 * model.steps))
    close(prepared(moved, X), eqx.filter_grad(loss)(moved, X))
    with pytest.raises(dif.PreparationMismatchError, match=r"0\.5, .*0\.7, "):
        prepared(eqx.tree_at(lambda m: m.slope, model, 0.7), X)


@pytest.mark.slow
def test_it_pickles():
    linear = eqx.nn.Linear(3, 2, key=KEY)
    prepared = pickle.loads(pickle.dumps(dif.prepare_gradient(loss, linear, dif.Const(X))))
    close(prepared(linear, X), eqx.filter_grad(loss)(linear, X))
    with pytest.raises(dif.PreparationMismatchError):
        prepared(eqx.nn.Linear(3, 4, key=KEY), X)
    model = eqx.nn.MLP(3, 2, 4, 1, key=KEY, activation=jax.nn.relu)
    copied = copy.deepcopy(dif.prepare_gradient(loss, model, dif.Const(X)))
    close(copied(model, X), eqx.filter_grad(loss)(model, X))


@pytest.mark.slow
def test_products_with_tangents_like_the_gradient():
    model = Gated()
    v = dif.gradient(loss, model, dif.Const(X))
    dynamic, static = eqx.partition(model, eqx.is_inexact_array)
    slope = jax.grad(lambda part: loss(eqx.combine(part, static), X))
    _, expected = jax.jvp(slope, (dynamic,), (v,))
    close(dif.hvp(loss, model, dif.Const(X), tangents=v), expected)
    prepared = dif.prepare_hvp(loss, model, dif.Const(X))
    close(prepared(model, X, tangents=v), expected)
    close(prepared(model, X, tangents=v), expected)


class Network(nnx.Module):
    """One layer is in two places."""

    def __init__(self, rngs):
        self.first = self.second = nnx.Linear(3, 3, rngs=rngs)
        self.norm, self.drop = nnx.BatchNorm(3, rngs=rngs), nnx.Dropout(0.3, rngs=rngs)
        self.activation = jax.nn.relu

    def __call__(self, x):
        return self.drop(self.norm(self.second(self.activation(self.first(x)))))


def squares(model, x):
    return (model(x) ** 2 * jnp.arange(3)).sum()


@pytest.mark.slow
def test_nnx():
    model = Network(nnx.Rngs(0))
    before = jax.tree.map(lambda a: a, nnx.state(model))
    expected = nnx.grad(squares)(nnx.clone(model), X)
    prepared = dif.prepare_gradient(squares, model, dif.Const(X))
    for found in (dif.gradient(squares, model, dif.Const(X)), prepared(model, X)):
        assert type(found) is Network
        assert found.first is found.second
        assert found.norm.mean.get_value() is None
        close(nnx.state(found, nnx.Param), expected)
    assert prepared.strategy == "xla"
    for a, b in zip(*map(jax.tree.leaves, (before, nnx.state(model))), strict=True):
        assert (a == b).all()

    def with_averages(model, x):
        return squares(model, x), nnx.state(model, nnx.BatchStat)

    _, averages = dif.gradient(with_averages, model, dif.Const(X), has_aux=True)
    squares(model, X)
    close(averages, nnx.state(model, nnx.BatchStat))


def test_nnx_in_const_writes_its_own_state():
    """As the other network of two that are trained in turn does."""

    def f(model, other, rngs):
        return (other(model(X)) * jax.random.normal(rngs.params(), (3,))).sum()

    def clones():
        return nnx.clone(other), nnx.Rngs(1)

    model, other = nnx.Linear(3, 3, rngs=nnx.Rngs(2)), Network(nnx.Rngs(0))
    before = jax.tree.map(lambda a: a, nnx.state(other))
    expected = nnx.grad(f)(nnx.clone(model), *clones())
    held = [dif.Const(each) for each in clones()]
    prepared = dif.prepare_gradient(f, model, *held)
    for found in (dif.gradient(f, model, *held), prepared(model, *clones())):
        close(nnx.state(found, nnx.Param), expected)
    assert prepared.strategy == "xla"
    for a, b in zip(*map(jax.tree.leaves, (before, nnx.state(other))), strict=True):
        assert (a == b).all()
