"""Prepared callables: their signature, what differs from it, laziness, and how they show."""

import copy
import functools
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, FIRST, OPERATORS, Counted, cube_sum, expected, make, run, same

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)
STRATEGY = {
    "jax": "xla", "torch": "replay", "autograd": "program", "numpy": "stencil",
    "complex-step": "stencil",
}  # fmt: skip
PREPARE_ANEW = "\nPrepare anew for these, or with on_mismatch='reprepare'."
DIFFER = "The arguments differ from those it was prepared with:\n"


def weighted(x: Any, a: Any, tree: Any = None, *, k: Any = 1.0) -> Any:
    """Gradient ``3 a k x²``."""
    return dif.namespace(x).sum(a * x**3) * k


# Prepared at one point, called at others


@EVERYWHERE
@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_at_other_values(operator: str, backend: str) -> None:
    number = "derivative" in operator
    first, others = (0.5, (2.0, -1.5)) if number else (X, (X[::-1] + 1, -X))
    prepare = getattr(dif, f"prepare_{operator}")
    f = (lambda x: x * x * x) if expected_of_array(operator) else cube_sum
    prepared = prepare(f, np.asarray(first), backend=backend)
    assert prepared.strategy == STRATEGY[backend]
    for values in others:
        x = np.asarray(values)
        seeds: dict[str, Any] = {}
        if operator.endswith(("hvp", "pushforward")):
            seeds["tangents"] = x
        elif operator.endswith("pullback"):
            seeds["cotangents"] = x
        parts = prepared(x, **seeds)
        parts = parts if "and" in operator else (parts,)
        for part, right in zip(parts, expected(operator, values), strict=True):
            same(part, right, 1e-5)


def expected_of_array(operator: str) -> bool:
    return not any(word in operator for word in ("gradient", "hessian", "hvp"))


@EVERYWHERE
def test_const_may_be_given_bare_or_wrapped(backend: str) -> None:
    g = dif.prepare_gradient(weighted, X, dif.Const(2.0), backend=backend)
    same(g(X, 5.0), 15 * X**2, FIRST[backend])
    same(g(X, dif.Const(5.0)), 15 * X**2, FIRST[backend])
    same(g(X, 2.0), 6 * X**2, FIRST[backend])


# Mismatches


def mismatch(*lines: str) -> str:
    return DIFFER + "\n".join(f"  {line}" for line in lines) + PREPARE_ANEW


TREE = {"n": 3, "name": "s", "w": np.ones(2)}

MISMATCHES: dict[str, tuple[tuple[Any, ...], str]] = {
    "dtype": (
        (X.astype("f4"), 2.0, TREE),
        mismatch("`x`: prepared with numpy float64[3], called with numpy float32[3]")),
    "shape": (
        (X[1:], 2.0, TREE),
        mismatch("`x`: prepared with numpy float64[3], called with numpy float64[2]")),
    "dimensions": (
        (X[:, None], 2.0, TREE),
        mismatch("`x`: prepared with numpy float64[3], called with numpy float64[3, 1]")),
    "torch": (
        (make("torch", X), 2.0, TREE),
        mismatch("`x`: prepared with numpy float64[3], called with torch float64[3] on cpu")),
    "number": (
        (2.0, 2.0, TREE), mismatch("`x`: prepared with numpy float64[3], called with Python float")),
    "structure": (
        ({"x": X}, 2.0, TREE),
        mismatch("`x`: prepared with numpy float64[3], called with the structure {'x': *}")),
    "constant int": (
        (X, 2, TREE), mismatch("`a`: prepared with Python float, called with static 2")),
    "constant NumPy number": (
        (X, np.float64(2), TREE),
        mismatch("`a`: prepared with Python float, called with numpy scalar float64[]")),
    "constant array": (
        (X, X, TREE), mismatch("`a`: prepared with Python float, called with numpy float64[3]")),
    "static": (
        (X, 2.0, {**TREE, "n": 4}),
        mismatch("`tree['n']`: prepared with static 3, called with static 4")),
    "static type": (
        (X, 2.0, {**TREE, "n": True}),
        mismatch("`tree['n']`: prepared with static 3, called with static True")),
    "string": (
        (X, 2.0, {**TREE, "name": "t"}),
        mismatch("`tree['name']`: prepared with static 's', called with static 't'")),
    "only what differs": (
        (X[:1], 2, {**TREE, "w": np.ones(3)}),
        mismatch(
            "`x`: prepared with numpy float64[3], called with numpy float64[1]",
            "`a`: prepared with Python float, called with static 2",
            "`tree['w']`: prepared with numpy float64[2], called with numpy float64[3]")),
    "missing key": (
        (X, 2.0, {"n": 3}),
        mismatch(
            "`tree`: prepared with the structure {'n': *, 'name': *, 'w': *}, called with the "
            "structure {'n': *}")),
    "None": (
        (X, 2.0, None),
        mismatch(
            "`tree`: prepared with the structure {'n': *, 'name': *, 'w': *}, called with static "
            "None")),
    "bare string": (
        (X, 2.0, "s"),
        mismatch(
            "`tree`: prepared with the structure {'n': *, 'name': *, 'w': *}, called with static "
            "'s'")),
    "fewer": ((X, 2.0), "Prepared with 3 arguments, called with 2."),
    "more": ((X, 2.0, TREE, 1.0), "Prepared with 3 arguments, called with 4."),
    "none": ((), "Prepared with 3 arguments, called with 0."),
    "Const": (
        (dif.Const(X), 2.0, TREE),
        "Argument 0 is wrapped in Const, but was active at preparation; prepare anew to change "
        "which arguments are constant."),
}  # fmt: skip


@EVERYWHERE
@pytest.mark.parametrize("name", MISMATCHES)
def test_a_call_that_differs(name: str, backend: str) -> None:
    args, message = MISMATCHES[name]
    g = _prepared(backend)
    with pytest.raises(dif.PreparationMismatchError) as caught:
        g(*args)
    assert str(caught.value) == message
    same(g(X, 2.0, TREE), 6 * X**2, FIRST[backend])  # and it still works


@functools.cache
def _prepared(backend: str) -> Any:
    return dif.prepare_gradient(weighted, X, dif.Const(2.0), dif.Const(TREE), backend=backend)


def test_keywords_that_differ() -> None:
    g = dif.prepare_gradient(weighted, X, dif.Const(1.0), backend="numpy", kwargs={"k": 2.0})
    for kwargs, shown in (({}, "none"), ({"k": 1.0, "b": 2.0}, "`b`, `k`")):
        with pytest.raises(dif.PreparationMismatchError) as caught:
            g(X, 1.0, kwargs=kwargs)
        assert str(caught.value) == f"Prepared with the keywords `k`, called with {shown}."
    with pytest.raises(dif.PreparationMismatchError) as caught:
        g(X, 1.0, kwargs={"k": "s"})
    assert str(caught.value) == mismatch("`k`: prepared with Python float, called with static 's'")


def test_integers_are_refused_by_name_before_any_mismatch() -> None:
    """SciPy's trust-constr probes with int8: the message says what to do."""
    g = dif.prepare_gradient(cube_sum, X, backend="numpy")
    with pytest.raises((dif.PreparationMismatchError, dif.NotDifferentiableError)) as caught:
        g(np.arange(3))
    assert "`x`" in str(caught.value)
    assert "int64" in str(caught.value)


def test_seeds_that_the_operator_does_not_take() -> None:
    g = dif.prepare_gradient(cube_sum, X, backend="numpy")
    with pytest.raises(dif.InvalidArgumentError) as caught:
        g(X, tangents=X)
    assert str(caught.value) == "gradient takes no `tangents`."
    h = dif.prepare_value_and_pullback(cube_sum, X, backend="numpy")
    with pytest.raises(dif.InvalidArgumentError) as caught:
        h(X)
    assert str(caught.value) == "value_and_pullback needs `cotangents`."


@EVERYWHERE
def test_reprepare(backend: str) -> None:
    f = Counted(cube_sum)
    g = dif.prepare_gradient(f, X, backend=backend, on_mismatch="reprepare")
    for x in (X, X[:2], X.astype("f4"), np.ones((2, 2)), X[:2], X):
        result = g(x)
        same(result, 3 * x**2, 2e-2 if x.dtype == "f4" else FIRST[backend])
        assert result.dtype == x.dtype
    assert g(2.0) == pytest.approx(12.0)
    same(g(make("torch", X)), 3 * X**2, FIRST[backend])
    with pytest.raises(dif.NotDifferentiableError):
        g(np.arange(3))


# Lazily prepared


@EVERYWHERE
def test_lazy(backend: str) -> None:
    f = Counted(cube_sum)
    g = dif.prepare_gradient(f, backend=backend)
    assert f.count == 0
    assert g.strategy == "lazy"
    assert g.native is None
    assert repr(dif.prepare_gradient(cube_sum)) == "<prepared gradient of cube_sum, lazy>"
    for x in (X, X[:2], np.float64(2.0), 3.0, X + 1):
        same(g(x), 3 * np.asarray(x) ** 2, FIRST[backend])
    assert g.strategy == STRATEGY[backend]


@EVERYWHERE
def test_lazy_with_constants(backend: str) -> None:
    g = dif.prepare_gradient(weighted, backend=backend)
    same(g(X, dif.Const(2.0)), 6 * X**2, FIRST[backend])
    same(g(X, dif.Const(5.0)), 15 * X**2, FIRST[backend])
    both = g(X, 2.0)  # not wrapped: active now
    same(both, (6 * X**2, np.array(np.sum(X**3))), 1e-7)
    same(g(X, dif.Const(3)), 9 * X**2, FIRST[backend])
    same(g(X, dif.Const(2.0)), 6 * X**2, FIRST[backend])
    first = dif.prepare_gradient(weighted, backend=backend, argnums=0)
    same(first(X, 2.0), 6 * X**2, FIRST[backend])
    same(first(X, 7.0), 21 * X**2, FIRST[backend])


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_signatures_kept_are_the_last_used(backend: str) -> None:
    """16 of them; what was used last is dropped last."""
    f = Counted(cube_sum)
    g = dif.prepare_gradient(f, backend=backend)

    def fresh(n: int) -> bool:
        """Whether the call with n entries had to prepare."""
        before = f.count
        same(g(np.ones(n)), 3 * np.ones(n))
        return f.count > before

    assert all(fresh(n) for n in range(1, 17))
    assert not any(fresh(n) for n in range(16, 0, -1))  # all kept; 1 was used last
    assert fresh(17)  # drops 16, the one used longest ago
    assert not fresh(1)
    assert not fresh(15)
    assert fresh(16)
    for n in range(20, 60):
        g(np.ones(n))
    assert fresh(1)


@EVERYWHERE
@pytest.mark.parametrize("lazy", [True, False])
def test_batches_of_different_sizes(lazy: bool, backend: str) -> None:
    p = dif.prepare_hvp(cube_sum, *(() if lazy else (X,)), backend=backend, batched=True)
    for size in (3, 1, 2, 3, 0):
        v = np.arange(3.0 * size).reshape(size, 3)
        same(p(X, tangents=v), 6 * X * v, 1e-5)


# What it looks like


@dataclass
class Callable:
    scale: float

    def __call__(self, x: Any) -> Any:
        return cube_sum(x["a"]) * self.scale * x["b"]


@EVERYWHERE
def test_repr(backend: str) -> None:
    name = {
        "jax": "JAX()", "torch": "Torch(compile=False)", "autograd": "Autograd()",
        "complex-step": "ComplexStep()",
        "numpy": "FiniteDifferences(scheme='central', step=None, vectorized=False)",
    }[backend]  # fmt: skip
    g = dif.prepare_gradient(weighted, X, dif.Const(2.0), backend=backend)
    assert repr(g) == (
        f"<prepared gradient of weighted by {name}, strategy {STRATEGY[backend]!r}, for "
        "(numpy float64[3], Const Python float)>"
    )
    h = dif.prepare_value_and_jacobian(Callable(2.0), {"a": X, "b": 1.0}, backend=backend)
    assert repr(h) == (
        f"<prepared value_and_jacobian of Callable(scale=2.0) by {name}, strategy "
        f"{STRATEGY[backend]!r}, for (numpy float64[3] Python float)>"
    )


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_native(backend: str) -> None:
    """The framework's own callable, on flat arrays of the framework."""
    g = dif.prepare_gradient(cube_sum, X, backend=backend)
    assert callable(g.native)
    if backend == "autograd":
        assert "def " in g.native.source
        same(g.native(X)[0], 3 * X**2)
    elif backend == "torch":
        same(g.native(make("torch", X))[0], 3 * X**2)
    else:
        import jax

        with jax.enable_x64(True):
            same(g.native(make("jax", X))[0], 3 * X**2)


@EVERYWHERE
def test_copying_and_pickling(backend: str) -> None:
    g = dif.prepare_gradient(cube_sum, X, backend=backend)
    for other in (copy.copy(g), copy.deepcopy(g)):
        same(other(X), 3 * X**2, FIRST[backend])
    with pytest.raises(TypeError) as caught:
        pickle.dumps(g)
    assert str(caught.value) == (
        "A prepared callable cannot be pickled: it holds compiled code; pickle the function and "
        "prepare anew."
    )


@EVERYWHERE
@pytest.mark.parametrize("has_aux", [False, True])
def test_options_are_kept(has_aux: bool, backend: str) -> None:
    def f(x: Any, a: Any) -> Any:
        y = dif.namespace(x).sum(a * x**3)
        return (y, {"twice": 2 * x, "name": "n"}) if has_aux else y

    g = dif.prepare_value_and_gradient(f, X, X, backend=backend, has_aux=has_aux, argnums=(1, 0))
    y, derivatives, *aux = g(X, 2 * X)
    same((y, derivatives), (np.sum(2 * X**4), (X**3, 6 * X**3)), 1e-7)
    if has_aux:
        same(aux[0], {"twice": 2 * X, "name": "n"})


@EVERYWHERE
@pytest.mark.parametrize("operator", ["gradient", "hessian", "jacobian", "hvp", "pullback"])
@pytest.mark.parametrize("of", ["numpy", "torch"])
def test_out(of: str, operator: str, backend: str) -> None:
    """Overwritten, not accumulated; returned; may be an argument."""
    x = make(of, X)
    (right,) = expected(operator, X)
    out = make(of, np.full(right.shape, 7.0))
    for prepared in (False, True, True):
        (result,) = run(operator, x, backend, prepared, out=out)
        assert result is out
        same(out, right, 1e-5)
    if operator == "gradient":
        for prepared in (False, True):
            x = make(of, X)
            (result,) = run(operator, x, backend, prepared, out=x)
            assert result is x
            same(x, 3 * X**2, 1e-7)
