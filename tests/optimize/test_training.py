"""Networks trained on scikit-learn's digits: losses are those of the frameworks' own gradients."""

from functools import partial

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from sklearn.datasets import load_digits
from torch import nn

import diffface as dif
from diffface.prep.executable import Executable

STEPS, BATCH = 200, 64


def batches():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0)
    for _ in range(STEPS):
        rows = order.permutation(len(x))[:BATCH]
        yield (x[rows] / 16).astype(np.float32), y[rows].astype(np.int32)


def check(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    assert np.mean(ours[-10:]) < 0.2 * ours[0]


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def torch_losses(of):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    step = of(model)
    return [
        float(optimizer.step(lambda x=x, y=y: step(x, y)).detach())
        for x, y in ((torch.from_numpy(x), torch.from_numpy(y).long()) for x, y in batches())
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_torch():
    def loss(model, x, y):
        return nn.functional.cross_entropy(model(x), y)

    def theirs(model):
        def step(x, y):
            model.zero_grad()
            value = loss(model, x, y)
            value.backward()
            return value

        return step

    def ours(model):
        x, y = next(batches())
        return dif.closure(loss, model, torch.from_numpy(x), torch.from_numpy(y).long())

    check(torch_losses(ours), torch_losses(theirs))


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


@pytest.mark.slow
def test_equinox():
    def loss(model, x, y):
        return cross_entropy(jax.vmap(model)(x), y)

    def losses(of):
        model = eqx.nn.MLP(64, 10, 32, 1, key=jax.random.key(0))
        adam = optax.adam(1e-2)
        state, step, found = adam.init(eqx.filter(model, eqx.is_inexact_array)), None, []
        for x, y in batches():
            step = step or of(model, x, y)
            value, gradient = step(model, x, y)
            updates, state = adam.update(gradient, state)
            model = eqx.apply_updates(model, updates)
            found.append(float(value))
        return found

    def ours(model, x, y):
        return dif.prepare_value_and_gradient(loss, model, dif.Const(x), dif.Const(y))

    check(losses(ours), losses(lambda *_: eqx.filter_jit(eqx.filter_value_and_grad(loss))))


@pytest.mark.slow
@pytest.mark.exhaustive
def test_nnx():
    def loss(model, x, y):
        return cross_entropy(model(x), y)

    def losses(of):
        rngs = nnx.Rngs(0)
        model = nnx.Sequential(
            nnx.Linear(64, 32, rngs=rngs), jax.nn.relu, nnx.Linear(32, 10, rngs=rngs)
        )
        optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
        step, found = None, []
        for x, y in batches():
            step = step or of(model, x, y)
            value, gradient = step(model, x, y)
            optimizer.update(model, gradient)
            found.append(float(value))
        return found

    def ours(model, x, y):
        return dif.prepare_value_and_gradient(loss, model, dif.Const(x), dif.Const(y))

    check(losses(ours), losses(lambda *_: nnx.jit(nnx.value_and_grad(loss))))


def padded(x, y):
    """A batch with rows of zeros up to the next power of two, and the weights of its rows."""
    size = len(x)
    full = 2 ** max(3, int(np.ceil(np.log2(size))))
    weights = np.zeros(full, np.float32)
    weights[:size] = 1.0 / size
    more = full - size
    return np.pad(x, ((0, more), (0, 0))), np.pad(y, (0, more)), weights


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_batches_of_many_sizes_take_few_preparations(framework, monkeypatch):
    """24 sizes, padded to powers of two: the value is that of the batch, and 4 are prepared."""
    prepared = []
    monkeypatch.setattr(
        "diffface.prep.prepared.Executable",
        lambda plan, *args, **options: prepared.append(plan) or Executable(plan, *args, **options),
    )
    draws = np.random.default_rng(0)
    batches = [
        (draws.normal(size=(n, 3)).astype(np.float32), draws.normal(size=n).astype(np.float32))
        for n in draws.permutation(np.arange(41, 65))
    ] + [(draws.normal(size=(n, 3)).astype(np.float32), np.ones(n, np.float32)) for n in (1, 9, 17)]

    def loss(w, x, y, weights):
        return (weights * (x @ w - y) ** 2).sum()

    w, values, plain = np.full(3, 0.5, np.float32), [], []
    if framework == "torch":
        variable = torch.tensor(w, requires_grad=True)
        sgd, step = torch.optim.SGD([variable], lr=0.1), None
        for x, y in torch.utils.data.DataLoader(batches, batch_size=None):
            given = tuple(map(torch.from_numpy, padded(x.numpy(), y.numpy())))
            step = step or dif.closure(loss, variable, *given)
            plain.append(float(((x @ variable.detach() - y) ** 2).mean()))
            values.append(float(sgd.step(partial(step, *given))))
    else:
        sgd, step = optax.sgd(0.1), dif.prepare_value_and_gradient(loss, backend="jax", argnums=0)
        state = sgd.init(w)
        for x, y in batches:
            plain.append(float(np.mean((x @ np.asarray(w) - y) ** 2)))
            value, gradient = step(w, *padded(x, y))
            updates, state = sgd.update(gradient, state)
            w = np.asarray(optax.apply_updates(w, updates))
            values.append(float(value))
    np.testing.assert_allclose(values, plain, rtol=1e-5)
    assert len(prepared) == 4
