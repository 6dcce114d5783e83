"""Biases in compiled programs, which are added apart from the product."""

import pytest
import torch
from torch.nn.functional import linear

import diffface as dif

COMPILED = dif.Torch(compile=True)
SHAPES = {"usual": (5, 3, 4), "one row": (1, 3, 4), "one column": (5, 3, 1), "empty": (0, 3, 4)}


def layer(x, w, b):
    return (linear(x, w, b).relu() ** 2).sum()


def arrays(dtype, rows, inner, columns):
    torch.manual_seed(0)
    shapes = (rows, inner), (columns, inner), (columns,)
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients(dtype, shape):
    points = arrays(dtype, *shape)
    options = {"argnums": (0, 1, 2), "backend": COMPILED}
    prepared = dif.prepare_value_and_gradient(layer, *points, **options)
    assert prepared.strategy == "inductor"
    assert "addmm" not in prepared.native.source
    exact = dif.value_and_gradient(layer, *(x.double() for x in points), argnums=(0, 1, 2))
    value, gradients = prepared(*points)
    expected = [x.to(dtype) for x in (exact[0], *exact[1])]
    torch.testing.assert_close([value, *gradients], expected)


@pytest.mark.parametrize("special", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_not_finite(which, special):
    points = arrays(torch.float64, 5, 3, 4)
    f = lambda x, w, b: linear(x, w, b)
    options = {"argnums": which, "backend": COMPILED}
    prepared = dif.prepare_value_and_pushforward(f, *points, **options)
    points[which].reshape(-1)[1] = special
    tangents = torch.ones_like(points[which])
    found = prepared(*points, tangents=tangents)
    expected = dif.value_and_pushforward(f, *points, argnums=which, tangents=tangents)
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_results_themselves():
    points = arrays(torch.float64, 5, 3, 4)
    f = lambda x, w, b: linear(x, w, b)
    prepared = dif.prepare_value_and_pushforward(f, *points, argnums=0, backend=COMPILED)
    (first, _), (second, _) = (prepared(*points, tangents=points[0]) for _ in range(2))
    torch.testing.assert_close(first, f(*points))
    assert first.is_contiguous()
    assert first.data_ptr() != second.data_ptr()


def test_half_precision_rounds_once():
    points = arrays(torch.bfloat16, 5, 3, 4)
    prepared = dif.prepare_gradient(layer, *points, backend=COMPILED)
    assert "addmm" in prepared.native.source
