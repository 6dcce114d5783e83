"""Compiled programs with many of torch's own kernels, which are called from C++."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

import diffface as dif

COMPILED = dif.Torch(compile=True)
# What is in the source of a program that calls kernels from C++
MARK = "inductor_entry_impl"


def classification(model, x, labels):
    return nn.functional.cross_entropy(model(x), labels)


@pytest.fixture(scope="module")
def training():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    data = torch.randn(5, 6), torch.randint(3, (5,))
    made = [
        dif.prepare_value_and_gradient(classification, model, *map(dif.Const, data), backend=b)
        for b in (COMPILED, "torch")
    ]
    return (*made, model, data)


def flat(result):
    value, gradients = result
    return [value.detach(), *(g.detach() for g in gradients.values())]


@pytest.mark.parametrize("grad", [True, False])
def test_results_are_those_of_replay_and_fresh(training, grad):
    compiled, replayed, model, data = training
    assert compiled.strategy == "inductor"
    assert MARK in compiled.native.source
    with torch.set_grad_enabled(grad):
        found, again, expected = (flat(g(model, *data)) for g in (compiled, compiled, replayed))
    torch.testing.assert_close(found, expected)
    for x, y in zip(found, again, strict=True):
        assert torch.equal(x, y)
        assert x.data_ptr() != y.data_ptr()
        assert x.is_contiguous()
        assert not x.is_inference()


def test_gradients_carry_derivatives(training):
    compiled, replayed, model, data = training
    found, expected = (
        torch.autograd.grad(sum(g.square().sum() for g in step(model, *data)[1].values()), weight)
        for step in (compiled, replayed)
        for weight in [model[0].weight]
    )
    torch.testing.assert_close(found, expected)


def test_an_index_out_of_range_is_an_error(training):
    compiled, _, model, (x, labels) = training
    with pytest.raises(RuntimeError, match="out of bounds"):
        compiled(model, x, labels + 3)
    torch.testing.assert_close(flat(compiled(model, x, labels)), flat(compiled(model, x, labels)))


def test_threads(training):
    compiled, _, model, (x, labels) = training
    inputs = [x + i for i in range(4)]
    expected = [flat(compiled(model, each, labels)) for each in inputs]
    wrong = []

    def work(i):
        for _ in range(20):
            found = flat(compiled(model, inputs[i], labels))
            wrong.extend(
                i for p, q in zip(found, expected[i], strict=True) if not torch.equal(p, q)
            )

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def products(x, f=torch.tanh):
    for _ in range(4):
        x = f(x @ x)
    return x.sum()


@dif.custom_rule(black_box=True)
def damped(x):
    return np.tanh(x)


@damped.pullback
def _(active, saved, dy):
    x, _ = saved
    return (dy * (1 - dif.namespace(x).tanh(x) ** 2),)


X = torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(3, 3)
OTHERS = {
    "few products": (lambda x: torch.tanh(x @ x).sum(), X),
    "half precision": (products, X.to(torch.bfloat16)),
    "complex numbers": (lambda z: products(z).real, X.to(torch.complex128)),
    "a black box": (lambda x: products(x, damped), X),
    "a solver": (lambda x: products(x) + torch.linalg.solve(x + torch.eye(3), x).sum(), X),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_programs_call_kernels_from_python(name):
    f, x = OTHERS[name]
    compiled = dif.prepare_gradient(f, x, backend=COMPILED)
    assert compiled.strategy == "inductor"
    assert MARK not in compiled.native.source
    torch.testing.assert_close(compiled(x), dif.gradient(f, x, backend="torch"))
