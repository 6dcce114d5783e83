"""Attention by fused kernels, which know one backward pass and nothing else."""

import pytest
import torch
from torch.nn import functional

import diffface as dif

Q = torch.linspace(-1.0, 1.0, 16, dtype=torch.float64).sin().reshape(1, 2, 4, 2)
V = torch.linspace(-2.0, 1.0, 16, dtype=torch.float64).cos().reshape(Q.shape)


def fused(q):
    return functional.scaled_dot_product_attention(q.sin(), q, q, scale=0.5)


def plain(q):
    return (q.sin() @ q.mT / 2).softmax(-1) @ q


def energy(f):
    return lambda q: f(q).square().sum()


def twice(f, q):
    return dif.gradient(lambda q: dif.gradient(energy(f), q).square().sum(), q)


def by_backward(f, q):
    q = q.clone().requires_grad_()
    return torch.autograd.grad(dif.gradient(energy(f), q).square().sum(), q)


WAYS = {
    "pushforward": lambda f: dif.pushforward(f, Q, tangents=V),
    "linearize": lambda f: dif.linearize(f, Q)[1](V),
    "forward": lambda f: dif.jacobian(f, Q, mode="forward"),
    "reverse": lambda f: dif.jacobian(f, Q, mode="reverse"),
    "hvp": lambda f: dif.hvp(energy(f), Q, tangents=V),
    "prepared": lambda f: dif.prepare_hvp(energy(f), Q, fallback="error")(Q, tangents=V),
    "points": lambda f: dif.prepare_hvp(energy(f), Q, in_axes=0)(Q, tangents=V),
    "hessian": lambda f: dif.hessian(energy(f), Q),
    "twice": lambda f: twice(f, Q),
    "by backward": lambda f: by_backward(f, Q),
}


@pytest.mark.parametrize("way", WAYS)
def test_other_derivatives_take_the_plain_way(way):
    torch.testing.assert_close(WAYS[way](fused), WAYS[way](plain))
    assert torch.backends.cuda.flash_sdp_enabled()
