"""Arrays in, same kind out: kind, dtype, device, and memory that is the caller's alone."""

from typing import Any

import numpy as np
import pytest
from helpers import (
    AD,
    EVERY_OPERATOR,
    EVERYWHERE,
    KINDS,
    NUMBER,
    PREPARED,
    SCALAR,
    expected,
    kind,
    make,
    run,
    same,
    tolerance,
)

import diffface as dif

VALUES = [1.0, 2.0, 3.0]


def values(operator: str) -> Any:
    return 2.0 if operator in NUMBER else VALUES


def check_kind(part: Any, x: Any, of: str) -> None:
    """ArrayLibrary and dtype of ``x``; a value of shape () from NumPy may be a NumPy scalar."""
    if of == "numpy" and not isinstance(part, np.ndarray):
        assert isinstance(part, np.generic)
    else:
        assert kind(part) == of
    assert part.dtype == x.dtype


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("of", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@EVERY_OPERATOR
def test_kind_and_dtype(operator: str, dtype: str, of: str, prepared: bool, backend: str) -> None:
    x = make(of, values(operator), dtype)
    parts = run(operator, x, backend, prepared)
    rtol = tolerance(operator, backend, dtype)
    for part, right in zip(parts, expected(operator, values(operator)), strict=True):
        check_kind(part, x, of)
        same(part, right, rtol)
    if of == "torch":
        assert all(part.device == x.device and not part.requires_grad for part in parts)
    if of == "jax":
        assert all(part.sharding == x.sharding for part in parts)


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", NUMBER + SCALAR)
@pytest.mark.parametrize("number", [float, np.float64, np.float32])
def test_numbers(operator: str, number: Any, prepared: bool, backend: str) -> None:
    """A Python float gives Python floats, a NumPy scalar NumPy scalars."""
    parts = run(operator, number(2.0), backend, prepared)
    rtol = tolerance(operator, backend, "float32" if number is np.float32 else "float64")
    for part, right in zip(parts, expected(operator, 2.0), strict=True):
        assert type(part) is number
        same(part, right, rtol)


@EVERYWHERE
@PREPARED
def test_a_number_among_arrays(prepared: bool, backend: str) -> None:
    def f(t: Any, x: Any) -> Any:
        return dif.namespace(x).sum(t * x * x)

    t, x = 3.0, np.array(VALUES, np.float32)
    call = dif.prepare_gradient(f, t, x, backend=backend) if prepared else None
    dt, dx = call(t, x) if call else dif.gradient(f, t, x, backend=backend)
    assert type(dt) is float
    assert dx.dtype == np.float32
    same((dt, dx), (14.0, 6 * x), 2e-2)
    dt, dx = dif.gradient(f, t, make("torch", VALUES), backend=backend)
    assert type(dt) is float
    assert kind(dx) == "torch"


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", ["gradient", "hessian", "jacobian", "pullback", "hvp"])
def test_mixed_kinds(operator: str, prepared: bool, backend: str) -> None:
    """Every argument gets its own kind back, whoever computes."""
    args = {"n": make("numpy", VALUES), "j": make("jax", VALUES), "t": make("torch", VALUES)}

    def f(p: Any) -> Any:
        xp = dif.namespace(p["n"])
        return xp.sum(p["n"] * p["j"] * p["t"])

    seeds = {"hvp": {"tangents": args}, "pullback": {"cotangents": np.float64(1.0)}}
    options = seeds.get(operator, {})
    if prepared:
        result = getattr(dif, f"prepare_{operator}")(f, args, backend=backend)(args, **options)
    else:
        result = getattr(dif, operator)(f, args, backend=backend, **options)
    rows = list(result.values()) if operator == "hessian" else [result]
    for row in rows:
        for name, of in (("n", "numpy"), ("j", "jax"), ("t", "torch")):
            assert kind(row[name]) == of


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("shape", [(0,), (1,), (), (2, 0, 3), (1, 1)], ids=str)
@pytest.mark.parametrize("of", KINDS)
def test_edge_sizes(of: str, shape: tuple[int, ...], prepared: bool, backend: str) -> None:
    x = make(of, np.full(shape, 2.0))
    for operator in ("gradient", "hessian", "jacobian", "hvp", "pushforward", "pullback"):
        (part,) = run(operator, x, backend, prepared)
        same(
            part,
            expected(operator, np.full(shape, 2.0))[0],
            tolerance(operator, backend, "float64"),
        )
        if shape:
            check_kind(part, x, of)


@EVERYWHERE
def test_half_precision(backend: str) -> None:
    x = np.array(VALUES, np.float16)
    g = dif.gradient(lambda x: dif.namespace(x).sum(x * x), x, backend=backend)
    assert g.dtype == np.float16
    same(g, 2 * x, 0.1)


@pytest.mark.parametrize("backend", AD)
def test_float32_is_computed_in_float32(backend: str) -> None:
    """Nothing is widened on the way: 2**-30 is lost beside 1."""
    seen = []

    def f(x: Any) -> Any:
        seen.append(str(x.dtype).removeprefix("torch."))
        return dif.namespace(x).sum((x + 2.0**-30 - 1.0) * x)

    g = dif.gradient(f, np.ones(2, np.float32), backend=backend)
    assert g.dtype == np.float32
    assert g.tolist() == [1.0, 1.0]
    assert set(seen) == {"float32"}
