"""What `f` returns besides its value comes back as plain values, last."""

from typing import Any

import numpy as np
import pytest
from helpers import EVERYWHERE, KINDS, PREPARED, kind, make, same

import diffface as dif

A, B, C = np.array([1.0, 2.0]), np.array([3.0, 5.0]), np.array([0.5, 7.0])


def with_aux(x: Any) -> Any:
    xp = dif.namespace(x)
    inner = {"array": x * 2, "nested": [(x[0], "text")], "n": 3, "none": None, "f": 0.5}
    return xp.sum(x * x), inner


@EVERYWHERE
@pytest.mark.parametrize("of", KINDS)
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize(
    "operator", ["gradient", "hessian", "jacobian", "hvp", "pushforward", "pullback"]
)
def test_aux_is_plain(operator: str, prepared: bool, of: str, backend: str) -> None:
    x = make(of, A)
    seeds = {
        "hvp": {"tangents": x}, "pushforward": {"tangents": x},
        "pullback": {"cotangents": make(of, 1.0)},
    }.get(operator, {})  # fmt: skip
    if prepared:
        call = getattr(dif, f"prepare_{operator}")(
            with_aux, make(of, B), backend=backend, has_aux=True
        )
        result = call(x, **seeds)
    else:
        result = getattr(dif, operator)(with_aux, x, backend=backend, has_aux=True, **seeds)
    assert isinstance(result, tuple)
    assert len(result) == 2
    aux = result[1]
    assert list(aux) == ["array", "nested", "n", "none", "f"]
    same(aux["array"], 2 * A)
    assert kind(aux["array"]) == of
    assert aux["array"].dtype == x.dtype
    assert kind(aux["nested"][0][0]) in (of, "float64")
    assert float(aux["nested"][0][0]) == 1.0
    assert aux["nested"][0][1] == "text"
    assert (aux["n"], aux["none"], aux["f"]) == (3, None, 0.5)
    assert type(aux["n"]) is int
    assert type(aux["f"]) is float
    if of == "torch":
        assert not aux["array"].requires_grad
        aux["array"] += 1  # writable, and nobody else's
    if of == "numpy":
        assert aux["array"].flags.writeable
    same(x, A)


@EVERYWHERE
def test_aux_comes_last(backend: str) -> None:
    y, g, aux = dif.value_and_gradient(with_aux, A, has_aux=True, backend=backend)
    same([y, g, aux["array"]], [np.sum(A * A), 2 * A, 2 * A], 1e-7)
    y, g, h, aux = dif.value_gradient_and_hessian(with_aux, A, has_aux=True, backend=backend)
    same([y, g, h, aux["array"]], [np.sum(A * A), 2 * A, 2 * np.eye(2), 2 * A], 1e-5)
    y, dy, ddy, aux = dif.value_derivative_and_second_derivative(
        lambda t: (t**3, "aux"), 2.0, has_aux=True, backend=backend
    )
    same([y, dy, ddy, aux], [8.0, 12.0, 12.0, "aux"], 1e-5)


@EVERYWHERE
@pytest.mark.parametrize("prepared", [False, True])
def test_aux_that_passes_arguments_on_does_not_alias_them(prepared: bool, backend: str) -> None:
    x, c = A.copy(), C.copy()

    def f(x: Any, c: Any) -> Any:
        return dif.namespace(x).sum(x * c), (x, c)

    if prepared:
        g, (first, second) = dif.prepare_gradient(
            f, x, dif.Const(c), backend=backend, has_aux=True
        )(x, c)
    else:
        g, (first, second) = dif.gradient(f, x, dif.Const(c), backend=backend, has_aux=True)
    for array in (g, first, second):
        assert not np.shares_memory(array, x)
        assert not np.shares_memory(array, c)
        array[:] = 0
    same([x, c], [A, C])


@PREPARED
@pytest.mark.parametrize("operator", ["gradient", "jacobian", "hessian"])
@pytest.mark.parametrize("backend", ["numpy", "complex-step"])
def test_numbers_are_those_at_the_point_and_of_no_stencil(
    backend: str, operator: str, prepared: bool
) -> None:
    f = lambda x: (np.sum(x**2), {"last": float(np.real(x[-1])), "n": x.size, "big": 2**60 + 1})
    for x in (np.array([1.0, 3.0]), np.array([0.5, 2.0])):
        if prepared:
            g = getattr(dif, f"prepare_{operator}")(f, x + 1.0, backend=backend, has_aux=True)
            aux = g(x)[-1]
        else:
            aux = getattr(dif, operator)(f, x, backend=backend, has_aux=True)[-1]
        assert aux == {"last": x[-1], "n": 2, "big": 2**60 + 1}
        assert [type(v) for v in aux.values()] == [float, int, int]


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_aux_that_no_record_can_follow_is_evaluated_at_every_call(backend: str) -> None:
    count = 0

    class Note:
        def __init__(self, value: Any) -> None:
            self.value = value

    def counting(x: Any) -> Any:
        nonlocal count
        count += 1
        return dif.namespace(x).sum(x * x), {"x": x, "count": count}

    def holding(x: Any) -> Any:
        return dif.namespace(x).sum(x * x), Note(x * 2)

    def naming(x: Any) -> Any:
        nonlocal count
        count += 1
        return dif.namespace(x).sum(x * x), {f"call {count}": x}

    for f in counting, holding, naming:
        with pytest.warns(dif.PreparationWarning, match="aux has something else than arrays that"):
            gradient = dif.prepare_gradient(f, B, backend=backend, has_aux=True)
        assert gradient.strategy == "eager"
        same(gradient(A)[0], 2 * A)
    constant = lambda x: (dif.namespace(x).sum(x * x), (Note(3), len(x), "text", x.shape))
    prepared = dif.prepare_gradient(constant, B, backend=backend, has_aux=True)
    assert prepared.strategy != "eager"
