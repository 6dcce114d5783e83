"""Values that leave torch while a program is recorded on real tensors, by every door."""

import copy
import warnings

import numpy as np
import pytest
import torch

import diffface as dif

X = torch.tensor([0.5, -1.25, 2.0], dtype=torch.float64)


def chosen(x, i):
    """One of three functions, as a number says that was taken out of ``x``."""
    return (x[int(i)] ** 3).sum() + x.sum()


DOORS = {
    "item": lambda x: chosen(x, x.argmax().item()),
    "tolist": lambda x: chosen(x, x.argmax().tolist()),
    "torch.tensor of a list": lambda x: chosen(x, torch.tensor([x.argmax()])[0]),
    "torch.equal": lambda x: chosen(x, torch.equal(x, x.abs())),
    "deepcopy": lambda x: chosen(x, copy.deepcopy(x.argmax())),
    "numpy": lambda x: chosen(x, x.detach().numpy().argmax()),
    "tensor_split": lambda x: (torch.tensor_split(x, x.argmax()[None])[0] ** 3).sum() + x.sum(),
    "nonzero": lambda x: (x[x.nonzero()[:1, 0]] ** 3).sum() + (x[x > 0] ** 2).sum(),
    "allclose": lambda x: chosen(x, torch.allclose(x, x.abs())),
    "swallowed": lambda x: swallowed(x),
}


def swallowed(x):
    try:
        return chosen(x, x.argmax())
    except Exception:  # noqa: BLE001 - as careless code does
        return x.sum()


@pytest.mark.parametrize("name", DOORS)
def test_it_runs_eagerly_and_right(name):
    f = DOORS[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        g = dif.prepare_gradient(f, X)
    assert g.strategy == "eager"
    assert sum(each.category is dif.PreparationWarning for each in caught) == 1
    for point in (X, -X, X.flip(0)):
        x = point.clone().requires_grad_()
        (expected,) = torch.autograd.grad(f(x), x)
        np.testing.assert_allclose(g(point), expected)


def test_what_depends_on_no_input_may_be_looked_at():
    mask = torch.tensor([True, False, True])

    def f(x):
        n = int(mask.sum()) + len(mask.tolist()) + int(mask.nonzero()[-1, 0])
        return (x[mask] ** n).sum()

    g = dif.prepare_gradient(f, X, fallback="error")
    np.testing.assert_allclose(g(2 * X), np.where(mask, 7 * (2 * X) ** 6, 0))


def test_draws_are_fresh_and_seeds_are_seen():
    g = dif.prepare_value_and_gradient(
        lambda x: torch.nn.functional.dropout(x * 2, 0.5).sum() + torch.rand(3).sum() * x.sum(), X,
        fallback="error",
    )  # fmt: skip
    before = torch.get_rng_state()
    assert len({float(g(X)[0]) for _ in range(8)}) > 1
    torch.set_rng_state(before)
    y, dx = g(X)
    torch.set_rng_state(before)
    x = X.clone().requires_grad_()
    z = torch.nn.functional.dropout(x * 2, 0.5).sum() + torch.rand(3).sum() * x.sum()
    np.testing.assert_allclose(y, z.detach())
    np.testing.assert_allclose(dx, torch.autograd.grad(z, x)[0])

    def seeded(x):
        torch.manual_seed(0)
        return (torch.rand(3) * x).sum()

    with pytest.warns(dif.PreparationWarning, match="seeds torch's random number generator"):
        dif.prepare_gradient(seeded, X)


def test_captured_memory_is_not_written_to():
    kept = torch.zeros(3, dtype=torch.float64)

    def f(x):
        kept[0] = kept[0] + 1
        return (x**2).sum()

    with pytest.warns(dif.PreparationWarning, match="writes to a tensor that it captured"):
        g = dif.prepare_gradient(f, X)
    assert not kept.any()
    np.testing.assert_allclose(g(X), 2 * X)


@pytest.mark.parametrize("training", [True, False])
def test_running_averages_that_are_arguments(training):
    """Batch normalisation writes to them; a prepared call leaves the caller's as they are."""
    layer = torch.nn.BatchNorm1d(3).double().train(training)
    buffers = {
        "running_mean": torch.ones(3, dtype=torch.float64),
        "running_var": torch.full((3,), 2.0, dtype=torch.float64),
        "num_batches_tracked": torch.tensor(4),
    }
    x = torch.arange(12.0, dtype=torch.float64).reshape(4, 3) ** 1.5

    def f(p, x, b):
        own = {name: value.clone() for name, value in b.items()}
        y = torch.func.functional_call(layer, {**p, **own}, (x,))
        return (y**3).sum() + (own["running_mean"] * p["weight"]).sum()

    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    args = parameters, dif.Const(x), dif.Const(buffers)
    expected = dif.gradient(f, *args)
    g = dif.prepare_gradient(f, *args, fallback="error")
    found = g(parameters, x, buffers)
    for name in parameters:
        np.testing.assert_allclose(found[name].detach(), expected[name].detach(), rtol=1e-10)
    assert buffers["running_mean"].eq(1).all()
    assert buffers["num_batches_tracked"] == 4
