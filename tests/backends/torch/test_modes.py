"""Tensors that require grad, and the modes of torch that a caller may be in."""

import contextlib
from collections.abc import Iterator

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


@pytest.mark.parametrize("lazy", [True, False], ids=["lazy", "by examples"])
def test_precision_that_torch_chooses(lazy: bool) -> None:
    """Autocast and the default dtype belong to the signature: a program holds for them alone."""
    import torch

    def f(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.tanh(w @ x).sum() * torch.ones(3).element_size()

    args = torch.linspace(0.1, 1.0, 3), dif.Const(torch.linspace(-1.0, 1.0, 9).reshape(3, 3))
    scopes = [contextlib.nullcontext, lambda: torch.autocast("cpu", torch.bfloat16), default_double]
    right = []
    for scope in scopes:
        with scope():
            right.append(dif.gradient(f, *args))
    for first in range(3):
        with scopes[first]():
            g = dif.prepare_gradient(f, *(() if lazy else args), backend="torch")
        for n in (first, 0, 1, 2, first):
            with scopes[n]():
                assert torch.equal(g(*args), right[n])
    assert not any(torch.equal(right[0], other) for other in right[1:])


@pytest.mark.parametrize(
    "options", [{"sparsity": "trace"}, {"chunk_size": 1}, {"in_axes": 0}], ids=str
)
def test_precision_in_other_programs(options: dict[str, object]) -> None:
    import torch

    def f(x: torch.Tensor) -> torch.Tensor:
        return x**2 * torch.ones(1).element_size()

    x = torch.tensor([[1.0, 2.0]])
    x = x if "in_axes" in options else x[0]
    prepared = dif.prepare_jacobian(f, x, backend="torch", **options)
    for scope, size in ((contextlib.nullcontext, 4.0), (default_double, 8.0)) * 2:
        with scope():
            found = prepared(x)
        dense = found.to_dense() if "sparsity" in options else found
        same(dense, (np.diag(2 * size * plain(x).ravel())).reshape(dense.shape))


@contextlib.contextmanager
def default_double() -> Iterator[None]:
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
