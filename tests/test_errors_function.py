"""What `f` may not do: wrong results, functions of a foreign library; its exceptions are its own."""

import math
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, double, square_sum

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
V = np.ones(3)
NotDifferentiable = dif.NotDifferentiableError

SUM_UP = "sum it up, or use `jacobian`, `pushforward` or `pullback`."
FORGOTTEN = "did you forget to return the result?"
REAL_PART = (
    "return its real part or its absolute value, or use `jacobian` or `derivative` with "
    "holomorphic=True."
)
NO_INTEGERS = "convert them, or return them as aux with has_aux=True."
PAIR = "`f` must return a pair (value, aux) because of has_aux=True, got "
PORTABLE = (
    "Take the functions from `xp = diffface.namespace(x)` instead, or from the framework itself."
)


def call(operator: str, f: Callable[..., Any], backend: str, **options: Any) -> Any:
    """The operator at X, with tangents or cotangents of ones."""
    if operator.endswith(("hvp", "pushforward")):
        options["tangents"] = V
    if operator.endswith("pullback"):
        options["cotangents"] = V
    return getattr(dif, operator)(f, X, backend=backend, **options)


def prepare_and_call(operator: str, f: Callable[..., Any], backend: str, **options: Any) -> Any:
    """The same prepared; backends that need no example of `f` find out at the first call."""
    prepared = getattr(dif, f"prepare_{operator}")(f, X, backend=backend, **options)
    if operator.endswith(("hvp", "pushforward")):
        return prepared(X, tangents=V)
    return prepared(X, cotangents=V) if operator.endswith("pullback") else prepared(X)


CALLERS = pytest.mark.parametrize("caller", [call, prepare_and_call])
EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)

SCALAR = ("gradient", "value_and_gradient", "hessian", "hvp", "gradient_and_hvp")
ANY = ("jacobian", "pushforward", "pullback")

RESULTS: dict[str, tuple[tuple[str, ...], Callable[[Any], Any], str]] = {
    "array": (SCALAR, double, f"`f` must return a real scalar (shape ()), got shape (3,); {SUM_UP}"),
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


# Functions of a foreign library


def numpy_sin(x: Any) -> Any:
    return np.sum(np.sin(x))


def numpy_norm(x: Any) -> Any:
    return np.linalg.norm(x)


def numpy_fill(x: Any) -> Any:
    y = np.zeros(3)
    y[0] = x[0]
    return square_sum(y)


def numpy_asarray(x: Any) -> Any:
    return (np.asarray(x) ** 2).sum()


def scalar_math(x: Any) -> Any:
    return math.exp(x[0])


def scipy_erf(x: Any) -> Any:
    from scipy.special import erf

    return erf(x).sum()


HINTS = {
    "jax": "a NumPy function was called on a JAX tracer",
    "torch": "a NumPy function was called on a torch tensor that is being differentiated",
    "autograd": "a plain NumPy or Python function was called on an autograd box",
    "complex-step": "a function that does not take complex numbers was called",
}


def place(f: Callable[..., Any], marker: str) -> str:
    """``, at file:line in name: `source` `` of the line of ``f`` with ``marker``."""
    import inspect

    lines, start = inspect.getsourcelines(f)
    number = next(i for i, line in enumerate(lines) if marker in line)
    return f", at {__file__}:{start + number} in {f.__name__}: `{lines[number].strip()}`"


FOREIGN = [
    ("jax", numpy_sin, "np.sin"),
    ("jax", numpy_norm, "np.linalg"),
    ("jax", numpy_fill, "y[0]"),
    ("jax", numpy_asarray, "np.asarray"),
    ("jax", scipy_erf, "erf(x).sum"),
    ("torch", numpy_sin, "np.sin"),
    ("torch", numpy_norm, "np.linalg"),
    ("torch", numpy_asarray, "np.asarray"),
    ("torch", scipy_erf, "erf(x).sum"),
    ("autograd", numpy_fill, "y[0]"),
    ("autograd", scalar_math, "math.exp"),
    ("autograd", scipy_erf, "erf(x).sum"),
]


@CALLERS
@pytest.mark.parametrize("operator", ["gradient", "hessian", "pushforward", "pullback", "jacobian"])
@pytest.mark.parametrize(("backend", "f", "marker"), FOREIGN)
def test_foreign_functions(backend: str, f: Any, marker: str, operator: str, caller: Any) -> None:
    with pytest.raises(NotDifferentiable) as caught:
        if operator == "pullback":
            dif.pullback(f, X, cotangents=1.0, backend=backend)
        else:
            caller(operator, f, backend)
    assert str(caught.value) == (
        f"`f` cannot be differentiated: {HINTS[backend]}{place(f, marker)}. {PORTABLE}"
    )
    assert caught.value.__cause__ is not None


def arctan2(x: Any) -> Any:
    return np.arctan2(x[0], x[1])


def floor(x: Any) -> Any:
    return np.floor(x[0]) * x[1]


@CALLERS
@pytest.mark.parametrize(("f", "marker"), [(arctan2, "np.arctan2"), (floor, "np.floor")])
def test_functions_without_complex_numbers(f: Any, marker: str, caller: Any) -> None:
    with pytest.raises(NotDifferentiable) as caught:
        caller("gradient", f, "complex-step")
    assert str(caught.value) == (
        f"`f` cannot be differentiated: {HINTS['complex-step']}{place(f, marker)}. {PORTABLE}"
    )


NOT_ANALYTIC = (
    "`f` is not analytic, so the complex step would give a wrong derivative (found by comparing "
    "with central differences). Look for abs, conj, norm, real, a cast to float or a comparison; "
    'or use another backend, such as "numpy".'
)


# NumPy warns itself when it drops an imaginary part.
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@CALLERS
@pytest.mark.parametrize("operator", ["gradient", "pushforward", "jacobian", "hessian"])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(np.abs(x)),
        lambda x: np.linalg.norm(x),
        lambda x: np.sum(x * np.conj(x)).real,
        lambda x: np.sum(x).real ** 2,
        lambda x: float(np.asarray(x)[0].real) ** 2,
        lambda x: np.sum(x.astype(float) ** 2),
        lambda x: np.sum(np.zeros(3) + x.real),
        lambda x: x[0] * abs(x[1]),
    ],
    ids=["abs", "norm", "conj", "real", "float", "astype", "drop", "one entry"],
)
def test_complex_step_refuses_what_is_not_analytic(f: Any, operator: str, caller: Any) -> None:
    with pytest.raises(NotDifferentiable) as caught:
        caller(operator, f, "complex-step")
    assert str(caught.value) == NOT_ANALYTIC


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
