"""What the tests share: backends, kinds of array, functions with known derivatives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diffface as dif

ROOT = Path(__file__).parent.parent
AD = ("jax", "torch", "autograd")
NUMPY_ONLY = ("numpy", "complex-step")
BACKENDS = AD + NUMPY_ONLY
KINDS = ("numpy", "jax", "torch")

# Relative accuracy of first and second derivatives in float64.
FIRST = {"jax": 1e-13, "torch": 1e-13, "autograd": 1e-13, "numpy": 1e-8, "complex-step": 1e-13}
SECOND = {"jax": 1e-12, "torch": 1e-12, "autograd": 1e-12, "numpy": 1e-6, "complex-step": 1e-7}

# How prepared calls run.
STRATEGY = {
    "jax": "xla", "torch": "replay", "autograd": "program", "numpy": "stencil",
    "complex-step": "stencil",
}  # fmt: skip


class Counted:
    """A function that counts how often it is evaluated."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f
        self.count = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return self.f(*args, **kwargs)


def square_sum(x: Any) -> Any:
    """Gradient 2x, Hessian 2I."""
    return dif.namespace(x).sum(x * x)


def cube_sum(x: Any) -> Any:
    """Gradient 3x², Hessian diag(6x)."""
    return dif.namespace(x).sum(x * x * x)


def quartic(x: Any, a: Any) -> Any:
    """Gradient ``4 a x³ + 2 x``; Hessian ``12 a x² + 2``; enough temporaries to mix up."""
    xp = dif.namespace(x)
    y = x * x
    return xp.sum(a * y * y) + xp.sum(y)


def weighted(x: Any, a: Any, tree: Any = None, *, k: Any = 1.0) -> Any:
    """Gradient ``3 a k x²``."""
    return dif.namespace(x).sum(a * x**3) * k


def double(x: Any) -> Any:
    """Jacobian 2I."""
    return x * 2.0


def make(kind: str, values: Any, dtype: str = "float64") -> Any:
    """An array of ``kind``; float64 JAX arrays are made under a scoped flag."""
    array = np.array(values, dtype)
    if kind == "numpy":
        return array
    if kind == "torch":
        import torch

        return torch.from_numpy(array)
    import jax

    with jax.enable_x64(True):
        return jax.numpy.asarray(array)


def kind(value: Any) -> str:
    """The kind of array that ``value`` is, or the name of its type."""
    name = f"{type(value).__module__}.{type(value).__name__}"
    if name.startswith("jaxlib"):
        return "jax"
    return {"numpy.ndarray": "numpy", "torch.Tensor": "torch"}.get(name, type(value).__name__)


def plain(value: Any) -> np.ndarray[Any, Any]:
    """``value`` as a NumPy array."""
    return value.detach().numpy() if kind(value) == "torch" else np.asarray(value)


def same(value: Any, expected: Any, rtol: float = 1e-12, atol: float = 0.0) -> None:
    """Equal trees: containers by type and keys, arrays by shape and within tolerance."""
    if isinstance(expected, dict):
        assert type(value) is type(expected)
        assert list(value) == list(expected)
        for key in expected:
            same(value[key], expected[key], rtol, atol)
    elif isinstance(expected, list | tuple):
        assert type(value) is type(expected)
        assert len(value) == len(expected)
        for one, other in zip(value, expected, strict=True):
            same(one, other, rtol, atol)
    elif expected is None or isinstance(expected, str):
        assert value == expected
    else:
        assert plain(value).shape == plain(expected).shape
        np.testing.assert_allclose(plain(value), plain(expected), rtol=rtol, atol=atol or rtol)


# Every operator, called in the same way


VECTOR = (
    "jacobian", "value_and_jacobian", "pushforward", "value_and_pushforward", "pullback",
    "value_and_pullback",
)  # fmt: skip
SCALAR = (
    "gradient", "value_and_gradient", "hessian", "value_gradient_and_hessian", "hvp",
    "gradient_and_hvp",
)  # fmt: skip
NUMBER = (
    "derivative", "value_and_derivative", "second_derivative",
    "value_derivative_and_second_derivative",
)  # fmt: skip
OPERATORS = SCALAR + VECTOR + NUMBER


def function(operator: str) -> Callable[[Any], Any]:
    """A function that ``operator`` can differentiate."""
    return cube_sum if operator in SCALAR else cube


def cube(x: Any) -> Any:
    """Jacobian diag(3x²)."""
    return x * x * x


def run(
    operator: str, x: Any, backend: Any, prepared: bool = False, f: Any = None, **options: Any
) -> tuple[Any, ...]:
    """All parts of the result of ``operator`` at ``x``; tangents and cotangents are ``x``."""
    f = f or function(operator)
    seeds = {}
    if operator.endswith(("hvp", "pushforward")):
        seeds["tangents"] = x
    elif operator.endswith("pullback"):
        seeds["cotangents"] = x
    if prepared:
        out = {"out": options.pop("out")} if "out" in options else {}
        result = getattr(dif, f"prepare_{operator}")(f, x, backend=backend, **options)(
            x, **seeds, **out
        )
    else:
        result = getattr(dif, operator)(f, x, backend=backend, **seeds, **options)
    return result if "and" in operator else (result,)


def expected(operator: str, values: Any) -> tuple[Any, ...]:
    """What ``run`` gives for ``function(operator)``."""
    x = np.asarray(values, float)
    y = np.sum(x**3) if operator in SCALAR else x**3
    first = np.reshape(np.diag(np.ravel(3 * x**2)), x.shape + x.shape)
    second = np.reshape(np.diag(np.ravel(6 * x)), x.shape + x.shape)
    if operator in SCALAR:
        parts = {"value": y, "gradient": 3 * x**2, "hessian": second, "hvp": 6 * x**2}
    elif operator in NUMBER:
        parts = {"value": y, "derivative": 3 * x**2, "second_derivative": 6 * x}
    else:
        parts = {"value": y, "jacobian": first, "pushforward": 3 * x**3, "pullback": 3 * x**3}
    words = operator.replace("_and_", "|").replace("value_", "value|")
    return tuple(parts[word] for word in words.split("|"))


def tolerance(operator: str, backend: str, dtype: str) -> float:
    """Relative accuracy of the result of ``operator``."""
    second = "hessian" in operator or "hvp" in operator or "second" in operator
    if dtype == "float64":
        return (SECOND if second else FIRST)[backend] * 10
    if backend == "numpy" or (backend == "complex-step" and second):
        return 0.3 if second else 2e-2
    return 1e-5


# Eagerly, and prepared


POINT = np.array([1.0, 2.0, 3.0])


def call_eagerly(operator: str, f: Callable[..., Any], backend: str, **options: Any) -> Any:
    """The operator at 1, 2, 3, with tangents or cotangents of ones."""
    if operator.endswith(("hvp", "pushforward")):
        options["tangents"] = np.ones(3)
    if operator.endswith("pullback"):
        options["cotangents"] = np.ones(3)
    return getattr(dif, operator)(f, POINT, backend=backend, **options)


def prepare_and_call(operator: str, f: Callable[..., Any], backend: str, **options: Any) -> Any:
    """The same prepared; backends that need no example of `f` find out at the first call."""
    prepared = getattr(dif, f"prepare_{operator}")(f, POINT, backend=backend, **options)
    if operator.endswith(("hvp", "pushforward")):
        return prepared(POINT, tangents=np.ones(3))
    return prepared(POINT, cotangents=np.ones(3)) if "pullback" in operator else prepared(POINT)


CALLERS = pytest.mark.parametrize("caller", [call_eagerly, prepare_and_call])
EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)
PREPARED = pytest.mark.parametrize("prepared", [False, True], ids=["eager", "prepared"])
# Variants that return more are derived alike for all operators.
EVERY_OPERATOR = pytest.mark.parametrize(
    "operator",
    [pytest.param(name, marks=pytest.mark.slow) if "and" in name else name for name in OPERATORS],
)
