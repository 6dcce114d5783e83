"""Wrong calls: the class and the whole message, the same on every backend, before any work."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import BACKENDS, Counted, double, square_sum

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
V = np.ones(3)
READ_ONLY = np.broadcast_to(np.float64(0.0), (3,))
Invalid, NotDifferentiable = dif.InvalidArgumentError, dif.NotDifferentiableError

CONVERT = "convert it with astype(float) or float(), or wrap it in Const if it is constant."


class Series:
    def to_numpy(self) -> Any:
        return np.ones(2)


class Quantity:
    magnitude = 1.0


WRAP = "wrap the argument in Const if it is constant."
WRAP_LEAF = "wrap this leaf in Const if it is constant."
NONE_ACTIVE = "Leave at least one argument outside Const."
NO_LEAVES = "There is nothing to differentiate: the active arguments have no leaves."
COMPLEX = "differentiate with respect to its real and imaginary parts."
ONE_NUMBER = (
    "use `jacobian` or `pushforward` for arrays, and Const for the arguments that are constant."
)
ARGNUMS = "`argnums` must be an integer or a sequence of integers, got "
CHUNK = "`chunk_size` must be a positive integer or None, got "


class Wrong(NamedTuple):
    """A call ``(operator, args, options)`` and what it raises."""

    operator: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    error: type[Exception]
    message: str


def scalar(x: Any, *rest: Any, **named: Any) -> Any:
    return square_sum(x)


def vector(x: Any, *rest: Any, **named: Any) -> Any:
    return double(x)


def one_leaf(p: Any) -> Any:
    return square_sum(p["a"])


CALLS = {
    # Active arguments
    "int array": Wrong(
        "gradient", (np.arange(3),), {}, NotDifferentiable,
        f"`x` must be floating-point, got int64; {CONVERT}"),
    "bool array": Wrong(
        "gradient", (X > 1,), {}, NotDifferentiable,
        f"`x` must be floating-point, got bool; {CONVERT}"),
    "int": Wrong(
        "gradient", (3,), {}, NotDifferentiable,
        f"`x` must be floating-point, got int64; {CONVERT}"),
    "bool": Wrong(
        "gradient", (True,), {}, NotDifferentiable,
        f"`x` must be floating-point, got bool; {CONVERT}"),
    "NumPy int": Wrong(
        "hessian", (np.int32(3),), {}, NotDifferentiable,
        f"`x` must be floating-point, got int32; {CONVERT}"),
    "int8 array, as trust-constr probes": Wrong(
        "jacobian", (np.zeros(3, np.int8),), {}, NotDifferentiable,
        f"`x` must be floating-point, got int8; {CONVERT}"),
    "object array": Wrong(
        "gradient", (np.array([1.0, None]),), {}, NotDifferentiable,
        f"`x` must be floating-point, got object; {CONVERT}"),
    "structured array": Wrong(
        "gradient", (np.ones(2, [("a", float), ("b", int)]),), {}, NotDifferentiable,
        "`x` must be floating-point, got a structured array; pass its fields ('a', 'b')."),
    "int leaf": Wrong(
        "gradient", ({"a": X, "b": [1.0, 2]},), {}, NotDifferentiable,
        f"`x['b'][1]` must be floating-point, got int64; {CONVERT}"),
    "second argument": Wrong(
        "gradient", (X, 1), {}, NotDifferentiable,
        f"`args[1]` must be floating-point, got int64; {CONVERT}"),
    "string": Wrong(
        "gradient", ("abc",), {}, NotDifferentiable,
        f"`x` must be floating-point, got str; {WRAP}"),
    "string leaf": Wrong(
        "jacobian", ({"a": X, "b": "s"},), {}, NotDifferentiable,
        f"`x['b']` must be floating-point, got str; {WRAP_LEAF}"),
    "callable leaf": Wrong(
        "jacobian", ([X, len],), {}, NotDifferentiable,
        f"`x[1]` must be floating-point, got builtin_function_or_method; {WRAP_LEAF}"),
    "masked array": Wrong(
        "gradient", (np.ma.array([1.0]),), {}, NotDifferentiable,
        "`x` must be floating-point, got MaskedArray; pass `.filled(...)`, and the mask in Const, "
        f"or {WRAP}"),
    "matrix": Wrong(
        "gradient", (np.ones((1, 1)).view(np.matrix),), {}, NotDifferentiable,
        f"`x` must be floating-point, got matrix; convert it with numpy.asarray, or {WRAP}"),
    "series": Wrong(
        "gradient", (Series(),), {}, NotDifferentiable,
        f"`x` must be floating-point, got Series; pass its `.to_numpy()`, or {WRAP}"),
    "quantity": Wrong(
        "gradient", ({"a": Quantity()},), {}, NotDifferentiable,
        f"`x['a']` must be floating-point, got Quantity; pass its `.magnitude`, or {WRAP_LEAF}"),
    "None": Wrong("gradient", (None,), {}, Invalid, NO_LEAVES),
    "empty tree": Wrong("gradient", ({"a": ()},), {}, Invalid, NO_LEAVES),
    "no arguments": Wrong(
        "gradient", (), {}, Invalid,
        "There is no active argument: `f` was given none. Call `gradient(f, *args)`, or "
        "`prepare_gradient(f)` for a callable that takes them."),
    "all Const": Wrong(
        "jacobian", (dif.Const(X), dif.Const(1.0)), {}, Invalid,
        f"There is no active argument: every one is Const, or `argnums` is empty. {NONE_ACTIVE}"),
    "argnums empty": Wrong(
        "hessian", (X,), {"argnums": ()}, Invalid,
        f"There is no active argument: every one is Const, or `argnums` is empty. {NONE_ACTIVE}"),
    # Complex arguments
    "complex jacobian": Wrong(
        "jacobian", (X + 0j,), {}, NotDifferentiable,
        f"`x` is complex, where jacobian is not defined without holomorphic=True; {COMPLEX}"),
    "complex derivative": Wrong(
        "derivative", (1j,), {}, NotDifferentiable,
        f"`x` is complex, where derivative is not defined without holomorphic=True; {COMPLEX}"),
    "complex second derivative": Wrong(
        "second_derivative", (1j,), {}, NotDifferentiable,
        "`x` is complex, where second_derivative is not defined without holomorphic=True; "
        f"{COMPLEX}"),
    "complex hessian": Wrong(
        "hessian", (X + 0j,), {}, NotDifferentiable,
        f"`x` is complex, where hessian is not defined; {COMPLEX}"),
    "complex hvp": Wrong(
        "hvp", (X + 0j,), {"tangents": V + 0j}, NotDifferentiable,
        f"`x` is complex, where hvp is not defined; {COMPLEX}"),
    "real holomorphic": Wrong(
        "jacobian", (X,), {"holomorphic": True}, NotDifferentiable,
        "`x` must be complex because of holomorphic=True, got float64; convert it, or leave "
        "holomorphic out."),
    # One number
    "derivative of array": Wrong(
        "derivative", (X,), {}, Invalid,
        f"`derivative` takes one active argument of shape (), got (3,); {ONE_NUMBER}"),
    "derivative, shape (1,)": Wrong(
        "value_and_derivative", (X[:1],), {}, Invalid,
        f"`value_and_derivative` takes one active argument of shape (), got (1,); {ONE_NUMBER}"),
    "derivative of two": Wrong(
        "second_derivative", (1.0, 2.0), {}, Invalid,
        f"`second_derivative` takes one active argument of shape (), got (), (); {ONE_NUMBER}"),
    # Options
    "mode": Wrong(
        "jacobian", (X,), {"mode": "fwd"}, Invalid,
        "`mode` must be 'auto', 'forward' or 'reverse', got 'fwd'."),
    "chunk 0": Wrong("jacobian", (X,), {"chunk_size": 0}, Invalid, f"{CHUNK}0."),
    "chunk negative": Wrong("hessian", (X,), {"chunk_size": -2}, Invalid, f"{CHUNK}-2."),
    "chunk float": Wrong("jacobian", (X,), {"chunk_size": 1.5}, Invalid, f"{CHUNK}1.5."),
    "chunk flag": Wrong("jacobian", (X,), {"chunk_size": True}, Invalid, f"{CHUNK}True."),
    "argnums too large": Wrong(
        "gradient", (X,), {"argnums": 1}, Invalid,
        "`argnums` must be within -1 and 0 for 1 argument, got 1."),
    "argnums too small": Wrong(
        "gradient", (X, X), {"argnums": (0, -3)}, Invalid,
        "`argnums` must be within -2 and 1 for 2 arguments, got (0, -3)."),
    "argnums twice": Wrong(
        "gradient", (X, X), {"argnums": (1, -1)}, Invalid,
        "`argnums` names argument 1 twice: (1, -1)."),
    "argnums and Const": Wrong(
        "gradient", (X, dif.Const(X)), {"argnums": 1}, Invalid,
        "`argnums` makes argument 1 active, but it is wrapped in Const; use one or the other."),
    "argnums float": Wrong("gradient", (X,), {"argnums": 0.0}, Invalid, f"{ARGNUMS}0.0."),
    "argnums string": Wrong("gradient", (X,), {"argnums": "0"}, Invalid, f"{ARGNUMS}'0'."),
    "argnums flag": Wrong("gradient", (X,), {"argnums": True}, Invalid, f"{ARGNUMS}True."),
    "argnums of floats": Wrong("hessian", (X,), {"argnums": (0.0,)}, Invalid, f"{ARGNUMS}(0.0,)."),
    "kwargs": Wrong(
        "gradient", (X,), {"kwargs": 3}, Invalid,
        "`kwargs` must be a mapping from names to values, got int."),
    "kwargs key": Wrong(
        "gradient", (X,), {"kwargs": {1: X}}, Invalid,
        "`kwargs` must have strings as keys, got 1."),
    "unknown keyword": Wrong(
        "gradient", (X,), {"mode": "auto"}, TypeError,
        "gradient() got an unexpected keyword argument `mode`. It takes `argnums`, `backend`, "
        "`chunk_size`, `has_aux`, `in_axes`, `kwargs`, `out`."),
    "misspelt keyword": Wrong(
        "value_and_jacobian", (X,), {"chunksize": 2}, TypeError,
        "value_and_jacobian() got an unexpected keyword argument `chunksize`. Did you mean "
        "`chunk_size`? It takes `argnums`, `backend`, `check`, `chunk_size`, `format`, `has_aux`, "
        "`holomorphic`, `in_axes`, `kwargs`, `mode`, `out`, `sparsity`."),
    "misspelt preparation keyword": Wrong(
        "prepare_value_and_gradient", (X,), {"on_missmatch": "error"}, TypeError,
        "prepare_value_and_gradient() got an unexpected keyword argument `on_missmatch`. Did you "
        "mean `on_mismatch`? It takes `argnums`, `backend`, `chunk_size`, `fallback`, "
        "`has_aux`, `in_axes`, `kwargs`, `on_mismatch`."),
    "on_mismatch": Wrong(
        "prepare_gradient", (X,), {"on_mismatch": "no"}, Invalid,
        "`on_mismatch` must be 'error' or 'reprepare', got 'no'."),
    "fallback": Wrong(
        "prepare_hessian", (X,), {"fallback": None}, Invalid,
        "`fallback` must be 'eager' or 'error', got None."),
    "prepare int": Wrong(
        "prepare_gradient", (np.arange(3),), {}, NotDifferentiable,
        f"`x` must be floating-point, got int64; {CONVERT}"),
    # out
    "out shape": Wrong(
        "gradient", (X,), {"out": np.zeros(2)}, Invalid,
        "`out` must have shape (3,) and dtype float64 like the result, got (2,) and float64."),
    "out dtype": Wrong(
        "hessian", (X,), {"out": np.zeros((3, 3), np.float32)}, Invalid,
        "`out` must have shape (3, 3) and dtype float64 like the result, got (3, 3) and float32."),
    "out read-only": Wrong(
        "hvp", (X,), {"tangents": V, "out": READ_ONLY}, Invalid,
        "`out` must be writable, got a read-only array."),
    "out list": Wrong(
        "gradient", (X,), {"out": [0.0, 0.0, 0.0]}, Invalid,
        "`out` must be an array like the derivative, float64[3], got list."),
    "out string": Wrong(
        "gradient", (X,), {"out": "abc"}, Invalid,
        "`out` must be an array like the derivative, float64[3], got str."),
    "out float": Wrong(
        "gradient", (X,), {"out": 0.0}, Invalid,
        "`out` must be an array like the derivative, float64[3], got float."),
    "out structure": Wrong(
        "value_and_gradient", (X,), {"argnums": (0,), "out": {"a": V}}, Invalid,
        "`out` must have the structure of the derivative, (*,), got {'a': *}."),
    "out leaf": Wrong(
        "gradient", (X,), {"argnums": (0,), "out": (np.zeros((3, 1)),)}, Invalid,
        "`out[0]` must have shape (3,) and dtype float64 like the result, got (3, 1) and float64."),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_refused_before_any_work(name: str, backend: str) -> None:
    wrong = CALLS[name]
    # A counter would hide the parameter's name.
    evaluations = Counted(
        scalar if wrong.operator.replace("value_and_", "") == "gradient" else vector
    )

    def f(x: Any, *rest: Any, **named: Any) -> Any:
        return evaluations(x)

    with pytest.raises(wrong.error) as caught:
        getattr(dif, wrong.operator)(f, *wrong.args, backend=backend, **wrong.options)
    assert str(caught.value) == wrong.message
    assert type(caught.value) is wrong.error
    assert evaluations.count == 0
