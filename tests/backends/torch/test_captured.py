"""Captured tensors: copies of them may be written to; of those that require grad, it is said."""

import warnings

import numpy as np
import pytest
import torch

import diffface as dif

X = torch.tensor([0.5, -1.25], dtype=torch.float64)
FROZEN = (
    "`f` captures a tensor that requires grad. A prepared call keeps the value that it has now, "
    "and its results carry no derivative with respect to it. Pass it as an argument, or detach it."
)


def weight():
    return torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)


CAPTURED = {
    "leaf": lambda w: lambda x: (w * x**2).sum(),
    "of a graph": lambda w: lambda x, v=2 * w: (v * x**2).sum() / 2,
    "in a dict": lambda w, held=None: lambda x, d={"w": w}: (d["w"] * x**2).sum(),
    "in an object": lambda w: Holder(w).loss,
}


class Holder:
    def __init__(self, w):
        self.w = w

    def loss(self, x):
        return (self.w * x**2).sum()


@pytest.mark.parametrize("name", CAPTURED)
@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("torch", id="replay"),
        pytest.param(dif.Torch(compile=True), id="compiled", marks=pytest.mark.slow),
    ],
)
def test_one_warning_says_what_is_frozen(name, backend):
    w = weight()
    f = CAPTURED[name](w)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", dif.PreparationWarning)
        g = dif.prepare_gradient(f, X, backend=backend)
        g(X)
    found = [each for each in caught if each.category is dif.PreparationWarning]
    assert [str(each.message) for each in found] == [FROZEN]
    assert found[0].filename == __file__
    with warnings.catch_warnings(), pytest.raises(dif.PreparationWarning, match="requires grad"):
        warnings.simplefilter("error")
        dif.prepare_gradient(f, X, backend=backend)
    assert not g(X).requires_grad
    np.testing.assert_allclose(g(X), 2 * w.detach() * X)
    # What is not prepared carries the derivative.
    slope = dif.gradient(f, X)
    (second,) = torch.autograd.grad(slope.sum(), w)
    np.testing.assert_allclose(second, 2 * X)


def test_an_argument_carries_it_without_a_warning():
    w = weight()
    loss = lambda x, w: (w * x**2).sum()
    g = dif.prepare_gradient(loss, X, dif.Const(w.detach()))
    slope = g(X, w)
    np.testing.assert_allclose(slope.detach(), 2 * w.detach() * X)
    np.testing.assert_allclose(torch.autograd.grad(slope.sum(), w)[0], 2 * X)


def test_nothing_is_said_of_what_requires_no_grad_or_is_a_modules():
    w, layer = weight(), torch.nn.Linear(2, 1).double()
    for f in (lambda x: (w.detach() * x**2).sum(), lambda x: layer(x).sum() ** 2):
        g = dif.prepare_gradient(f, X, fallback="error")
        np.testing.assert_allclose(g(X + 1), dif.gradient(f, X + 1).detach())


C = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
PLACES = torch.tensor([3, 1])
LAYER = torch.nn.Linear(4, 4, bias=False).double()


def element(x):
    c = C.clone()
    c[0] = x[1]
    return c * x


def index_add(x):
    return C.index_add(0, PLACES, x[:2] ** 2).index_add_(0, PLACES, x[2:])


def index_fill(x):
    return (C + 1).index_fill_(0, PLACES, 2.0) * x**2


def mask(x):
    c = C.clone()
    c[C > 2] = 0
    return c * x**2


def view(x):
    c = (C + 1).view(2, 2)
    c[1].mul_(x[:2])
    return c.flatten() * x


def literal(x):
    c = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=x.dtype)
    c[2] = x[0] ** 2
    return c * x


def weighted(x):
    w = LAYER.weight * 2
    w[0] = x
    return w @ x


@pytest.mark.parametrize(
    "f", [element, index_add, index_fill, mask, view, literal, weighted], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_what_is_written_to_a_copy_is_recorded(f, mode):
    x = torch.tensor([0.5, -1.25, 2.0, 0.25], dtype=torch.float64)
    prepared = dif.prepare_jacobian(f, torch.zeros_like(x), mode=mode, fallback="error")
    assert prepared.strategy == "replay"
    for _ in range(2):  # the copy is a new one at every call
        np.testing.assert_allclose(prepared(x), torch.func.jacrev(f)(x).detach(), rtol=1e-14)
    assert C.tolist() == [1, 2, 3, 4]
