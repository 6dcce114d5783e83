"""Derivatives at many points at once; the shared suite compares them with the answers of each."""

import pickle
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, EVERYWHERE, FIRST, PREPARED, SECOND, make, quartic, same, weighted

import diffface as dif
from diffface.backends.numpy_arrays import NUMPY
from diffface.backends.registry import resolve
from diffface.testing.case import Case, known_limits
from diffface.testing.closed_form.scenario import scenarios
from diffface.testing.point import shape_class, supported
from diffface.testing.suite import run_many

RNG = np.random.default_rng(0)
X, A = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))


def call(operator: str, prepared: bool, f: Any, *args: Any, backend: Any, **options: Any) -> Any:
    """The operator, once or prepared with these arguments."""
    late = {k: options.pop(k) for k in ("tangents", "cotangents", "out") if k in options}
    if not prepared:
        return getattr(dif, operator)(f, *args, backend=backend, **options, **late)
    g = getattr(dif, f"prepare_{operator}")(f, *args, backend=backend, **options)
    return g(*args, **late)


def rest() -> Any:
    """What the shared suite leaves out: one scenario of each shape that is not asked there."""
    first = {shape_class(scenario): scenario for scenario in reversed(scenarios())}
    return [
        pytest.param(
            backend, scenario, operator,
            marks=[
                pytest.mark.xfail(strict=True, raises=limit.raises, reason=limit.reason)
                for limit in known_limits(backend)
                if limit.covers(scenario.name, operator)
            ],
        )
        for backend in BACKENDS
        for scenario in first.values()
        if not scenario.core
        for operator in supported(scenario)
    ]  # fmt: skip


# torch 2.13 says of its own vmap that it is slow for conj; the numbers are right.
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(("backend", "scenario", "operator"), rest())
def test_every_shape(backend: str, scenario: Any, operator: str) -> None:
    own = resolve(backend).first_order().arrays
    run_many(Case(scenario, operator, "prepared", own, many=True), backend)
    run_many(Case(scenario, operator, "unprepared", NUMPY, many=True), backend)


# Axes


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize(
    ("x", "a", "in_axes"),
    [
        (X, A, 0), (X.T, A, (1, 0)), (X.T, A.T, -1), (X, A, [0, 0]), (X.T, A, (np.int64(1), -2)),
    ],
)  # fmt: skip
def test_axes(x: Any, a: Any, in_axes: Any, prepared: bool, backend: str) -> None:
    g = call("gradient", prepared, weighted, x, dif.Const(a), backend=backend, in_axes=in_axes)
    same(g, 3 * A * X**2, FIRST[backend])
    assert g.flags.c_contiguous
    assert g.flags.writeable


@EVERYWHERE
@PREPARED
def test_shared_parameters(prepared: bool, backend: str) -> None:
    """The gradient for each of many samples."""
    g = call("value_and_gradient", prepared, weighted, X[0], dif.Const(A), backend=backend,
             in_axes=(None, 0))  # fmt: skip
    same(g, (np.sum(A * X[0] ** 3, axis=1), 3 * A * X[0] ** 2), FIRST[backend])
    both = call("gradient", prepared, weighted, X[0], A, backend=backend, in_axes=(None, 0))
    same(both, (3 * A * X[0] ** 2, np.tile(X[0] ** 3, (5, 1))), FIRST[backend])
    second = call("gradient", prepared, weighted, X, A[0], backend=backend, argnums=1,
                  in_axes=(0, None))  # fmt: skip
    same(second, X**3, FIRST[backend])


def affine(p: Any, data: Any, *, k: float) -> Any:
    xp = dif.namespace(p["w"])
    return xp.sum(p["w"] * data["x"]) * k + p["b"] * p["n"] + data["t"]


@EVERYWHERE
@PREPARED
def test_a_prefix_of_trees(prepared: bool, backend: str) -> None:
    p = {"w": X, "b": 2.0, "n": dif.Const(np.arange(5.0)), "s": dif.Const("static")}
    data = {"x": A, "t": np.float64(1.0), "name": "static"}
    axes = ({"w": 0, "b": None, "n": 0, "s": None}, {"x": 0, "t": None, "name": None})
    g = call("gradient", prepared, affine, p, dif.Const(data), backend=backend, in_axes=axes,
             kwargs={"k": 3.0})  # fmt: skip
    same(g, {"w": 3 * A, "b": np.arange(5.0), "n": None, "s": None}, FIRST[backend], 1e-7)


@pytest.mark.parametrize("kind", ["numpy", "jax", "torch"])
@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_arrays_come_back_as_what_they_were(kind: str, backend: str) -> None:
    x, a = make(kind, X), make(kind, A)
    for prepared in (False, True):
        y, g = call("value_and_gradient", prepared, weighted, x, dif.Const(a), backend=backend,
                    in_axes=0)  # fmt: skip
        assert type(y) is type(g) is type(x)
        same(g, 3 * A * X**2)


# Options


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("chunk_size", [1, 2, 5, 7])
def test_chunks(chunk_size: int, prepared: bool, backend: str) -> None:
    g = call("value_and_gradient", prepared, weighted, X.T, dif.Const(A), backend=backend,
             in_axes=(1, 0), chunk_size=chunk_size)  # fmt: skip
    same(g, (np.sum(A * X**3, axis=1), 3 * A * X**2), FIRST[backend])


@EVERYWHERE
def test_sizes_of_batches(backend: str) -> None:
    """Another number of points is specialised anew, without a word."""
    for g in (
        dif.prepare_hessian(quartic, X, dif.Const(A), backend=backend, in_axes=0),
        dif.prepare_hessian(quartic, backend=backend, in_axes=0),
    ):
        for n in (5, 1, 0, 3, 5):
            want = np.zeros((n, 3, 3))
            want[:, range(3), range(3)] = 12 * A[:n] * X[:n] ** 2 + 2
            same(g(X[:n], dif.Const(A[:n])), want, SECOND[backend])
    with pytest.raises(dif.PreparationMismatchError):
        dif.prepare_gradient(quartic, X, dif.Const(A), backend=backend, in_axes=0)(X[:, :2], A)


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", ["gradient", "jacobian"])
def test_out(operator: str, prepared: bool, backend: str) -> None:
    out = np.full((5, 3), 7.0)
    found = call(operator, prepared, weighted, X, dif.Const(A), backend=backend, in_axes=0, out=out)
    assert found is out
    same(out, 3 * A * X**2, FIRST[backend])
    with pytest.raises(dif.InvalidArgumentError, match=r"shape \(5, 3\)"):
        call(operator, prepared, weighted, X, dif.Const(A), backend=backend, in_axes=0, out=X[0])


@EVERYWHERE
@PREPARED
def test_seeds_for_each_point_and_batches_of_them(prepared: bool, backend: str) -> None:
    v = RNG.normal(size=(5, 4, 3))
    one = call("hvp", prepared, quartic, X, dif.Const(A), backend=backend, in_axes=0,
               tangents=v[:, 0])  # fmt: skip
    many = call("hvp", prepared, quartic, X, dif.Const(A), backend=backend, in_axes=0,
                batched=True, tangents=v)  # fmt: skip
    want = (12 * A * X**2 + 2)[:, None] * v
    same(one, want[:, 0], SECOND[backend])
    same(many, want, SECOND[backend])
    dy = RNG.normal(size=(5, 3))
    pulled = call("pullback", prepared, lambda x, a: a * x**2, X, dif.Const(A), backend=backend,
                  in_axes=0, cotangents=dy)  # fmt: skip
    same(pulled, 2 * A * X * dy, FIRST[backend])


@EVERYWHERE
@PREPARED
def test_a_number_for_each_point(prepared: bool, backend: str) -> None:
    t = np.linspace(0.0, 1.0, 4)
    f = lambda t: t * t * t
    found = call("value_derivative_and_second_derivative", prepared, f, t, backend=backend,
                 in_axes=0)  # fmt: skip
    same(found, (t**3, 3 * t**2, 6 * t), SECOND[backend], 1e-6)


# Functions that cannot be batched


def branching(x: Any, a: Any) -> Any:
    xp = dif.namespace(x)
    return xp.sum(a * x**3) if x[0] > 0 else xp.sum(a * x**2)


@EVERYWHERE
@PREPARED
@pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")
def test_a_decision_on_values_is_taken_at_each_point(prepared: bool, backend: str) -> None:
    g = call("gradient", prepared, branching, X, dif.Const(A), backend=backend, in_axes=0)
    same(g, np.where(X[:, :1] > 0, 3 * A * X**2, 2 * A * X), FIRST[backend])


@EVERYWHERE
@PREPARED
def test_aux(prepared: bool, backend: str) -> None:
    f = lambda x, a: (weighted(x, a), {"twice": 2 * x, "n": 3, "name": "n"})
    _, aux = call("gradient", prepared, f, X, dif.Const(A), backend=backend, in_axes=0,
                  has_aux=True)  # fmt: skip
    same(aux, {"twice": 2 * X, "n": np.full(5, 3), "name": "n"})


@pytest.mark.parametrize("backend", ["numpy", "complex-step"])
@PREPARED
def test_aux_of_black_boxes(prepared: bool, backend: str) -> None:
    """Python numbers differ from point to point; what else differs cannot be stacked."""
    x = np.array([[1.0], [2.0]])
    f = lambda x: (np.sum(x), {"first": float(np.real(x[0])), "n": x.size})
    _, aux = call("gradient", prepared, f, x, backend=backend, in_axes=0, has_aux=True)
    same(aux, {"first": np.array([1.0, 2.0]), "n": np.array([1, 1])}, 1e-15)
    named = lambda x: (np.sum(x), "small" if np.real(x[0]) < 1.5 else "large")
    with pytest.raises(dif.NotDifferentiableError) as caught:
        call("gradient", prepared, named, x, backend=backend, in_axes=0, has_aux=True)
    assert str(caught.value) == (
        "`f` returns aux with something else than arrays that differs from point to point "
        "(static 'small' and static 'large'); make it an array, or leave it out."
    )


def test_results_of_several_shapes() -> None:
    with pytest.raises(dif.NotDifferentiableError) as caught:
        dif.jacobian(lambda x: x[x > 0], np.array([[1.0, 2.0], [1.0, -1.0]]), in_axes=0)
    assert str(caught.value) == (
        "`f` returns results of different shapes at different points: (1, 2) and (2, 2)."
    )


def solved(a: Any) -> Any:
    xp = dif.namespace(a)
    return xp.sum(xp.linalg.solve(a, a[0]) ** 2) * xp.linalg.det(a)


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["hessian", "jacobian"])
@PREPARED
def test_forward_rules_of_torch_that_are_wrong_in_batches_of_batches(
    operator: str, prepared: bool
) -> None:
    a = RNG.normal(size=(4, 3, 3)) + 3 * np.eye(3)
    found = call(operator, prepared, solved, a, backend="torch", in_axes=0)
    want = np.stack([getattr(dif, operator)(solved, each, backend="jax") for each in a])
    same(found, want, 1e-9)


# Elsewhere


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
@PREPARED
def test_inside_another_derivative(prepared: bool, backend: str) -> None:
    """The gradient of the sum of squared gradients, by the parameters that all points share."""
    inner = dif.prepare_gradient(weighted, backend=backend, in_axes=(None, 0))

    def outer(w: Any) -> Any:
        xp = dif.namespace(w)
        a = dif.Const(make(backend, A) if backend != "autograd" else A)
        if prepared:
            g = inner(w, a)
        else:
            g = dif.gradient(weighted, w, a, backend=backend, in_axes=(None, 0))
        return xp.sum(g**2)

    found = call("gradient", prepared, outer, X[0], backend=backend)
    same(found, np.sum(36 * A**2 * X[0] ** 3, axis=0), 1e-10)


def test_under_the_frameworks_own_transformations() -> None:
    import jax
    import torch

    g = dif.prepare_gradient(weighted, backend="jax", in_axes=0)
    with jax.enable_x64(True):
        x, a = jax.numpy.asarray(X), jax.numpy.asarray(A)
        same(jax.jit(lambda x: g(x, dif.Const(a)))(x), 3 * A * X**2)
        same(jax.grad(lambda x: g(x, dif.Const(a)).sum())(x), 6 * A * X)
    h = dif.prepare_gradient(weighted, backend="torch", in_axes=0)
    x = torch.tensor(X, requires_grad=True)
    h(x, dif.Const(torch.tensor(A))).sum().backward()
    same(x.grad, 6 * A * X)


def test_it_travels() -> None:
    g = dif.prepare_gradient(weighted, X, dif.Const(A), backend="autograd", in_axes=0)
    same(pickle.loads(pickle.dumps(g))(X, A), 3 * A * X**2)


# Errors, the same on every backend

DATA = {"x": A, "y": A[:4]}
MESSAGES = [
    (
        (X, dif.Const(A[:4])), 0,
        "`in_axes` goes along axes of different lengths: `x` has 5, `a` has 4.",
    ),
    (
        (X[0], dif.Const(DATA)), (None, 0),
        "`in_axes` goes along axes of different lengths: `a['x']` has 5, `a['y']` has 4.",
    ),
    (
        (X, dif.Const(A)), (None, None),
        "`in_axes` has no axis to go along: no array has one. Say which arguments differ from "
        "point to point, as in in_axes=0 or in_axes=(None, 0), or leave it out.",
    ),
    (
        (X, dif.Const(A)), (0, 2),
        "`a` has no axis 2 to go along: its shape is (5, 3). Say None in `in_axes` for what all "
        "points share.",
    ),
    (
        (X, dif.Const(2.0)), 0,
        "`a` has no axis 0 to go along: its shape is (). Say None in `in_axes` for what all "
        "points share.",
    ),
    (
        (X, dif.Const(2)), 0,
        "`a` has no axis 0 to go along: its shape is (). Say None in `in_axes` for what all "
        "points share.",
    ),
    ((X, dif.Const(A)), (0,), "`in_axes` must have one entry for each of 2 arguments, got (0,)."),
    (
        (X, dif.Const(A)), {"x": 0},
        "`in_axes` must be an int, None, or a tuple with one entry for each argument, got "
        "{'x': 0}.",
    ),
    ((X, dif.Const(A)), (0, "0"), "`in_axes` of `a` must be an int or None, got '0'."),
    ((X, dif.Const(A)), (0, True), "`in_axes` of `a` must be an int or None, got True."),
    (
        (X, dif.Const(DATA)), (0, {"x": 0}),
        "`in_axes` of `a` must be an int, None, or these for {'x': *, 'y': *}, got {'x': 0}.",
    ),
]  # fmt: skip


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize(("args", "in_axes", "message"), MESSAGES)
def test_axes_that_do_not_fit(
    args: Any, in_axes: Any, message: str, prepared: bool, backend: str
) -> None:
    with pytest.raises(dif.InvalidArgumentError) as caught:
        call("gradient", prepared, weighted, *args, backend=backend, in_axes=in_axes)
    assert str(caught.value) == message


@PREPARED
def test_seeds_that_do_not_fit(prepared: bool) -> None:
    f = lambda x, a: a * x**2
    for operator, name, like in (
        ("pushforward", "tangents", "the active argument"),
        ("pullback", "cotangents", "the result of `f`"),
    ):
        for given, message in (
            (X[0], f"`{name}` must have the shape of {like}, (points, 3), got (3,)."),
            (X[:4], f"`{name}` must have one entry for each of the 5 points, got 4."),
        ):
            with pytest.raises(dif.InvalidArgumentError) as caught:
                call(operator, prepared, f, X, dif.Const(A), backend="autograd", in_axes=0,
                     **{name: given})  # fmt: skip
            assert str(caught.value) == message


def test_options_that_need_it_or_exclude_it() -> None:
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.gradient(weighted, X, dif.Const(A), chunk_size=2)
    assert str(caught.value) == "`chunk_size` is for many points; pass `in_axes`, too."
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.jacobian(weighted, X, dif.Const(A), in_axes=0, sparsity="trace")
    assert str(caught.value) == (
        "`in_axes` is not for sparse matrices; leave `sparsity` out, or call once a point."
    )
