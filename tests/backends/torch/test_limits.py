"""Where torch lacks a rule, or a graph an operation: another way to the right number."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import plain, same

import diffface as dif

torch = pytest.importorskip("torch")
F64 = torch.float64
X = torch.tensor([1.0, 2.0, 3.0], dtype=F64)
Y = torch.linspace(-2.0, 2.0, 12, dtype=F64).reshape(3, 4)


def imaginary(x: Any) -> Any:
    """Conjugates on the way, for which torch cannot batch."""
    z = torch.complex(x, x**2)
    return z.imag * z.conj().imag


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_what_cannot_be_batched(mode: Any, prepared: bool) -> None:
    call = dif.prepare_jacobian(imaginary, X, mode=mode) if prepared else None
    found = call(X) if call else dif.jacobian(imaginary, X, mode=mode)
    same(plain(found), np.diag(-4.0 * plain(X) ** 3))


@pytest.mark.parametrize("prepared", [False, True])
def test_what_has_no_forward_rule(prepared: bool) -> None:
    f: Callable[[Any], Any] = lambda x: torch.nn.functional.huber_loss(x**2, x, delta=3.0)
    right = torch.autograd.functional.hessian(f, X)
    hessian = dif.prepare_hessian(f, X) if prepared else lambda x: dif.hessian(f, x)
    same(plain(hessian(X)), plain(right))
    hvp = dif.prepare_hvp(f, X) if prepared else lambda x, **v: dif.hvp(f, x, **v)
    same(plain(hvp(X, tangents=X)), plain(right @ X))


@pytest.mark.parametrize("options", [{}, {"chunk_size": 2}])
def test_batches_of_nothing(options: Any) -> None:
    push = dif.pushforward(lambda x: x * 2, X, tangents=X.new_zeros(0, 3), batched=True, **options)
    pull = dif.pullback(torch.prod, X, cotangents=X.new_zeros(0), batched=True, **options)
    assert push.shape == pull.shape == (0, 3)


NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "numpy": lambda x, c: (x * torch.from_numpy(np.ones(3) * c)).sum(),
    "round": lambda x, c: x.sum() * round(c),
    "text": lambda x, c: x.sum() * len(c.hex()),
    "sparse": lambda x, c: (torch.eye(3, dtype=F64).to_sparse() @ x[:, None]).sum() * c,
}


@pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_for_which_no_tensor_can_stand(name: str) -> None:
    g = dif.prepare_gradient(NUMBERS[name], X, dif.Const(2.5))
    for c in (2.5, 3.75, -1.25):
        same(plain(g(X, c)), plain(dif.gradient(NUMBERS[name], X, dif.Const(c))))


@pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")
def test_sparse_constants() -> None:
    f = lambda x, m: (m @ x[:, None]).sum() * x[0]
    sparse = torch.eye(3, dtype=F64).to_sparse()
    g = dif.prepare_gradient(f, X, dif.Const(sparse))
    same(plain(g(2 * X, sparse)), plain(dif.gradient(f, 2 * X, dif.Const(sparse))))


@pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")
@pytest.mark.parametrize("operator", ["gradient", "hvp", "hessian"])
def test_what_agrees_by_chance_where_it_was_prepared(operator: str) -> None:
    def f(x: Any) -> Any:
        return (x**3).sum() if type(x) is torch.Tensor else (x**3).sum() * (1 + x[0])

    prepared = getattr(dif, f"prepare_{operator}")(f, torch.zeros(3, dtype=F64))
    seeds = {"tangents": X} if operator == "hvp" else {}
    same(plain(prepared(X, **seeds)), plain(getattr(dif, operator)(f, X, **seeds)))


def test_compiled_constants_that_are_not_contiguous() -> None:
    matrix = torch.arange(12.0, dtype=F64).reshape(4, 3)
    f = lambda x: (x**2 * matrix.T).sum()
    start = torch.zeros(3, 4, dtype=F64)
    g = dif.prepare_gradient(f, start, backend=dif.Torch(compile=True), fallback="error")
    same(plain(g(Y)), plain(2 * Y * matrix.T))


@pytest.mark.slow
def test_compiled_kernels_of_few_numbers_run_on_one_thread() -> None:
    f = lambda x: (x.sin() ** 2).sum(1)
    x = torch.linspace(0.5, 1.5, 10_000, dtype=F64).reshape(1000, 10)
    g = dif.prepare_gradient(lambda x: f(x).sum(), x, backend=dif.Torch(compile=True))
    assert g.strategy == "inductor"
    assert "omp parallel" not in g.native.source
    np.testing.assert_allclose(plain(g(x + 1)), plain(torch.sin(2 * (x + 1))), rtol=1e-12)


def test_compiled_results_that_are_views() -> None:
    f = lambda x: x[::2, 1::2] ** 2
    g = dif.prepare_value_and_jacobian(f, Y, backend=dif.Torch(compile=True), fallback="error")
    out = torch.full((2, 2, 3, 4), torch.nan, dtype=F64)
    y, jacobian = g(Y, out=out)
    assert jacobian is out
    same((plain(y), plain(out)), tuple(map(plain, dif.value_and_jacobian(f, Y))))


TAKEN: dict[str, Callable[[Any], Any]] = {
    "float": lambda x: float(x[0]) ** 2,
    "math": lambda x: math.sin(x[0]),
    "item": lambda x: torch.tensor(x[0].item()),
    "list": lambda x: sum(x.tolist()),
}


@pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")
@pytest.mark.filterwarnings("ignore:Converting a tensor:UserWarning")
@pytest.mark.parametrize("operator", ["gradient", "pushforward", "pullback", "hvp"])
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("name", TAKEN)
def test_results_that_are_made_of_numbers(name: str, prepared: bool, operator: str) -> None:
    seeds = {"hvp": {"tangents": X}, "pushforward": {"tangents": X}, "gradient": {}}
    given = seeds.get(operator, {"cotangents": torch.tensor(1.0, dtype=F64)})
    with pytest.raises(dif.NotDifferentiableError, match="a number was taken out of a torch"):
        if prepared:
            getattr(dif, f"prepare_{operator}")(TAKEN[name], X)(X, **given)
        else:
            getattr(dif, operator)(TAKEN[name], X, **given)


def test_results_that_are_constant() -> None:
    for f in (lambda x: 2.0, lambda x: torch.ones((), dtype=F64), lambda x: x.detach().sum()):
        assert not dif.gradient(f, X).any()
