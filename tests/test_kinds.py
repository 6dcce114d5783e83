"""Arrays in, same kind out: kind, dtype, device, and memory that is the caller's alone."""

from typing import Any

import numpy as np
import pytest
from helpers import (
    AD,
    BACKENDS,
    FIRST,
    KINDS,
    NUMBER,
    OPERATORS,
    SCALAR,
    SECOND,
    VECTOR,
    cube_sum,
    expected,
    kind,
    make,
    plain,
    run,
    same,
)

import diffface as dif

EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)
PREPARED = pytest.mark.parametrize("prepared", [False, True], ids=["eager", "prepared"])
EVERY_OPERATOR = pytest.mark.parametrize("operator", OPERATORS)
VALUES = [1.0, 2.0, 3.0]


def values(operator: str) -> Any:
    return 2.0 if operator in NUMBER else VALUES


def tolerance(operator: str, backend: str, dtype: str) -> float:
    second = "hessian" in operator or "hvp" in operator or "second" in operator
    if dtype == "float64":
        return (SECOND if second else FIRST)[backend] * 10
    if backend == "numpy" or (backend == "complex-step" and second):
        return 0.3 if second else 2e-2
    return 1e-5


def check_kind(part: Any, x: Any, of: str) -> None:
    """Kind and dtype of ``x``; a value of shape () from NumPy may be a NumPy scalar."""
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
@EVERY_OPERATOR
@pytest.mark.parametrize("of", ["numpy", "torch"])
def test_results_are_fresh(operator: str, of: str, prepared: bool, backend: str) -> None:
    """Writable, C-contiguous, and no part shares memory with an argument or another part."""
    x = make(of, values(operator))
    parts = run(operator, x, backend, prepared)
    arrays = [plain(x)] + [plain(p) for p in parts if not isinstance(p, np.generic)]
    for i, array in enumerate(arrays[1:], 1):
        assert array.flags.writeable
        assert array.flags.c_contiguous
        for other in arrays[:i]:
            assert not np.shares_memory(array, other)
        array[...] = -1
    same(x, np.array(values(operator)))


# Functions that hand their argument, or a view of it, through.
VIEWS = {
    "identity": lambda x: x,
    "transpose": lambda x: dif.namespace(x).moveaxis(x, 0, 1),
    "slice": lambda x: x[1:, ::2],
    "reshape": lambda x: dif.namespace(x).reshape(x, (-1,)),
    "tree": lambda x: {"a": x, "b": [x, x[0]]},
}


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", VECTOR)
@pytest.mark.parametrize("view", VIEWS)
def test_results_of_views_are_fresh(view: str, operator: str, prepared: bool, backend: str) -> None:
    f, x = VIEWS[view], np.arange(6.0).reshape(2, 3)
    given = x.copy()
    seeds: dict[str, Any] = {}
    if operator.endswith("pushforward"):
        seeds["tangents"] = v = np.ones((2, 3))
    elif operator.endswith("pullback"):
        y = f(np.ones((2, 3)))
        seeds["cotangents"] = v = {"a": y, "b": y} if False else y
    if prepared:
        result = getattr(dif, f"prepare_{operator}")(f, x, backend=backend)(x, **seeds)
    else:
        result = getattr(dif, operator)(f, x, backend=backend, **seeds)
    arrays = _arrays(result)
    inputs = [x, *_arrays(list(seeds.values()))]
    for i, array in enumerate(arrays):
        assert array.flags.writeable
        assert array.flags.c_contiguous
        for other in arrays[:i] + inputs:
            assert not np.shares_memory(array, other)
    same(x, given)


def _arrays(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return _arrays(list(tree.values()))
    if isinstance(tree, list | tuple):
        return [a for child in tree for a in _arrays(child)]
    return [tree]


LAYOUTS: dict[str, Any] = {
    "strided": np.repeat(VALUES, 2)[::2],
    "reversed": np.array(VALUES[::-1])[::-1],
    "column": np.array([VALUES, VALUES]).T[:, 0],
    "read-only": np.frombuffer(np.array(VALUES).tobytes()),
    "swapped": np.array(VALUES, ">f8"),
    "unaligned": np.frombuffer(b"." + np.array(VALUES).tobytes(), offset=1),
}


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", ["gradient", "hessian", "jacobian", "hvp", "pullback"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(layout: str, operator: str, prepared: bool, backend: str) -> None:
    x = LAYOUTS[layout]
    before = x.copy()
    (part,) = run(operator, x, backend, prepared)
    assert part.dtype == np.float64
    same(part, expected(operator, VALUES)[0], tolerance(operator, backend, "float64"))
    assert part.flags.writeable
    assert np.array_equal(x, before)


@EVERYWHERE
def test_a_prepared_call_takes_any_layout(backend: str) -> None:
    """Strides are no part of the signature."""
    g = dif.prepare_gradient(cube_sum, np.array(VALUES), backend=backend)
    for name, x in LAYOUTS.items():
        if name != "swapped":
            same(g(x), 3 * np.array(VALUES) ** 2, FIRST[backend])


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


@pytest.mark.parametrize("prepared", [False, True])
def test_bfloat16_of_the_framework_itself(prepared: bool) -> None:
    import jax.numpy as jnp
    import torch

    for x, backend in (
        (torch.tensor(VALUES, dtype=torch.bfloat16), "torch"),
        (jnp.asarray(VALUES, jnp.bfloat16), "jax"),
    ):
        (g,) = run("gradient", x, backend, prepared)
        assert g.dtype == x.dtype
        assert [float(a) for a in g] == [3.0, 12.0, 27.0]


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", ["gradient", "value_gradient_and_hessian", "jacobian", "hvp"])
def test_tensors_that_require_grad(operator: str, prepared: bool, backend: str) -> None:
    """They are values like others: results are detached, and `.grad` stays empty."""
    import torch

    x = make("torch", VALUES).requires_grad_()
    parts = run(operator, x, backend, prepared)
    for part, right in zip(parts, expected(operator, VALUES), strict=True):
        assert not part.requires_grad
        assert part.grad_fn is None
        same(part, right, tolerance(operator, backend, "float64"))
    assert x.requires_grad
    assert x.grad is None
    middle = x * 1.0  # no leaf
    (g,) = run("gradient", middle, backend, prepared)
    assert not g.requires_grad
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    g = dif.gradient(
        lambda x, w: dif.namespace(x).sum(x * w), x, dif.Const(weight), backend=backend
    )
    assert not g.requires_grad
    same(g, np.ones(3), 1e-7)


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("operator", ["gradient", "value_gradient_and_hessian", "jacobian", "hvp"])
@pytest.mark.parametrize("mode", ["no_grad", "inference_mode"])
@pytest.mark.parametrize("inside", [True, False], ids=["made inside", "made outside"])
def test_torch_modes_of_the_caller(
    inside: bool, mode: str, operator: str, prepared: bool, backend: str
) -> None:
    import torch

    x = make("torch", VALUES)
    with getattr(torch, mode)():
        if inside:
            x = x * 1.0
        enabled = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        parts = run(operator, x, backend, prepared)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == enabled
    for part, right in zip(parts, expected(operator, VALUES), strict=True):
        same(part, right, tolerance(operator, backend, "float64"))


def test_prepared_outside_and_called_under_inference_mode() -> None:
    import torch

    x = make("torch", VALUES)
    for backend in BACKENDS:
        g = dif.prepare_gradient(cube_sum, x, backend=backend)
        with torch.inference_mode():
            same(g(x), 3 * plain(x) ** 2, FIRST[backend])
            same(g(x * 1.0), 3 * plain(x) ** 2, FIRST[backend])
        same(g(x), 3 * plain(x) ** 2, FIRST[backend])


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
