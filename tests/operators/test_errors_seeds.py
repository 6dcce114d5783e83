"""Tangents and cotangents that do not fit, and functions that are none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, Counted, double, square_sum

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
V = np.ones(3)
SCALAR_OPERATORS = (
    "gradient", "value_and_gradient", "hessian", "value_gradient_and_hessian", "hvp",
    "gradient_and_hvp",
)  # fmt: skip

SHAPE = "`tangents` must have the shape of the active argument, "
LIKE = "`tangents` must be an array like the active argument, float64[3], got "
DTYPE = "`tangents` must have the dtype of the active argument, float64, got "

TANGENTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "None": (None, {}, f"{LIKE}None."),
    "list": ([1.0, 1.0, 1.0], {}, f"{LIKE}a list of 3."),
    "tuple": ((V,), {}, f"{LIKE}a tuple of 1."),
    "string": ("v", {}, f"{LIKE}str."),
    "short": (V[:2], {}, f"{SHAPE}(3,), got (2,)."),
    "number": (1.0, {}, f"{SHAPE}(3,), got ()."),
    "column": (V[:, None], {}, f"{SHAPE}(3,), got (3, 1)."),
    "complex": (1j * V, {}, f"{DTYPE}complex128; convert it with astype."),
    "longdouble": (V.astype("g"), {}, f"{DTYPE}{np.dtype('g').name}; convert it with astype."),
    "object": (V.astype(object), {}, f"{DTYPE}object; convert it with astype."),
    "no batch": (V, {"batched": True}, f"{SHAPE}(batch, 3), got (3,)."),
    "number as batch": (1.0, {"batched": True}, f"{SHAPE}(batch, 3), got ()."),
    "batch of short": (np.ones((2, 2)), {"batched": True}, f"{SHAPE}(batch, 3), got (2, 2)."),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("operator", ["pushforward", "hvp"])
@pytest.mark.parametrize("name", TANGENTS)
def test_tangents_that_do_not_fit(name: str, operator: str, prepared: bool, backend: str) -> None:
    given, options, message = TANGENTS[name]
    f = Counted(square_sum)
    call: Callable[..., Any]
    if prepared:
        if given is None:
            message = f"{operator} needs `tangents`."
        call, options = getattr(dif, f"prepare_{operator}")(f, X, backend=backend, **options), {}
    else:
        call = _eager(getattr(dif, operator), f, backend)
    f.count = 0
    with pytest.raises(dif.InvalidArgumentError) as caught:
        call(X, tangents=given, **options)
    assert str(caught.value) == message
    assert f.count == 0


def _eager(operator: Callable[..., Any], f: Callable[..., Any], backend: str) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        return operator(f, *args, backend=backend, **options)

    return call


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("name", TANGENTS)
def test_cotangents_that_do_not_fit(name: str, prepared: bool, backend: str) -> None:
    given, options, message = TANGENTS[name]
    message = message.replace("tangents", "cotangents").replace(
        "the active argument", "the result of `f`"
    )
    call: Callable[..., Any]
    if prepared:
        if given is None:
            message = "pullback needs `cotangents`."
        call, options = dif.prepare_pullback(double, X, backend=backend, **options), {}
    else:
        call = _eager(dif.pullback, double, backend)
    with pytest.raises(dif.InvalidArgumentError) as caught:
        call(X, cotangents=given, **options)
    assert str(caught.value) == message


def two(x: Any, y: Any) -> Any:
    return {"a": x * y, "b": y}


TREES: dict[str, tuple[str, dict[str, Any], str]] = {
    "bare tangents for two": (
        "pushforward", {"tangents": V},
        "`tangents` must be a tuple with one entry for each of the 2 active arguments, got "
        "ndarray."),
    "one tangent for two": (
        "pushforward", {"tangents": (V,)},
        "`tangents` must be a tuple with one entry for each of the 2 active arguments, got a "
        "tuple of 1."),
    "second tangent": (
        "pushforward", {"tangents": (V, V[1:])},
        "`tangents[1]` must have the shape of the active argument, (3,), got (2,)."),
    "unequal batches": (
        "pushforward", {"tangents": (np.ones((1, 3)), np.ones((2, 3))), "batched": True},
        "`tangents` must have the same batch size in every leaf, got [1, 2]."),
    "missing key": (
        "pullback", {"cotangents": {"a": V}},
        "`cotangents` must have the structure of the result of `f`, {'a': *, 'b': *}, got "
        "{'a': *}."),
    "list for dict": (
        "pullback", {"cotangents": [V, V]},
        "`cotangents` must have the structure of the result of `f`, {'a': *, 'b': *}, got "
        "[*, *]."),
    "None leaf": (
        "pullback", {"cotangents": {"a": V, "b": None}},
        "`cotangents` must have the structure of the result of `f`, {'a': *, 'b': *}, got "
        "{'a': *, 'b': None}."),
    "leaf shape": (
        "pullback", {"cotangents": {"a": V, "b": V[:0]}},
        "`cotangents['b']` must have the shape of the result of `f`, (3,), got (0,)."),
    "leaf dtype": (
        "pullback", {"cotangents": {"a": V, "b": V * 1j}},
        "`cotangents['b']` must have the dtype of the result of `f`, float64, got complex128; "
        "convert it with astype."),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TREES)
def test_seeds_of_trees(name: str, backend: str) -> None:
    operator, options, message = TREES[name]
    with pytest.raises(dif.InvalidArgumentError) as caught:
        getattr(dif, operator)(two, X, X, backend=backend, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("operator", SCALAR_OPERATORS)
@pytest.mark.parametrize("f", [3, None, X, "f"], ids=["int", "None", "array", "string"])
@pytest.mark.parametrize("prefix", ["", "prepare_"])
def test_f_must_be_callable(prefix: str, f: Any, operator: str) -> None:
    options = {"tangents": V} if "hvp" in operator and not prefix else {}
    with pytest.raises(dif.NotDifferentiableError) as caught:
        getattr(dif, prefix + operator)(f, X, backend="numpy", **options)
    assert str(caught.value) == (
        f"`f` must be callable, got {type(f).__name__}; the function comes first, then its "
        "arguments."
    )


def test_tangents_are_a_required_keyword() -> None:
    with pytest.raises(TypeError, match="required keyword-only argument: 'tangents'"):
        dif.pushforward(double, X)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="required keyword-only argument: 'cotangents'"):
        dif.pullback(double, X)  # type: ignore[call-arg]
