"""Calls that differ from what was prepared: the whole report."""

import functools
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, EVERYWHERE, FIRST, cube_sum, make, same, weighted

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
PREPARE_ANEW = "\nPrepare anew for these, or with on_mismatch='reprepare'."
DIFFER = "The arguments differ from those it was prepared with:\n"


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
        (2.0, 2.0, TREE),
        mismatch("`x`: prepared with numpy float64[3], called with Python float")),
    "structure": (
        ({"x": X}, 2.0, TREE),
        mismatch("`x`: prepared with numpy float64[3], called with the structure {'x': *}")),
    "constant int": (
        (X, 2, TREE), mismatch("`a`: prepared with Python float, called with static 2")),
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_number_of_numpy_is_a_python_number(backend: str) -> None:
    """SciPy's solvers of one equation call with these, whatever they were started with."""
    g = dif.prepare_derivative(lambda t: t**3, 1.0, backend=backend)
    found = g(np.float64(2.0))
    assert type(found) is float
    same(found, 12.0, 10 * FIRST[backend])
    with pytest.raises(dif.PreparationMismatchError, match="numpy scalar float32"):
        g(np.float32(2.0))


@pytest.mark.parametrize("examples", [(X,), ()])
def test_keywords_of_the_function_itself(examples: tuple[Any, ...]) -> None:
    g = dif.prepare_gradient(lambda x, a=1.0: a * (x**2).sum(), *examples, backend="autograd")
    message = r"^gradient\(\) got an unexpected keyword argument 'a'$"
    with pytest.raises(TypeError, match=message):
        g(X, a=2.0)
    g(X)
    with pytest.raises(TypeError, match=message):
        g(X, a=2.0)
