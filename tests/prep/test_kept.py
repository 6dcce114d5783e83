"""Functions that write into a constant: refused where they are evaluated more than once."""

from typing import Any

import numpy as np
import pytest
from helpers import Counted

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
MESSAGE = (
    "`f` writes into the constant argument {}, so that each of its evaluations sees another "
    "constant; copy it first, or pass memory to scribble into as `diffface.Cache` to a function "
    "made by `diffface.in_place`."
)
BACKENDS = pytest.mark.parametrize(
    "backend",
    [
        "numpy",
        "complex-step",
        dif.FiniteDifferences("richardson"),
        dif.SecondOrder("numpy", "autograd"),
        dif.SecondOrder("numpy", "complex-step"),
    ],
    ids=str,
)


def doubling(x: Any, c: Any) -> Any:
    c *= 2
    return (c * x * x).sum()


def refused(name: str = "c") -> Any:
    class Refused:
        def __enter__(self) -> None:
            self.caught = pytest.raises(dif.NotDifferentiableError)
            self.info = self.caught.__enter__()

        def __exit__(self, *error: object) -> bool:
            found = self.caught.__exit__(*error)
            assert str(self.info.value) == MESSAGE.format(name)
            return bool(found)

    return Refused()


@BACKENDS
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("operator", ["hessian", "hvp"])
def test_second_order(operator: str, prepared: bool, backend: Any) -> None:
    c = np.ones(3)
    seeds = {"tangents": X} if operator == "hvp" else {}
    with refused():
        if prepared:
            call = getattr(dif, f"prepare_{operator}")(doubling, X, dif.Const(c), backend=backend)
            call(X, c, **seeds)
        else:
            getattr(dif, operator)(doubling, X, dif.Const(c), backend=backend, **seeds)
    np.testing.assert_array_equal(c, np.ones(3))


def test_over_a_graph_that_writes_nothing() -> None:
    """Unprepared, torch writes; its graph computes the same without."""
    c = np.ones(3)
    backend = dif.SecondOrder("numpy", "torch")
    with refused():
        dif.hessian(doubling, X, dif.Const(c), backend=backend)
    prepared = dif.prepare_hessian(doubling, X, dif.Const(c), backend=backend)
    for _ in range(2):
        np.testing.assert_allclose(prepared(X, c), 4 * np.eye(3), atol=1e-6)
    np.testing.assert_array_equal(c, np.ones(3))


@pytest.mark.parametrize("backend", ["numpy", "complex-step", dif.FiniteDifferences("forward")])
@pytest.mark.parametrize("operator", ["gradient", "value_and_jacobian", "pushforward", "pullback"])
@pytest.mark.parametrize("lazy", [False, True])
def test_first_order(operator: str, lazy: bool, backend: Any) -> None:
    """Wherever it happens: unprepared, or prepared by a call that wrote nothing."""
    seeds: dict[str, Any] = {"pushforward": {"tangents": X}, "pullback": {"cotangents": 1.0}}.get(
        operator, {}
    )
    with refused():
        getattr(dif, operator)(doubling, X, dif.Const(np.ones(3)), backend=backend, **seeds)

    def later(x: Any, c: Any) -> Any:
        return doubling(x, c) if c[0] > 0 else (c * x).sum()

    example = () if lazy else (X, dif.Const(-np.ones(3)))
    call = getattr(dif, f"prepare_{operator}")(later, *example, backend=backend)
    call(X, dif.Const(-np.ones(3)), **seeds)
    with refused():
        call(X, dif.Const(np.ones(3)), **seeds)


@pytest.mark.parametrize("backend", ["numpy", "complex-step"])
def test_at_a_fixed_point(backend: str) -> None:
    c = np.ones(3)
    with refused():
        dif.linearize(doubling, X, dif.Const(c), backend=backend)
    with refused():
        dif.vjp(doubling, X, dif.Const(c), backend=backend)
    np.testing.assert_array_equal(c, np.ones(3))


def test_anywhere_among_the_constants() -> None:
    tree = {"a": [1.0, np.ones(3)], "b": np.zeros(2)}
    with refused("p"):
        dif.gradient(lambda x, k, p: doubling(x, p["a"][1]) * k, X, dif.Const(2.0), dif.Const(tree))
    with refused("p"):
        active = {"x": X, "c": dif.Const(np.ones(3))}
        dif.gradient(lambda p: doubling(p["x"], p["c"]), active)
    with refused("c"):
        dif.gradient(lambda x, **k: doubling(x, k["c"]), X, kwargs={"c": np.ones(3)})


def test_what_stays_the_same_is_no_write() -> None:
    """NaN is NaN; and `f` is evaluated no more often for it."""

    def f(x: Any, c: Any) -> Any:
        c[:] = c
        return np.sum(x[1:] * c[1:])

    counted = Counted(f)
    c = np.array([np.nan, 2.0, 3.0])
    np.testing.assert_allclose(dif.gradient(counted, X, dif.Const(c)), [0.0, 2.0, 3.0], atol=1e-9)
    assert counted.count == 6
