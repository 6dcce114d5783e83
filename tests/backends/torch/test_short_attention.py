"""Fused attention in compiled programs, which is opened where the weights are few."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention as attention

import diffface as dif
from diffface.backends.torch.graph import attention as opened

COMPILED = dif.Torch(compile=True)
MARK = "scaled_dot_product"


def arrays(dtype, *shapes):
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def by_hand(q, k, v, scale=None):
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return (q @ k.mT * scale).softmax(-1) @ v


def heads_apart(f):
    """Attention of four heads, which lie side by side, as modules have them."""

    def weighed(q, k, v, t, **options):
        split = [x.unflatten(-1, (4, -1)).transpose(1, 2) for x in (q, k, v)]
        return (f(*split, **options).transpose(1, 2).flatten(2) * t).sum()

    return weighed


SAME = [(2, 9, 20)] * 4
CROSS = [(2, 5, 12), (2, 8, 12), (2, 8, 12), (2, 5, 12)]
ONE = [(1, 1, 8), (1, 6, 8), (1, 6, 8), (1, 1, 8)]


@pytest.mark.parametrize("scale", [None, -0.7])
@pytest.mark.parametrize("shapes", [SAME, CROSS, ONE], ids=["same", "cross", "one"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients(dtype, shapes, scale):
    points = arrays(dtype, *shapes)
    f = lambda *xs: heads_apart(attention)(*xs, scale=scale)
    g = dif.prepare_value_and_gradient(f, *points, argnums=(0, 1, 2, 3), backend=COMPILED)
    assert g.strategy == "inductor"
    assert MARK not in g.native.source
    exact = dif.value_and_gradient(
        lambda *xs: heads_apart(by_hand)(*xs, scale=scale),
        *(x.double() for x in points), argnums=(0, 1, 2, 3),
    )  # fmt: skip
    for again in range(2):  # with other numbers, too
        sign = (-1) ** again
        value, gradients = g(*points[:3], sign * points[3])
        assert all(x.is_contiguous() for x in gradients)
        signs = (sign, sign, sign, 1)
        expected = [sign * exact[0], *(s * x for s, x in zip(signs, exact[1], strict=True))]
        torch.testing.assert_close([value, *gradients], [x.to(dtype) for x in expected])


def test_large_scores():
    q, k, v, t = arrays(torch.float64, *SAME)
    f = heads_apart(attention)
    g = dif.prepare_gradient(f, q, k, v, t, argnums=(0, 1, 2), backend=COMPILED)
    assert MARK not in g.native.source
    expected = dif.gradient(heads_apart(by_hand), 300 * q, 300 * k, v, t, argnums=(0, 1, 2))
    torch.testing.assert_close(g(300 * q, 300 * k, v, t), expected)


def test_results_in_memory_of_their_own():
    """Derivatives that are what attention and its backward pass return, as it is and as views."""
    q, k, v, t, u = arrays(torch.float64, *[(2, 3, 4, 5)] * 4, (2, 4, 3, 5))

    def weighed(f):
        def sums(q, k, v, t, u):
            found = f(q, k, v)
            return (found * t).sum() + (found.transpose(1, 2) * u).sum()

        return sums

    options = {"argnums": (0, 1, 2, 3, 4)}
    g = dif.prepare_gradient(weighed(attention), q, k, v, t, u, backend=COMPILED, **options)
    assert MARK not in g.native.source
    expected = dif.gradient(weighed(by_hand), q, k, v, t, u, **options)
    found, again = g(q, k, v, t, u), g(q, k, v, t, u)
    torch.testing.assert_close(found, expected)
    assert len({x.data_ptr() for x in (*found, *again)}) == 10
    assert all(x.is_contiguous() for x in found)


def test_derivatives_of_prepared_gradients():
    points = arrays(torch.float64, *SAME)
    f = heads_apart(attention)
    g = dif.prepare_gradient(f, *points, backend=COMPILED)
    found = dif.pushforward(g, *points, tangents=points)
    expected = dif.pushforward(lambda *xs: dif.gradient(f, *xs), *points, tangents=points)
    torch.testing.assert_close(found, expected)


def masked(q, k, v):
    return attention(q, k, v, attn_mask=torch.ones(4, 4, dtype=torch.bool).tril())


def causal(q, k, v):
    return attention(q, k, v, is_causal=True)


@pytest.mark.parametrize("f", [masked, causal, attention])
def test_others_stay_fused(f, monkeypatch):
    if f is attention:
        monkeypatch.setattr(opened, "_CACHE", 2 * 4 * 4 * 8 - 1)
    points = arrays(torch.float64, *[(1, 2, 4, 3)] * 3)
    energy = lambda *xs: f(*xs).square().sum()
    g = dif.prepare_gradient(energy, *points, argnums=(0, 1, 2), backend=COMPILED)
    assert MARK in g.native.source
    torch.testing.assert_close(g(*points), dif.gradient(energy, *points, argnums=(0, 1, 2)))
