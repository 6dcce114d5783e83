"""Functions of a foreign library: one message that names the line and `diffface.namespace`."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import CALLERS, square_sum

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
NotDifferentiable = dif.NotDifferentiableError
PORTABLE = (
    "Take the functions from `xp = diffface.namespace(x)` instead, or from the framework itself."
)


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


def plus(x: Any) -> Any:
    return square_sum(+x)


def floored(x: Any) -> Any:
    return square_sum(x * (x // 2.0))


def reversed_order(x: Any) -> Any:
    return square_sum(x[::-1] * x)


HINTS = {
    "jax": "a NumPy function was called on a JAX tracer",
    "torch": "a NumPy function was called on a torch tensor that is being differentiated",
    "autograd": "a plain NumPy or Python function was called on an autograd box",
    "complex-step": "a function that does not take complex numbers was called",
}


def place(f: Callable[..., Any], marker: str) -> str:
    """``, at file:line in name: `source` `` of the line of ``f`` with ``marker``."""
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


OPERATORS = [
    ("autograd", plus, "autograd has no `unary +`, for which there is `xp.positive`"),
    ("autograd", floored, "autograd has no `//`, for which there is `xp.floor_divide`"),
    (
        "torch",
        reversed_order,
        "torch takes no slice with a negative step, for which there is `xp.flip`",
    ),
]


@CALLERS
@pytest.mark.parametrize(("backend", "f", "hint"), OPERATORS)
def test_operators_that_a_framework_lacks(backend: str, f: Any, hint: str, caller: Any) -> None:
    with pytest.raises(NotDifferentiable) as caught:
        caller("gradient", f, backend)
    line = place(f, "return")
    assert str(caught.value) == f"`f` cannot be differentiated: {hint}{line}. {PORTABLE}"


@CALLERS
@pytest.mark.parametrize("operator", ["gradient", "hessian", "jacobian"])
def test_rounded_quotients(operator: str, caller: Any) -> None:
    """torch has no derivative, and says so in its backward pass, where no line is known."""
    with pytest.raises(NotDifferentiable, match=r"that of `xp\.floor_divide` is zero"):
        caller(operator, floored, "torch")
    portable = lambda x: square_sum(x * dif.namespace(x).floor_divide(x, 2.0))
    for backend in ("jax", "torch", "autograd"):
        caller(operator, portable, backend)
        found = dif.prepare_gradient(portable, X, backend=backend, fallback="error")(X + 0.5)
        np.testing.assert_allclose(found, 2 * (X + 0.5) * (X // 2) ** 2)


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


def jax_sin(x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.sum(jnp.sin(x))


def torch_sin(x: Any) -> Any:
    import torch

    return torch.sin(x).sum()


def torch_as_tensor(x: Any) -> Any:
    import torch

    return torch.as_tensor(x).sum()


@CALLERS
@pytest.mark.parametrize("operator", ["gradient", "hessian", "jacobian"])
@pytest.mark.parametrize(
    ("backend", "f", "hint", "marker"),
    [
        ("torch", jax_sin, "a function of JAX was called on a torch tensor", "jnp.sin"),
        ("jax", torch_sin, "a function of torch was called on a JAX tracer", "torch.sin"),
        ("jax", torch_as_tensor, "a function of torch was called on a JAX tracer", "as_tensor(x)"),
    ],
)
def test_functions_of_the_other_framework(
    backend: str, f: Any, hint: str, marker: str, operator: str, caller: Any
) -> None:
    with pytest.raises(NotDifferentiable) as caught:
        caller(operator, f, backend)
    line = place(f, marker)
    assert str(caught.value) == f"`f` cannot be differentiated: {hint}{line}. {PORTABLE}"


@CALLERS
@pytest.mark.parametrize("backend", [None, "numpy", "complex-step"])
@pytest.mark.parametrize(
    ("f", "name", "noun"),
    [(jax_sin, "jax", "a jax array"), (torch_as_tensor, "torch", "a torch tensor")],
)
def test_results_that_are_arrays_of_a_framework(
    f: Any, name: str, noun: str, backend: str | None, caller: Any
) -> None:
    """As with ``jax.numpy``, NumPy arrays, and no backend that is named."""
    with pytest.raises(NotDifferentiable) as caught:
        caller("gradient", f, backend)
    assert str(caught.value) == (
        f"`f` returned {noun}, which is of another backend; pass backend={name!r}, or take the "
        "functions from `xp = diffface.namespace(x)`."
    )


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


def test_numpy_in_a_batch_of_torch() -> None:
    """There torch says that a tensor has no storage."""
    with pytest.raises(NotDifferentiable, match="a NumPy function was called on a torch tensor"):
        dif.jacobian(numpy_asarray, np.ones((4, 1)), in_axes=0, backend="torch")
