"""Tensors that require grad, and the modes of torch that a caller may be in."""

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
    """Results carry the derivative that torch is computing; other backends refuse to lose it."""
    import torch

    x = make("torch", VALUES).requires_grad_()
    if backend == "torch":
        parts = run(operator, x, backend, prepared)
        assert parts[-1].requires_grad
        parts[-1].sum().backward()
        assert x.grad is not None
        x.grad = None
    else:
        with pytest.raises(dif.NotDifferentiableError, match=r"diffface\.bridge"):
            run(operator, x, backend, prepared)
    with torch.no_grad():
        parts = run(operator, x, backend, prepared)
    for part, right in zip(parts, expected(operator, VALUES), strict=True):
        assert not part.requires_grad
        same(part, right, tolerance(operator, backend, "float64"))
    assert x.requires_grad
    assert x.grad is None


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
