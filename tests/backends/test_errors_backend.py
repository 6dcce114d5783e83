"""Backends that are unknown, missing, or cannot do what they are asked."""

import importlib.util
import sys
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, square_sum

import diffface as dif
from diffface.backends import registry as _registry
from diffface.backends.numpy.finite_differences import FiniteDifferences

X = np.array([1.0, 2.0, 3.0])
INSTALLED = "Installed: 'jax', 'torch', 'autograd', 'numpy', 'complex-step'."


@pytest.fixture(autouse=True)
def own_backends_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests register backends of their own, which messages would list."""
    monkeypatch.setattr(_registry, "_registered", {})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("jx", " Did you mean 'jax'?"),
        ("Torch", " Did you mean 'torch'?"),
        ("pytorch", " Did you mean 'torch'?"),
        ("autgrad", " Did you mean 'autograd'?"),
        ("complex_step", " Did you mean 'complex-step'?"),
        ("", ""),
        ("zzzzzz", ""),
    ],
)
def test_unknown_backend(name: str, nearest: str) -> None:
    message = f"There is no backend {name!r}.{nearest} {INSTALLED}"
    with pytest.raises(dif.UnknownBackendError) as caught:
        dif.gradient(square_sum, X, backend=name)
    assert str(caught.value) == message
    with pytest.raises(dif.UnknownBackendError) as caught:
        dif.prepare_gradient(square_sum, backend=name)  # lazily, but the name is looked up at once
    assert str(caught.value) == message
    with pytest.raises(dif.UnknownBackendError) as caught, dif.using(name):
        pass
    assert str(caught.value) == message


def test_backend_class_that_was_not_called() -> None:
    with pytest.raises(dif.UnknownBackendError) as caught:
        dif.gradient(square_sum, X, backend=FiniteDifferences)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "`backend` must be a name or a backend object, got the class FiniteDifferences; write "
        f"FiniteDifferences(). {INSTALLED}"
    )


@pytest.mark.parametrize("backend", [3, np, ["jax"], 1.0, b"jax"])
def test_backend_that_is_no_backend(backend: Any) -> None:
    with pytest.raises(dif.UnknownBackendError) as caught:
        dif.gradient(square_sum, X, backend=backend)
    assert str(caught.value) == (
        f"`backend` must be a name or a backend object, got {type(backend).__name__}. {INSTALLED}"
    )


MISSING = {
    "jax": ("jax", "'torch', 'autograd', 'numpy', 'complex-step'"),
    "torch": ("torch", "'jax', 'autograd', 'numpy', 'complex-step'"),
    "autograd": ("autograd", "'jax', 'torch', 'numpy', 'complex-step'"),
}


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes modules look as if they were not installed."""

    def hide(*modules: str) -> None:
        find = importlib.util.find_spec

        def find_spec(name: str, package: str | None = None) -> Any:
            return None if name.partition(".")[0] in modules else find(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)
        monkeypatch.setattr(_registry, "loaded", {})

    return hide


@pytest.mark.parametrize("backend", MISSING)
def test_missing_library(backend: str, absent: Any) -> None:
    library, others = MISSING[backend]
    absent(library)
    message = (
        f"Backend {backend!r} needs {library}, which cannot be found; run: pip install "
        f"'diffface[{backend}]'. Installed: {others}."
    )
    for call in (dif.gradient, dif.prepare_gradient):
        with pytest.raises(dif.BackendNotAvailableError) as caught:
            call(square_sum, X, backend=backend)
        assert str(caught.value) == message
    with pytest.raises(ImportError), dif.using(backend):
        pass
    # The others still work.
    assert dif.gradient(square_sum, X, backend="numpy") == pytest.approx(2 * X)


def test_missing_companion(absent: Any) -> None:
    absent("array_api_compat")
    with pytest.raises(dif.BackendNotAvailableError) as caught:
        dif.gradient(square_sum, X, backend="torch")
    assert str(caught.value) == (
        "Backend 'torch' needs array_api_compat, which cannot be found; run: pip install "
        "'diffface[torch]'. Installed: 'jax', 'autograd', 'numpy', 'complex-step'."
    )


def test_two_missing(absent: Any) -> None:
    absent("torch", "array_api_compat")
    with pytest.raises(dif.BackendNotAvailableError) as caught:
        dif.gradient(square_sum, X, backend="torch")
    assert "needs torch and array_api_compat, which cannot be found" in str(caught.value)


def test_library_that_breaks_at_import(monkeypatch: pytest.MonkeyPatch, absent: Any) -> None:
    absent()
    monkeypatch.delitem(sys.modules, "diffface.backends.jax.adapter", raising=False)
    monkeypatch.setitem(sys.modules, "diffface.backends.jax.adapter", None)
    with pytest.raises(dif.BackendNotAvailableError) as caught:
        dif.gradient(square_sum, X, backend="jax")
    assert str(caught.value) == (
        "Backend 'jax' is installed but cannot be imported (import of "
        "diffface.backends.jax.adapter halted; None in sys.modules); "
        "run: pip install --upgrade 'diffface[jax]'. " + INSTALLED
    )
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.parametrize("step", [0.0, -1e-3, float("nan"), float("inf"), "a", 1j])
def test_finite_difference_step(step: Any) -> None:
    with pytest.raises(dif.InvalidArgumentError) as caught:
        FiniteDifferences(step=step)
    assert str(caught.value) == (
        f"`step` must be a positive finite number, got {step!r}; leave it out to have it chosen "
        "from the dtype."
    )


@pytest.mark.parametrize("scheme", ["backward", "", None, 3])
def test_finite_difference_scheme(scheme: Any) -> None:
    with pytest.raises(dif.InvalidArgumentError) as caught:
        FiniteDifferences(scheme=scheme)
    assert str(caught.value) == (
        f"`scheme` must be one of 'forward', 'central', 'central4', 'richardson', got {scheme!r}."
    )


def test_torch_option() -> None:
    from diffface.backends.torch.adapter import Torch

    with pytest.raises(dif.InvalidArgumentError) as caught:
        Torch(compile="yes")  # type: ignore[arg-type]
    assert str(caught.value) == "`compile` must be True or False, got 'yes'."


@pytest.mark.parametrize("operator", ["jacobian", "hessian", "prepare_jacobian"])
@pytest.mark.parametrize("backend", ["numpy", "complex-step"])
def test_no_reverse_mode(backend: str, operator: str) -> None:
    with pytest.raises(dif.UnsupportedOperatorError) as caught:
        getattr(dif, operator)(square_sum, X, backend=backend, mode="reverse")
    assert str(caught.value).endswith(
        " has no reverse mode; use mode='forward' or mode='auto', or a backend that has both."
    )


@pytest.mark.parametrize(
    ("outer", "inner", "shown"),
    [
        ("jax", "torch", ("JAX()", "Torch(compile=False)")),
        ("torch", "autograd", ("Torch(compile=False)", "Autograd()")),
        ("complex-step", "jax", ("ComplexStep()", "JAX()")),
        ("autograd", "numpy", ("Autograd()", "FiniteDifferences")),
    ],
)
def test_second_order_pairs_that_cannot_work(
    outer: str, inner: str, shown: tuple[str, str]
) -> None:
    backend = dif.SecondOrder(outer, inner)
    with pytest.raises(dif.UnsupportedOperatorError) as caught:
        dif.hvp(square_sum, X, tangents=X, backend=backend)
    message = str(caught.value)
    assert message.startswith(f"{shown[0]} cannot differentiate through {shown[1]}")
    assert message.endswith(
        ": the outer backend must be the same as the inner one, or finite differences, as in "
        'SecondOrder("numpy", ...).'
    )
    # First order needs only the inner one.
    assert dif.gradient(square_sum, X, backend=backend) == pytest.approx(2 * X)


def test_complex_step_of_complex_arguments() -> None:
    with pytest.raises(dif.UnsupportedOperatorError) as caught:
        dif.gradient(lambda z: np.sum(abs(z) ** 2), X + 1j, backend="complex-step")
    assert str(caught.value) == (
        "The complex-step backend cannot differentiate with respect to complex arguments, since "
        'it uses the imaginary part itself; use "jax", "torch", "autograd" or "numpy".'
    )


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (dif.BackendNotAvailableError, ImportError),
        (dif.UnknownBackendError, ValueError),
        (dif.InvalidArgumentError, ValueError),
        (dif.PreparationMismatchError, ValueError),
        (dif.NotDifferentiableError, TypeError),
        (dif.UnsupportedOperatorError, NotImplementedError),
    ],
)
def test_errors_are_what_a_caller_would_catch(
    error: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(error, dif.DifffaceError)
    assert issubclass(error, builtin)
    assert error.__module__ == "diffface"  # where users import it from


# Dtypes that a library lacks


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("dtype", ["longdouble", "clongdouble"])
def test_long_double(backend: str, dtype: str) -> None:
    x = X.astype(dtype)
    with pytest.raises(dif.NotDifferentiableError) as caught:
        dif.gradient(lambda x: dif.namespace(x).sum(abs(x) ** 2), x, backend=backend)
    assert str(caught.value) == (
        f"`x` has dtype {x.dtype.name}, which {backend} lacks; convert it with astype, or use "
        "another backend."
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_is_no_error(backend: str) -> None:
    """NaN in the data is the user's: it goes through."""
    g = dif.gradient(
        lambda x: dif.namespace(x).sum(x * x), np.array([1.0, np.nan]), backend=backend
    )
    assert np.isnan(g[1])
