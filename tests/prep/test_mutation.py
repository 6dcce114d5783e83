"""Functions that write to arrays, capture them, draw random numbers, or return one array twice."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from helpers import AD, EVERYWHERE, FIRST, make, plain, same
from value_dependent import POINTS, WEIGHTS, prepare, unit

import diffface as dif


@EVERYWHERE
@pytest.mark.parametrize("prepared", [False, True])
def test_f_that_overwrites_its_argument(prepared: bool, backend: str) -> None:
    """``x *= 2`` must not reach the caller's array, nor the next evaluation."""

    def f(x: Any) -> Any:
        x *= 2.0
        return dif.namespace(x).sum(x**2)

    for operator in ("value_and_gradient", "value_and_pushforward", "value_and_pullback"):
        x = POINTS[0].copy()
        seeds = {"push": {"tangents": WEIGHTS}, "pull": {"cotangents": 1.0}}.get(
            operator[10:14], {}
        )
        try:
            if prepared:
                call = prepare(f, x, backend, operator)
                y, dy = call(x, **seeds)
            else:
                y, dy = getattr(dif, operator)(f, x, backend=backend, **seeds)
        except (RuntimeError, dif.DifffaceError):
            assert backend == "torch"  # refuses to overwrite a leaf
            same(x, POINTS[0])
            continue
        same(x, POINTS[0])
        same(y, 4 * np.sum(x**2))
        same(dy, 8 * np.sum(x * WEIGHTS) if "push" in operator else 8 * x, 1e-7)


@dataclass
class Options:
    """A container that functions write to."""

    names: list[float]
    scale: float = 2.0


def popped(c: Any) -> Any:
    return c.pop("scale", 1.0)


def appended(c: Any) -> Any:
    c.append(1.0)
    return float(len(c))


def counted(c: Any) -> Any:
    c["inner"]["calls"] = c["inner"]["calls"] + 1.0
    return c["inner"]["calls"]


def attributed(c: Any) -> Any:
    c.scale = c.scale + 1.0
    c.names.append(1.0)
    return c.scale + len(c.names)


WRITTEN = {
    "popped": (popped, lambda: {"scale": 3.0}, 3.0),
    "appended": (appended, lambda: [1.0, "a"], 3.0),
    "counted": (counted, lambda: {"inner": {"calls": 0.0}}, 1.0),
    "attributed": (attributed, lambda: Options([1.0]), 5.0),
}


@EVERYWHERE
@pytest.mark.parametrize("operator", ["gradient", "hessian"])
@pytest.mark.parametrize("name", WRITTEN)
def test_containers_that_f_writes_to_are_new_at_every_evaluation(
    name: str, operator: str, backend: str
) -> None:
    write, make_container, factor = WRITTEN[name]

    def f(x: Any, c: Any) -> Any:
        return write(c) * dif.namespace(x).sum(x**2)

    def of_a_leaf(tree: Any) -> Any:
        return f(tree["x"], tree["c"])

    x, op = POINTS[0], getattr(dif, operator)
    expected = factor * (2 * x if operator == "gradient" else 2 * np.eye(3))
    rtol = FIRST[backend] if operator == "gradient" else 1e-4
    c = make_container()
    same(op(f, x, dif.Const(c), backend=backend), expected, rtol)
    same(op(f, x, kwargs={"c": c}, backend=backend), expected, rtol)
    prepared = getattr(dif, f"prepare_{operator}")(f, x, dif.Const(c), backend=backend)
    for _ in range(2):
        same(prepared(x, c), expected, rtol)
    leaf = op(of_a_leaf, {"x": x, "c": dif.Const(c)}, backend=backend)["x"]
    same(leaf if operator == "gradient" else leaf["x"], expected, rtol)
    assert c == make_container()


@pytest.mark.parametrize("operator", ["gradient", "hessian", "pushforward"])
def test_in_place_writes_on_torch(operator: str) -> None:
    import torch

    def f(x: Any) -> Any:
        y = x.clone()
        y[0] = y[1] * 2
        y.mul_(x)
        z = torch.zeros_like(x)
        z[1:] += y[1:]
        z[torch.tensor([0, 2])] = y[:2] ** 2
        return (z * y).sum()

    prepared = prepare(f, POINTS[0], "torch", operator)
    seeds = {"tangents": WEIGHTS} if operator == "pushforward" else {}
    for point in POINTS:
        eager = getattr(dif, operator)(f, point, backend="torch", **seeds)
        same(prepared(point, **seeds), eager)
    h = 1e-6
    t = [f(make("torch", POINTS[1] + s * h * WEIGHTS)).item() for s in (1, -1)]
    dy = dif.pushforward(f, POINTS[1], tangents=WEIGHTS, backend="torch")
    same(dy, (t[0] - t[1]) / (2 * h), 1e-7)


@EVERYWHERE
def test_captured_arrays_are_frozen(backend: str) -> None:
    """All of them, also where a part was computed at preparation; finite differences look anew."""
    data = WEIGHTS.copy()
    captured = make("torch", data) if backend == "torch" else data

    def f(x: Any) -> Any:
        xp = dif.namespace(x)
        return xp.sum(captured * x) + xp.sum(captured**2 * x) + x[0] * captured[2] * 3.0

    g = prepare(f, POINTS[0], backend)
    before = WEIGHTS + WEIGHTS**2 + unit(0) * 15
    same(g(POINTS[1]), before, 10 * FIRST[backend])
    captured[:] = 0.0
    if g.strategy == "stencil":
        same(g(POINTS[1]), np.zeros(3), atol=1e-6)
    else:
        same(g(POINTS[1]), before)
    same(dif.gradient(f, POINTS[0], backend=backend), np.zeros(3), atol=1e-6)


def test_random_functions_on_torch() -> None:
    """Drawn anew at every call, or run eagerly: never one draw for all calls in silence."""
    import torch

    def f(x: Any) -> Any:
        return (torch.rand(3, dtype=x.dtype) * x).sum()

    g = prepare(f, POINTS[0], "torch")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = [plain(g(POINTS[0])) for _ in range(3)]
        assert not np.array_equal(draws[0], draws[1])
        torch.manual_seed(0)
        assert np.array_equal(plain(g(POINTS[0])), draws[0])


@pytest.mark.parametrize("backend", AD)
def test_several_outputs_that_are_one_array(backend: str) -> None:
    def f(x: Any) -> Any:
        y = x * 2.0
        return {"a": y, "b": y, "c": x}

    p = prepare(f, POINTS[0], backend, "value_and_pushforward")
    y, dy = p(POINTS[1], tangents=WEIGHTS)
    arrays = [*y.values(), *dy.values()]
    for i, a in enumerate(arrays):
        a += i
    same(list(y.values()), [2 * POINTS[1], 2 * POINTS[1] + 1, POINTS[1] + 2])
    same(list(dy.values()), [2 * WEIGHTS + 3, 2 * WEIGHTS + 4, WEIGHTS + 5])
