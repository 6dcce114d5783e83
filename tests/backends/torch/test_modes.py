"""Tensors that require grad, and the modes of torch that a caller may be in."""

import numpy as np
import pytest
from helpers import (
    BACKENDS,
    EVERYWHERE,
    FIRST,
    PREPARED,
    cube_sum,
    expected,
    make,
    plain,
    run,
    same,
    tolerance,
)

import diffface as dif

VALUES = [1.0, 2.0, 3.0]


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", ["gradient", "value_gradient_and_hessian", "jacobian", "hvp"])
def test_tensors_that_require_grad(operator: str, prepared: bool, backend: str) -> None:
    """They are values like others: results are detached, and `.grad` stays empty."""
    import torch

    x = make("torch", VALUES).requires_grad_()
    parts = run(operator, x, backend, prepared)
    for part, right in zip(parts, expected(operator, VALUES), strict=True):
        assert not part.requires_grad
        assert part.grad_fn is None
        same(part, right, tolerance(operator, backend, "float64"))
    assert x.requires_grad
    assert x.grad is None
    middle = x * 1.0  # no leaf
    (g,) = run("gradient", middle, backend, prepared)
    assert not g.requires_grad
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    g = dif.gradient(
        lambda x, w: dif.namespace(x).sum(x * w), x, dif.Const(weight), backend=backend
    )
    assert not g.requires_grad
    same(g, np.ones(3), 1e-7)


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", ["gradient", "value_gradient_and_hessian", "jacobian", "hvp"])
@pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
@pytest.mark.parametrize("inside", [True, False], ids=["made inside", "made outside"])
def test_torch_modes_of_the_caller(
    inside: bool, mode: str, operator: str, prepared: bool, backend: str
) -> None:
    import torch

    x = make("torch", VALUES)
    with getattr(torch, mode)():
        if inside:
            x = x * 1.0
        enabled = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        parts = run(operator, x, backend, prepared)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == enabled
    for part, right in zip(parts, expected(operator, VALUES), strict=True):
        same(part, right, tolerance(operator, backend, "float64"))


def test_prepared_outside_and_called_under_inference_mode() -> None:
    import torch

    x = make("torch", VALUES)
    for backend in BACKENDS:
        g = dif.prepare_gradient(cube_sum, x, backend=backend)
        with torch.inference_mode():
            same(g(x), 3 * plain(x) ** 2, FIRST[backend])
            same(g(x * 1.0), 3 * plain(x) ** 2, FIRST[backend])
        same(g(x), 3 * plain(x) ** 2, FIRST[backend])
