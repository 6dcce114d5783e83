"""Compiled callables that meet tensors which are not memory: fake ones, transforms, tracers."""

from typing import Any

import pytest

import diffface as dif

torch = pytest.importorskip("torch")
proxy_tensor = pytest.importorskip("torch.fx.experimental.proxy_tensor")
fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")

X = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
BACKENDS = pytest.mark.parametrize(
    "backend", [dif.Torch(), dif.Torch(compile=True)], ids=["replay", "inductor"]
)


def cubes(x: Any) -> Any:
    return (x**3).sum()


@BACKENDS
def test_within_another_function_that_is_prepared(backend: Any) -> None:
    g = dif.prepare_gradient(cubes, X, backend=backend)
    f = lambda x, c: (x * g(c)).sum()
    for outer in (dif.Torch(), dif.Torch(compile=True)):
        h = dif.prepare_gradient(f, X, dif.Const(X), backend=outer)
        torch.testing.assert_close(h(X, 2 * X), 12 * X**2)


@BACKENDS
@pytest.mark.parametrize("mode", ["real", "fake"])
def test_traced_by_make_fx(mode: str, backend: Any) -> None:
    g = dif.prepare_gradient(cubes, X, backend=backend)
    traced = proxy_tensor.make_fx(g, tracing_mode=mode, _allow_non_fake_inputs=True)(X)
    torch.testing.assert_close(traced(2 * X), 12 * X**2)


@BACKENDS
def test_under_vmap(backend: Any) -> None:
    g = dif.prepare_gradient(cubes, X, backend=backend)
    rows = torch.stack([X, 2 * X])
    torch.testing.assert_close(torch.vmap(g)(rows), 3 * rows**2)


def test_fake_tensors_of_someone_else() -> None:
    g = dif.prepare_gradient(cubes, X, backend=dif.Torch(compile=True))
    with fake_tensor.FakeTensorMode() as mode:
        fake = mode.from_tensor(X)
    found = g(fake)
    assert isinstance(found, fake_tensor.FakeTensor)
    assert found.shape == X.shape


class NumPyBackward(torch.autograd.Function):
    """Its derivative is computed out of torch's sight."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, d: Any) -> Any:
        (x,) = ctx.saved_tensors
        return d * torch.from_numpy(3 * x.detach().numpy() ** 2)


@BACKENDS
def test_a_backward_pass_that_leaves_torch_is_not_recorded(backend: Any) -> None:
    f = lambda x: NumPyBackward.apply(x).sum()
    with pytest.warns(dif.PreparationWarning, match="memory of a tensor"):
        g = dif.prepare_gradient(f, X, backend=backend)
    assert g.strategy == "eager"
    torch.testing.assert_close(g(2 * X), 12 * X**2)
