"""How often ``f`` is evaluated, and how many derivatives are computed: counted, not timed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import Counted, same
from lawful import NAMES, backends, energy, mixing, seed

import diffface as dif
from diffface.backends.registry import resolve
from diffface.testing.case import FIXED_POINT, FUNCTIONS, operator_of
from diffface.testing.point import SEEDS

X = np.array([0.5, -1.0, 2.0])
N = X.size
AD = [name for name in NAMES if resolve(name).first_order().reverse]


# Finite differences and the complex step


@pytest.mark.parametrize(
    ("backend", "gradient", "value_and_gradient"),
    [
        (dif.FiniteDifferences(), 2 * N, 2 * N + 1),
        (dif.FiniteDifferences("forward"), N + 1, N + 1),
        (dif.FiniteDifferences("central4"), 4 * N, 4 * N + 1),
        (dif.FiniteDifferences(vectorized=True), 1, 2),
        ("complex-step", N + 1, N + 2),
    ],
    ids=str,
)
def test_gradient(backend: Any, gradient: int, value_and_gradient: int) -> None:
    """A prepared gradient needs 2n evaluations (central) or n + 1 (forward, and complex step with
    its check), and f(x) only when it is asked for."""
    f = Counted(lambda x: np.sum(x**3, axis=-1))
    for name, wanted in (("gradient", gradient), ("value_and_gradient", value_and_gradient)):
        prepared = getattr(dif, f"prepare_{name}")(f, X, backend=backend)
        f.count = 0
        prepared(X)
        assert f.count == wanted, name


@pytest.mark.parametrize("scheme", ["forward", "central", "central4"])
def test_many_points_of_a_vectorized_function(scheme: str) -> None:
    """All stencils are evaluated in one call, and give what they give alone."""
    f = Counted(lambda x, c: (c * np.sum(x**3, axis=-1), {"sum": np.sum(x, axis=-1), "n": 3}))
    backend = dif.FiniteDifferences(scheme, vectorized=True)
    points, const = np.linspace(0.5, 2.0, 7 * N).reshape(7, N), dif.Const(2.0)
    alone = [dif.value_and_gradient(f, x, const, backend=backend, has_aux=True)[:2] for x in points]
    prepared = dif.prepare_value_and_gradient(
        f, points, const, backend=backend, in_axes=(0, None), has_aux=True
    )
    f.count = 0
    value, gradient, aux = prepared(points, 2.0)
    assert f.count == 2
    np.testing.assert_array_equal(value, [y for y, _ in alone])
    np.testing.assert_array_equal(gradient, [g for _, g in alone])
    np.testing.assert_array_equal(aux["sum"], points.sum(-1))
    np.testing.assert_array_equal(aux["n"], [3] * 7)
    # What goes from point to point besides is given to f one by one.
    found = dif.gradient(
        f, points, dif.Const(np.arange(7.0)), backend=backend, in_axes=0, has_aux=True
    )[0]
    np.testing.assert_allclose(found, np.arange(7)[:, None] * 3 * points**2, rtol=1e-6, atol=1e-8)


def test_a_function_that_takes_no_batch() -> None:
    backend = dif.FiniteDifferences(vectorized=True)
    for options in ({}, {"in_axes": 0}):
        with pytest.raises(dif.NotDifferentiableError, match="must take a batch because of"):
            dif.gradient(
                lambda x: np.sum(x**2), X[None] if options else X, backend=backend, **options
            )


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("gradient", 2 * N),
        ("jacobian", 2 * N),
        ("value_and_jacobian", 2 * N + 1),
        ("pushforward", 2),
        ("value_and_pushforward", 3),
        ("hvp", 4 * 4 * N),
        ("hessian", 4 * N * 4 * N),
    ],
)
def test_unprepared_differences(function: str, wanted: int) -> None:
    f = Counted(lambda x: np.sum(x**3))
    seeds = {"tangents": X} if operator_of(function) in SEEDS else {}
    getattr(dif, function)(f, X, backend="numpy", **seeds)
    assert f.count == wanted


def test_self_check_of_complex_step() -> None:
    """Unprepared, complex step checks itself along two directions."""
    f = Counted(lambda x: np.sum(x**3))
    dif.gradient(f, X, backend="complex-step")
    assert f.count == N + 2


# Automatic differentiation


@pytest.mark.parametrize("backend", AD)
@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name not in FIXED_POINT])
def test_prepared_never_evaluates(backend: str, function: str) -> None:
    """A prepared call runs the program; Python's f is not called again."""
    operator = operator_of(function)
    f = Counted(energy if operator in ("gradient", "hessian", "hvp") else mixing)
    x: Any = 0.5 if operator in ("derivative", "second_derivative") else X
    seeds = {}
    if operator in SEEDS:
        seeds[SEEDS[operator]] = seed(x if SEEDS[operator] == "tangents" else mixing(x), 0.1)
    prepared = getattr(dif, f"prepare_{function}")(f, x, backend=backend)
    assert prepared.strategy != "eager"
    f.count = 0
    for _ in range(3):
        prepared(x, **seeds)
    assert f.count == 0


@pytest.mark.parametrize("inner", AD)
@pytest.mark.parametrize(
    "function", ["hvp", "gradient_and_hvp", "hessian", "value_gradient_and_hessian"]
)
def test_differences_of_a_compiled_gradient(inner: str, function: str) -> None:
    """Prepared, what one backend differentiates again is compiled by the other."""
    f = Counted(lambda x, a: a * energy(x))
    backend = dif.SecondOrder("numpy", inner)
    prepared = getattr(dif, f"prepare_{function}")(f, X, dif.Const(2.0), backend=backend)
    assert prepared.strategy == "stencil"
    seeds = {"tangents": X} if function.endswith("hvp") else {}
    f.count = 0
    for x, a in ((X, 2.0), (2 * X, -3.0)):
        seeds = dict.fromkeys(seeds, x)
        right = getattr(dif, function)(f, x, dif.Const(a), backend=inner, **seeds)
        f.count = 0
        same(prepared(x, a, **seeds), right, 1e-7, atol=1e-7)
        assert f.count == 0


@pytest.mark.parametrize("inner", AD)
def test_differences_of_a_gradient_that_cannot_be_compiled(inner: str) -> None:
    def branch(x: Any) -> Any:
        return (x**2).sum() if x[0] > 0 else (x**3).sum()

    x = np.array([1.0, -2.0, 3.0])
    with pytest.warns(dif.PreparationWarning):
        h = dif.prepare_hessian(branch, x, backend=dif.SecondOrder("numpy", inner))
    assert h.strategy == "eager"
    same(h(x), 2 * np.eye(3), 1e-7, atol=1e-7)
    same(h(-x), np.diag(-6 * x), 1e-7, atol=1e-7)


@pytest.mark.parametrize("backend", AD)
@pytest.mark.parametrize("function", ["gradient", "value_and_gradient", "value_and_pullback"])
def test_unprepared_evaluates_once(backend: str, function: str) -> None:
    f = Counted(energy)
    seeds = {"cotangents": 1.0} if "pullback" in function else {}
    getattr(dif, function)(f, X, backend=backend, **seeds)
    assert f.count == 1


@pytest.mark.parametrize("backend", AD)
@pytest.mark.parametrize("function", ["linearize", "vjp"])
def test_fixed_point_evaluates_once(backend: str, function: str) -> None:
    f = Counted(mixing)
    _, pushed = getattr(dif, function)(f, X, backend=backend)
    for phase in (0.0, 1.0):
        pushed(seed(X, phase))
    assert f.count == 1


@pytest.mark.parametrize("backend", ["autograd"])
@pytest.mark.parametrize(
    ("rows", "columns", "seeds"), [(20, 3, 3), (3, 20, 3)], ids=["tall", "wide"]
)
def test_automatic_mode(
    backend: str, rows: int, columns: int, seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Jacobian is made of as many derivatives as its shorter side is long."""
    used = {"pushforward": 0, "pullback": 0}
    cls = type(dif.SecondOrder(backend, backend).first_order())
    push, pull = cls.pushforward, cls.pullback

    def pushforward(self: Any, f: Any, x: Any, dx: Any, **options: Any) -> Any:
        used["pushforward"] += 1
        return push(self, f, x, dx, **options)

    def pullback(self: Any, f: Any, x: Any, **options: Any) -> Any:
        y, single, aux = pull(self, f, x, **options)

        def counted(dy: Any) -> Any:
            used["pullback"] += 1
            return single(dy)

        return y, counted, aux

    monkeypatch.setattr(cls, "pushforward", pushforward)
    monkeypatch.setattr(cls, "pullback", pullback)
    a = np.random.default_rng(0).normal(size=(rows, columns))
    result = dif.jacobian(lambda x: a @ x, np.ones(columns), backend=backend)
    np.testing.assert_allclose(result, a, rtol=1e-14)
    forward = rows > columns
    assert used == {"pushforward": seeds * forward, "pullback": seeds * (not forward)}


# Constant arguments


@pytest.mark.parametrize("function", ["gradient", "hessian", "jacobian"])
@pytest.mark.parametrize("size", [1, 50])
def test_constants_cost_no_differences(function: str, size: int) -> None:
    """As many evaluations as without the constant argument, however large that is."""
    counts = []
    for args in ((X,), (X, dif.Const(np.ones(size)))):
        f = Counted(lambda x, c=1.0: np.sum(x**3) * np.sum(c))
        getattr(dif, function)(f, *args, backend="numpy")
        counts.append(f.count)
    assert counts[0] == counts[1]


def autograd_square(count: Callable[[], None]) -> Any:
    """A square that says when its derivative is computed, here and in the two below."""
    from autograd.extend import defjvp, defvjp, primitive

    @primitive
    def square(x: Any) -> Any:
        return x**2

    def rule(g: Any, x: Any) -> Any:
        count()
        return 2 * x * g

    defvjp(square, lambda ans, x: lambda g: rule(g, x))
    defjvp(square, lambda g, ans, x: rule(g, x))
    return square


def torch_square(count: Callable[[], None]) -> Any:
    import torch

    class Square(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Any) -> Any:
            return x**2

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            count()
            return 2 * ctx.saved_tensors[0] * g

        @staticmethod
        def jvp(ctx: Any, g: Any) -> Any:
            count()
            return 2 * ctx.saved_tensors[0] * g

    return Square.apply


def jax_square(count: Callable[[], None]) -> Any:
    import jax

    @jax.custom_jvp
    def square(x: Any) -> Any:
        return x**2

    @square.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        count()
        return primals[0] ** 2, 2 * primals[0] * tangents[0]

    return square


SQUARES = {"autograd": autograd_square, "torch": torch_square, "jax": jax_square}


@pytest.fixture(params=SQUARES)
def counting(request: pytest.FixtureRequest) -> tuple[str, Any, list[int]]:
    """A backend, its square, and where derivatives of that are counted."""
    counts: list[int] = []
    return request.param, SQUARES[request.param](lambda: counts.append(1)), counts


@pytest.mark.parametrize("function", ["gradient", "jacobian", "pushforward"])
@pytest.mark.parametrize("by_argnums", [False, True], ids=["Const", "argnums"])
def test_constants_have_no_derivative(counting: Any, function: str, by_argnums: bool) -> None:
    """The derivative of the constant part is not computed, that of the active part is."""
    backend, square, counts = counting

    def f(x: Any, c: Any) -> Any:
        return x * x * square(c)

    x, c = np.array(0.5), np.array(3.0)
    seeds = {"tangents": np.array(1.0)} if function == "pushforward" else {}
    options = {"backend": backend, **seeds, **({"argnums": 0} if by_argnums else {})}
    constant = c if by_argnums else dif.Const(c)
    assert getattr(dif, function)(f, x, constant, **options) == pytest.approx(9.0)
    assert counts == []
    both = {"tangents": (np.array(1.0), np.array(0.0))} if seeds else {}
    getattr(dif, function)(f, x, c, backend=backend, **both)
    assert counts != []


@pytest.mark.parametrize("backend", backends())
def test_value_is_never_evaluated_twice(backend: str) -> None:
    """``value_and_gradient`` costs at most one evaluation more than ``gradient``."""
    alone, together = Counted(energy), Counted(energy)
    dif.gradient(alone, X, backend=backend)
    dif.value_and_gradient(together, X, backend=backend)
    assert together.count <= alone.count + 1
