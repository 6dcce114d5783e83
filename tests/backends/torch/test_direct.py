"""Prepared calls on tensors like earlier ones, which one look at all of them finds out."""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import diffface as dif

torch = pytest.importorskip("torch")
fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")
python_dispatch = pytest.importorskip("torch.utils._python_dispatch")
direct = pytest.importorskip("diffface.backends.torch.graph.direct")
places = pytest.importorskip("diffface.backends.torch.graph.places")

F64 = torch.float64
X = torch.arange(1.0, 7.0, dtype=F64).reshape(2, 3)
Y = torch.arange(6.0, dtype=F64).reshape(2, 3).sin()
BACKENDS = pytest.mark.parametrize(
    "backend", [dif.Torch(), dif.Torch(compile=True)], ids=["replay", "inductor"]
)


def product(x: Any, y: Any) -> Any:
    return (x**3 * y).sum()


class Watching(python_dispatch.TorchDispatchMode):  # type: ignore[misc]
    """Notes what is called."""

    def __init__(self) -> None:
        super().__init__()
        self.called = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.called += 1
        return func(*args, **(kwargs or {}))


def negative(x: Any) -> Any:
    """The same numbers, of which the negative ones lie in memory."""
    return torch.complex(torch.zeros_like(x), -x).conj().imag


def in_inference(x: Any) -> Any:
    with torch.inference_mode():
        return x.clone()


UNLIKE: dict[str, Callable[[Any], Any]] = {
    "strides": lambda x: x.T.contiguous().T,
    "every other": lambda x: torch.stack([x, 0 * x], -1)[..., 0],
    "negative": negative,
    "inference": in_inference,
    "parameter": torch.nn.Parameter,
    "requires grad": lambda x: x.clone().requires_grad_(),
    "numpy": lambda x: x.numpy(),
    "expanded": lambda x: x[:1].expand(2, 3),
    "shape": lambda x: x.reshape(3, 2),
    "dtype": lambda x: x.float(),
    "sparse": lambda x: x.to_sparse(),
    "meta": lambda x: x.to("meta"),
    "none": lambda _: None,
    "number": lambda _: 1.0,
}


@pytest.mark.parametrize("name", UNLIKE)
def test_other_tensors_are_not_known(name: str) -> None:
    met = direct.Direct(lambda *_: ())
    assert not met.knows(X, Y)
    met.meet(X, Y)
    assert met.knows(2 * X, X - Y)
    assert not met.knows(UNLIKE[name](X), Y)
    assert not met.knows(X, UNLIKE[name](Y))
    assert not met.knows(X, X)


@pytest.mark.parametrize("name", ["strides", "every other", "negative", "expanded"])
def test_what_has_to_be_copied_is_never_known(name: str) -> None:
    met = direct.Direct(lambda *_: ())
    met.meet(UNLIKE[name](X), Y)
    assert not met.knows(UNLIKE[name](X), Y)


def test_where_others_come_all_the_time_none_are_met() -> None:
    met = direct.Direct(lambda *_: ())
    for _ in range(100):
        met.meet(X.T, Y)
    met.meet(X, Y)
    assert not met.knows(X, Y)


@BACKENDS
@pytest.mark.parametrize("name", ["strides", "every other", "negative", "inference", "expanded"])
def test_results_are_those_of_tensors_that_were_not_known(name: str, backend: Any) -> None:
    g = dif.prepare_value_and_gradient(product, X, dif.Const(Y), backend=backend)
    for x in (X, UNLIKE[name](X), X + 1, UNLIKE[name](Y)):
        for y in (Y, UNLIKE[name](Y), Y):
            value, gradient = g(x, y)
            expected = (x.double() ** 3 * y).sum(), 3 * x**2 * y
            np.testing.assert_allclose(value.numpy(), expected[0].numpy(), rtol=1e-14)
            np.testing.assert_allclose(gradient.numpy(), expected[1].numpy(), rtol=1e-14)


@BACKENDS
def test_other_arrays_in_the_places_of_known_ones(backend: Any) -> None:
    g = dif.prepare_gradient(product, X, dif.Const(Y), backend=backend)
    g(X, Y)
    for name in ("shape", "dtype", "numpy"):
        with pytest.raises(dif.PreparationMismatchError):
            g(UNLIKE[name](X), Y)
    torch.testing.assert_close(g(X, X), 3 * X**3)
    torch.testing.assert_close(g(X, Y), 3 * X**2 * Y)
    x = X.clone().requires_grad_()
    (found,) = torch.autograd.grad(g(x, Y).sum(), x)
    torch.testing.assert_close(found, 6 * X * Y)


@BACKENDS
def test_who_watches_sees_known_tensors_too(backend: Any) -> None:
    g = dif.prepare_gradient(product, X, dif.Const(Y), backend=backend)
    g(X, Y), g(X, Y)
    with Watching() as watching:
        torch.testing.assert_close(g(X, Y), 3 * X**2 * Y)
    assert watching.called
    with fake_tensor.FakeTensorMode(allow_non_fake_inputs=True):
        assert isinstance(g(X, Y), fake_tensor.FakeTensor)
    seen = []
    torch.vmap(lambda x: (seen.append(g(X, Y)), x)[1])(X)
    torch.func.grad(lambda x: (seen.append(g(X, Y)), x.sum())[1])(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(lambda x, y: 1 * g(x, y), (X, Y))
    seen.append(traced(X, Y))
    torch.testing.assert_close(traced(2 * X, Y), 12 * X**2 * Y)
    for each in seen:
        torch.testing.assert_close(each, 3 * X**2 * Y)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(X, torch.ones_like(X))
        tangent = torch.autograd.forward_ad.unpack_dual(g(dual, Y)).tangent
    torch.testing.assert_close(tangent, 6 * X * Y)


@BACKENDS
def test_autocast_of_known_tensors(backend: Any) -> None:
    f = lambda x, w: (x @ w).square().sum()
    x, w = torch.linspace(-1, 1, 12).reshape(3, 4), torch.linspace(0.1, 2, 8).reshape(4, 2)
    g = dif.prepare_gradient(f, x, dif.Const(w), backend=backend)
    for scope in (nullcontext, lambda: torch.autocast("cpu", torch.bfloat16), nullcontext):
        for _ in range(2):
            with scope():
                torch.testing.assert_close(
                    g(x, w), dif.gradient(f, x, dif.Const(w), backend="torch")
                )


@BACKENDS
def test_parameters_with_and_without_grad_mode(backend: Any) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2).double()
    f = lambda model, x: model(x).square().sum()
    g = dif.prepare_gradient(f, model, dif.Const(X), backend=backend)
    for scope in (torch.no_grad, torch.enable_grad, torch.no_grad, torch.inference_mode):
        for _ in range(2):
            with torch.no_grad():
                model.weight.mul_(1.5)
                expected = 2 * model(X).T @ X
            with scope():
                found = g(model, X)["weight"]
            torch.testing.assert_close(found.detach(), expected)
            assert found.requires_grad == (scope is torch.enable_grad)
    with torch.no_grad():
        model.weight.data = torch.ones(3, 2, dtype=F64).T
        torch.testing.assert_close(g(model, X)["weight"], 2 * model(X).T @ X)


def parts(x: Any) -> Any:
    inner = x[:, 1:] - x[:, :-1] ** 2
    return (inner**2).sum() + (x[::2] * x[3]).sum() + (x[-2] ** 3).sum() + x[1, 2] ** 2


SQUARE = torch.linspace(-2, 2, 36, dtype=F64).reshape(6, 6)
WHEREVER: dict[str, Callable[[Any], Any]] = {
    "alone": lambda x: x,
    "after others": lambda x: torch.cat([x.new_ones(7), x.reshape(-1)])[7:].reshape(6, 6),
    "columns": lambda x: x.T.contiguous().T,
    "negative": negative,
    "expanded": lambda x: x[:1].expand(6, 6),
    "inference": in_inference,
}


@pytest.mark.parametrize("name", WHEREVER)
def test_parts_of_tensors_wherever_they_lie(name: str) -> None:
    x = WHEREVER[name](SQUARE)
    expected = torch.func.grad(parts)(x.clone())
    for example in (SQUARE, x):
        g = dif.prepare_gradient(parts, example, backend="torch")
        assert "view" in g.native.source
        out = torch.full_like(SQUARE, torch.nan)
        for each in (x, SQUARE, x, x):
            found = g(each)
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(g(x, out=out), expected, rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(g.native.run(x)[0], expected, rtol=1e-14, atol=1e-14)


def test_programs_do_not_read_beyond_smaller_tensors() -> None:
    run: Any = dif.prepare_gradient(parts, SQUARE, backend="torch").native
    for x in (SQUARE[:, :5], SQUARE[:5], SQUARE[0], SQUARE[:0]):
        with pytest.raises((RuntimeError, IndexError)):
            run(x)


def test_places_of_parts_are_those_of_torch() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        shape = tuple(rng.integers(0, 5, rng.integers(1, 4)).tolist())
        x, dim = torch.zeros(shape), int(rng.integers(-len(shape), len(shape)))
        begin, end = rng.integers(-6, 7, 2).tolist()
        part, where = x, (dim, begin, [end, None, 2**63 - 1][rng.integers(3)], rng.integers(1, 3))
        if shape[dim] and rng.integers(2):
            where = dim, int(rng.integers(-shape[dim], shape[dim]))
            part = x.select(*where)
        else:
            where = (*where[:3], int(where[3]))
            part = torch.ops.aten.slice.Tensor(x, *where)
        found = places.place(shape, where)
        assert found[0] == tuple(part.shape)
        if part.numel():
            assert found == (tuple(part.shape), part.stride(), part.storage_offset())
