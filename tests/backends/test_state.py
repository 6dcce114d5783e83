"""No global state of any framework is touched, at import or by a call."""

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, KINDS, OPERATORS, ROOT, cube_sum, expected, make, run, same

import diffface as dif

X = np.array([1.0, 2.0, 3.0])


def snapshot() -> dict[str, Any]:
    """Everything that a library might leave changed."""
    import jax
    import torch

    return {
        "x64": jax.config.jax_enable_x64,
        "jax precision": jax.config.jax_default_matmul_precision,
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "threads": torch.get_num_threads(),
        "interop": torch.get_num_interop_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "device": torch.get_default_device(),
        "errors": np.geterr(),
        "print": str(np.get_printoptions()),
        "numpy seed": str(np.random.get_state(legacy=False)),  # noqa: NPY002 (what is global)
        "torch seed": torch.get_rng_state().tolist(),
        "filters": list(warnings.filters),
        "recursion": sys.getrecursionlimit(),
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("of", KINDS)
def test_calls_leave_no_trace(of: str, backend: str) -> None:
    x = make(of, X)
    # Libraries set themselves up at their first calls: hessian makes torch import sympy.
    for operator in ("gradient", "hessian"):
        run(operator, x, backend)
    before = snapshot()
    for operator in OPERATORS:
        if "derivative" not in operator:
            run(operator, x, backend)
            run(operator, x, backend, prepared=True)
    assert snapshot() == before


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("prepared", [False, True])
def test_failing_calls_leave_no_trace(prepared: bool, backend: str) -> None:
    def fail(x: Any) -> Any:
        raise RuntimeError("no")

    before = snapshot()
    for operator in ("gradient", "hessian", "jacobian", "hvp", "pushforward", "pullback"):
        with pytest.raises(RuntimeError, match=r"^no"):
            run(operator, X, backend, prepared, fail)
    assert snapshot() == before
    # and the backend still works
    same(dif.gradient(cube_sum, X, backend=backend), 3 * X**2, 1e-8)


def test_settings_of_the_caller_hold() -> None:
    """NumPy's error state and torch's default dtype are the caller's within f, too."""
    import torch

    seen = []

    def f(x: Any) -> Any:
        seen.append((np.geterr()["divide"], torch.get_default_dtype()))
        return cube_sum(x)

    torch.set_default_dtype(torch.float16)
    try:
        with np.errstate(divide="raise"):
            for backend in BACKENDS:
                seen.clear()
                dif.gradient(f, X, backend=backend)
                # Complex steps check themselves nearby, where f may not be defined.
                assert seen[0] == ("raise", torch.float16)
                assert {dtype for _, dtype in seen} == {torch.float16}
    finally:
        torch.set_default_dtype(torch.float32)


IMPORT = """
import sys
import numpy, optree
before = set(sys.modules)
import warnings
filters = list(warnings.filters)
import diffface
loaded = set(sys.modules) - before
for library in ("jax", "torch", "autograd", "scipy", "array_api_compat"):
    assert library not in loaded, library
assert warnings.filters == filters
assert diffface.gradient(lambda x: (x * x).sum(), __import__("numpy").ones(2)).tolist()
for library in ("jax", "torch", "autograd", "scipy"):
    assert library not in sys.modules, library
"""

X64 = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np
import jax
import diffface as dif
jax.config.update("jax_enable_x64", sys.argv[1] == "1")
from helpers import expected, make, run, same
OPERATORS = ("value_gradient_and_hessian", "value_and_jacobian", "gradient_and_hvp",
             "value_and_pullback", "value_derivative_and_second_derivative")
for operator in OPERATORS:
    for dtype, rtol in (("float64", 1e-13), ("float32", 1e-5)):
        for prepared in (False, True):
            for of in ("numpy", "jax"):
                values = 2.1 if "derivative" in operator else [1.1, 2.1, 3.1]
                x = make(of, values, dtype)
                assert x.dtype == dtype
                parts = run(operator, x, "jax", prepared)
                for part, right in zip(parts, expected(operator, values)):
                    assert part.dtype == dtype, (operator, dtype, prepared, of, part.dtype)
                    same(part, right, rtol)
assert type(dif.gradient(lambda t: t ** 3, 2.1, backend="jax")) is float
assert abs(dif.gradient(lambda t: t ** 3, 2.1, backend="jax") - 3 * 2.1**2) < 1e-14
assert jax.config.jax_enable_x64 == (sys.argv[1] == "1")
assert jax.numpy.ones(1).dtype == ("float64" if sys.argv[1] == "1" else "float32")
"""


def script(code: str, *args: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args],
        cwd=ROOT / "tests", capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_import_touches_nothing() -> None:
    script(IMPORT)


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["0", "1"])
def test_float64_on_jax_whatever_the_flag_says(flag: str) -> None:
    script(X64, flag)


@pytest.mark.parametrize("first", [False, True])
def test_a_prepared_call_under_either_flag(first: bool) -> None:
    """Prepared under one setting of the flag and called under the other."""
    import jax

    for dtype, rtol in (("float64", 1e-13), ("float32", 1e-5)):
        x = X.astype(dtype)
        with jax.enable_x64(first):
            g = dif.prepare_value_gradient_and_hessian(cube_sum, x, backend="jax")
        for flag in (True, False, True):
            with jax.enable_x64(flag):
                parts = g(x)
            for part, right in zip(parts, expected("value_gradient_and_hessian", X), strict=True):
                assert part.dtype == dtype
                same(part, right, rtol)


def test_constants_keep_their_precision_on_jax() -> None:
    """0.1 as float32 would be off by 1e-9."""

    def f(x: Any, a: Any, b: Any) -> Any:
        return (a * b * x).sum()

    b = np.array([0.1, 0.3, 0.7])
    for g in (
        lambda: dif.gradient(f, X, dif.Const(0.1), dif.Const(b), backend="jax"),
        lambda: dif.prepare_gradient(f, X, dif.Const(2.0), dif.Const(X), backend="jax")(X, 0.1, b),
    ):
        same(g(), 0.1 * b, 1e-15)
    # A constant of 64 bits does not widen a result of 32.
    g32 = dif.gradient(f, X.astype("f4"), dif.Const(0.1), dif.Const(b), backend="jax")
    assert g32.dtype == np.float32
