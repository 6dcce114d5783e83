"""What `f` may not return; and the exceptions that it raises are its own."""

import re
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import CALLERS, EVERYWHERE, double, square_sum

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
NotDifferentiable = dif.NotDifferentiableError

SUM_UP = "sum it up, or use `jacobian`, `pushforward` or `pullback`."
FORGOTTEN = "did you forget to return the result?"
REAL_PART = (
    "return its real part or its absolute value, or use `jacobian` or `derivative` with "
    "holomorphic=True."
)
NO_INTEGERS = "convert them, or return them as aux with has_aux=True."
PAIR = "`f` must return a pair (value, aux) because of has_aux=True, got "


SCALAR = ("gradient", "value_and_gradient", "hessian", "hvp", "gradient_and_hvp")
ANY = ("jacobian", "pushforward", "pullback")

RESULTS: dict[str, tuple[tuple[str, ...], Callable[[Any], Any], str]] = {
    "array": (
        SCALAR, double, f"`f` must return a real scalar (shape ()), got shape (3,); {SUM_UP}"),
    "shape (1,)": (
        SCALAR, lambda x: x[:1],
        f"`f` must return a real scalar (shape ()), got shape (1,); {SUM_UP}"),
    "list": (
        SCALAR, lambda x: [x[0]], f"`f` must return a real scalar (shape ()), got list; {SUM_UP}"),
    "complex": (
        SCALAR, lambda x: 1j * square_sum(x),
        f"`f` must return a real scalar, got complex128; {REAL_PART}"),
    "None": (
        SCALAR + ANY, lambda x: None,
        f"`f` must return arrays or numbers, or trees of them, got NoneType; {FORGOTTEN}"),
    "string": (
        SCALAR + ANY, lambda x: "y",
        f"`f` must return arrays or numbers, or trees of them, got str; {FORGOTTEN}"),
    "string leaf": (
        ANY, lambda x: {"a": x, "b": "y"},
        f"`f` must return arrays or numbers, or trees of them, got str; {FORGOTTEN}"),
    "flag": (
        SCALAR, lambda x: x[0] == x[1],
        f"`f` must return floating-point numbers, got bool; {NO_INTEGERS}"),
    "integers": (
        ANY, lambda x: np.arange(3),
        f"`f` must return floating-point numbers, got int64; {NO_INTEGERS}"),
}  # fmt: skip


@EVERYWHERE
@CALLERS
@pytest.mark.parametrize("name", RESULTS)
def test_results_that_have_no_derivative(name: str, caller: Any, backend: str) -> None:
    operators, f, message = RESULTS[name]
    for operator in operators:
        with pytest.raises(NotDifferentiable) as caught:
            caller(operator, f, backend)
        assert str(caught.value) == message, operator


def test_complex_result_of_complex_arguments() -> None:
    for backend in ("jax", "torch", "autograd", "numpy"):
        with pytest.raises(NotDifferentiable) as caught:
            dif.gradient(square_sum, X + 1j, backend=backend)
        assert str(caught.value) == f"`f` must return a real scalar, got complex128; {REAL_PART}"


@EVERYWHERE
@CALLERS
@pytest.mark.parametrize(
    ("f", "found"),
    [
        (square_sum, "one array"),
        (lambda x: 1.0, "one array"),
        (lambda x: (square_sum(x), 1, 2), "a tuple of 3"),
        (lambda x: [square_sum(x), 1], "list"),
        (lambda x: None, "NoneType"),
    ],
)
def test_aux_needs_a_pair(f: Any, found: str, caller: Any, backend: str) -> None:
    for operator in ("gradient", "jacobian", "pullback", "hessian"):
        with pytest.raises(NotDifferentiable) as caught:
            caller(operator, f, backend, has_aux=True)
        assert str(caught.value) == f"{PAIR}{found}; return a pair, or leave has_aux out."


# The user's own exceptions


class MyError(Exception):
    pass


TEXTS = {
    "plain": "not today",
    "autograd": "got <autograd.numpy.numpy_boxes.ArrayBox object>",
    "torch": "Can't call numpy() on Tensor that requires grad. __array__",
    "complex-step": "complex numbers make no sense here",
    "jax": "TracerArrayConversionError",
}


@EVERYWHERE
@CALLERS
@pytest.mark.parametrize("kind", [MyError, ValueError, TypeError, RuntimeError, KeyError])
@pytest.mark.parametrize("text", TEXTS)
def test_exceptions_of_f_pass_through_unchanged(
    text: str, kind: type[Exception], caller: Any, backend: str
) -> None:
    error = kind(TEXTS[text])

    def f(x: Any) -> Any:
        raise error

    for operator in ("gradient", "jacobian", "hvp", "pullback"):
        error.__traceback__ = None
        with pytest.raises(kind) as caught:
            caller(operator, f, backend)
        assert caught.value is error
        assert error.args == (TEXTS[text],)
        assert error.__cause__ is None
        assert error.__context__ is None
        assert traceback.extract_tb(error.__traceback__)[-1].name == "f"


@EVERYWHERE
@CALLERS
def test_an_exception_that_shows_the_argument(caller: Any, backend: str) -> None:
    def f(x: Any) -> Any:
        raise ValueError(f"x must be small, got {x}")

    with pytest.raises(ValueError, match="x must be small") as caught:
        caller("gradient", f, backend)
    assert type(caught.value) is ValueError


@EVERYWHERE
def test_a_typo_in_f_is_an_attribute_error(backend: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        dif.gradient(lambda x: x.no_such_name, X, backend=backend)
    with pytest.raises(TypeError, match=r"f\(\) missing 1 required positional argument: 'b'"):

        def f(a: Any, b: Any) -> Any:
            return a

        dif.gradient(f, X, backend=backend)


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("backend", ["jax", "torch", "autograd", "numpy"])
@pytest.mark.parametrize("part", ["real", "abs"])
def test_holomorphic_functions_return_complex_numbers(
    part: str, backend: str, prepared: bool
) -> None:
    def f(z: Any) -> Any:
        return getattr(dif.namespace(z), part)(z)

    message = "`f` must return complex numbers because of holomorphic=True, got float64; "
    for operator, z in (("derivative", 1.0 + 2.0j), ("jacobian", np.array([1.0 + 2.0j, 3.0j]))):
        options: Any = {"holomorphic": True, "backend": backend}
        with pytest.raises(dif.NotDifferentiableError, match=re.escape(message)):
            if prepared:
                getattr(dif, f"prepare_{operator}")(f, z, **options)
            else:
                getattr(dif, operator)(f, z, **options)
