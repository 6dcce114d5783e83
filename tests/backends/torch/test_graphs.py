"""Graphs whose rewriting once went wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import diffface as dif
from diffface.backends.torch.graph import memory as _memory
from diffface.backends.torch.graph import simplify as _simplify

torch = pytest.importorskip("torch")
functional = torch.autograd.functional

Function = Callable[[Any], Any]
SHAPE = (3, 4)


def const(function: str, *shape: int) -> Any:
    return getattr(torch, function)(shape, dtype=torch.float64)


def both_expanded(x: Any) -> Any:
    first = x[:, 0]
    return first.view(3, 1).expand(3, 4) + first.sin().view(3, 1).expand(3, 4)


def itself_at(x: Any) -> Any:
    y = x * 2
    return torch.index_put(y, (torch.tensor([2, 0, 1]),), y)


def itself_scattered(x: Any) -> Any:
    y = x * 2
    return y.scatter(0, torch.tensor([[2, 1, 0, 1], [0, 0, 1, 2], [1, 2, 2, 0]]), y)


def itself_added_at(x: Any) -> Any:
    y = x * 2
    return y.scatter_add(0, torch.tensor([[2, 1, 0, 1], [0, 0, 1, 2], [1, 2, 2, 0]]), y)


def itself_added_by_rows(x: Any) -> Any:
    y = x * 2
    return y.index_add(0, torch.tensor([0, 0, 2]), y)


def sums_into_slices(x: Any) -> Any:
    y = torch.zeros(5, 4, dtype=torch.float64)
    y[1:-1] = x**2
    y[2:] += x.sin()
    return y


CASES: dict[str, Function] = {
    "two expanded operands": both_expanded,
    "two expanded products": lambda x: x[0].expand(5, 4) * x[0].sin().expand(5, 4),
    "two expanded differences": lambda x: x[0].expand(5, 4) - x[0].sin().expand(5, 4),
    "two expanded quotients": lambda x: x[0].sin().expand(5, 4) / (x[0] ** 2 + 2).expand(5, 4),
    "two sums": lambda x: x.sum() ** 2 + x.sum() ** 3,
    "zeros and a transpose, viewed": lambda x: (const("zeros", 4, 3) + x.T).view(-1) ** 2,
    "ones and a transpose, viewed": lambda x: (const("ones", 4, 3) * x.T).sin().view(2, 6),
    "a difference to a transpose, viewed": lambda x: (const("ones", 4, 3) - x.T).exp().view(-1),
    "zeros and a transpose, by addresses": lambda x: (
        (-(const("zeros", 4, 3) + x.T)).as_strided((5,), (1,), 1).exp()
    ),
    "a copy of a slice, by addresses": lambda x: (
        (x.sin()[1:].clone() * 3).as_strided((5,), (1,), 1) ** 2
    ),
    "a copy of the argument, by addresses": lambda x: (x * 1).as_strided((2, 3), (4, 1), 1) ** 2,
    "sums into slices": sums_into_slices,  # by addresses, in the second derivative
    "an expanded constant, viewed": lambda x: (
        (const("ones", 3).expand(4, 3).exp() * x.T).transpose(0, 1).reshape(-1).exp()
    ),
    "a product with its transpose": lambda x: (x @ x.T).sum(0),
    "squares of a transpose": lambda x: (x.T**2).sum(),
    "ones and a transpose": lambda x: const("ones", 4, 3) * x.T,
    "a tensor put into itself": itself_at,
    "a tensor scattered into itself": itself_scattered,
    "a tensor added into itself": itself_added_at,
    "rows added into itself": itself_added_by_rows,
}
EXAMPLES = {
    "zeros": const("zeros", *SHAPE),
    "ones": const("ones", *SHAPE),
    "numbers": torch.tensor(np.random.default_rng(1).standard_normal(SHAPE)),
}
AT = torch.tensor(np.random.default_rng(2).standard_normal(SHAPE))
TANGENT = torch.tensor(np.random.default_rng(3).standard_normal(SHAPE))

EVERY = pytest.mark.parametrize("name", CASES)
PREPARED_AT = pytest.mark.parametrize("example", EXAMPLES)


def weighted(f: Function) -> Function:
    """A scalar that depends on every number of ``f(x)`` in a way of its own."""

    def scalar(x: Any) -> Any:
        y = f(x).reshape(-1)
        return (y * torch.linspace(1, 2, y.numel(), dtype=y.dtype)).sum() + (y**2).sum()

    return scalar


def agrees(found: Any, expected: Any) -> None:
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@EVERY
@PREPARED_AT
def test_gradient(name: str, example: str) -> None:
    f = weighted(CASES[name])
    x = AT.clone().requires_grad_()
    prepared = dif.prepare_gradient(f, EXAMPLES[example], backend="torch")
    assert prepared.strategy == "replay"
    agrees(prepared(AT), torch.autograd.grad(f(x), x)[0])


@EVERY
@PREPARED_AT
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobian(name: str, example: str, mode: str) -> None:
    f = CASES[name]
    prepared = dif.prepare_value_and_jacobian(f, EXAMPLES[example], backend="torch", mode=mode)
    assert prepared.strategy == "replay"
    y, jacobian = prepared(AT)
    agrees(y, f(AT))
    agrees(jacobian, functional.jacobian(f, AT))


@EVERY
@PREPARED_AT
def test_hvp(name: str, example: str) -> None:
    f = weighted(CASES[name])
    prepared = dif.prepare_hvp(f, EXAMPLES[example], backend="torch")
    assert prepared.strategy == "replay"
    agrees(prepared(AT, tangents=TANGENT), functional.hvp(f, AT, TANGENT)[1])


@EVERY
def test_hessian(name: str) -> None:
    f = weighted(CASES[name])
    prepared = dif.prepare_hessian(f, EXAMPLES["ones"], backend="torch")
    assert prepared.strategy == "replay"
    agrees(prepared(AT), functional.hessian(f, AT))


@EVERY
def test_numpy_results_are_contiguous(name: str) -> None:
    f, x = CASES[name], AT.numpy()
    push = dif.prepare_value_and_pushforward(f, x, backend="torch")
    jacobian = dif.prepare_jacobian(f, x, backend="torch")
    for array in (*push(x, tangents=x), jacobian(x)):
        assert array.flags.c_contiguous
        assert array.flags.writeable or not array.shape


def test_addresses_in_a_result_laid_out_like_a_captured_tensor() -> None:
    """The record keeps a copy of what it captured, row by row."""
    captured = torch.arange(12.0, dtype=torch.float64).view(4, 3).T

    def f(x: Any) -> Any:
        return (captured * x).as_strided((5,), (1,), 1).exp().sum()

    with pytest.warns(dif.PreparationWarning) as warned:
        prepared = dif.prepare_gradient(f, torch.zeros_like(AT), backend="torch")
    assert "it addresses memory (as_strided) that is laid out otherwise" in str(warned[0].message)
    agrees(prepared(AT), torch.func.grad(f)(AT))


def test_a_rule_that_changes_a_shape_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(node: Any) -> Any:
        return node.args[0] if "sum" in str(node.target) else None

    monkeypatch.setattr(_simplify, "rewrite", wrong)
    f = weighted(torch.sin)
    prepared = dif.prepare_value_and_gradient(f, AT, backend="torch", fallback="error")
    agrees(prepared(AT)[0], f(AT))


def test_a_record_that_fails_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch refuses to put a tensor into itself in place."""
    monkeypatch.setattr(_memory, "SCATTERS", frozenset())
    f = weighted(itself_at)
    with pytest.warns(dif.PreparationWarning) as warned:
        prepared = dif.prepare_gradient(f, AT, backend="torch")
    assert str(warned[0].message) == (
        "`f` cannot be recorded (its record fails with RuntimeError: unsupported operation: some "
        "elements of the input tensor and the written-to tensor refer to a single memory location. "
        "Please clone() the tensor before performing the operation). It runs eagerly at every "
        "call: right, but slower. Move the decision on values into `xp.where`, or pass "
        "fallback='error'."
    )
    assert prepared.strategy == "eager"
    agrees(prepared(AT), torch.func.grad(f)(AT))


def test_a_rule_that_fails_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(node: Any) -> Any:
        raise KeyError(node.name)

    monkeypatch.setattr(_simplify, "rewrite", failing)
    with pytest.warns(dif.PreparationWarning, match="its record fails with KeyError: "):
        prepared = dif.prepare_gradient(weighted(torch.sin), AT, backend="torch")
    assert prepared.strategy == "eager"


def test_the_error_of_the_function_itself_is_its_own() -> None:
    singular = torch.zeros(3, 3, dtype=torch.float64)
    with pytest.raises(torch.linalg.LinAlgError, match=r"linalg\.inv: .* singular"):
        dif.prepare_gradient(lambda x: torch.linalg.inv(x).sum(), singular, backend="torch")
