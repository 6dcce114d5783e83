"""What cannot be recorded: one warning that names the line, or a refusal."""

import inspect
import warnings
from typing import Any

import autograd.extend
import autograd.numpy as anp
import numpy as np
import pytest
import torch
from helpers import AD, same
from value_dependent import (
    CASES,
    POINTS,
    branch,
    caught,
    largest,
    loop,
    python_sorted,
    where,
)

import diffface as dif


def line_of(f: Any, marker: str) -> str:
    lines, start = inspect.getsourcelines(f)
    number = next(i for i, line in enumerate(lines) if marker in line)
    return f"{inspect.getsourcefile(f)}:{start + number}"


@pytest.mark.parametrize("backend", AD)
@pytest.mark.parametrize(
    ("f", "marker"),
    [
        (branch, "if xp.sum"),
        (loop, "while y"),
        (largest, "int("),
        (python_sorted, "= sorted("),
        (caught, "bool("),
    ],
)
def test_one_warning_names_the_line(f: Any, marker: str, backend: str) -> None:
    with pytest.warns(dif.PreparationWarning) as warned:
        g = dif.prepare_gradient(f, POINTS[0], backend=backend)
    assert len(warned) == 1
    message = str(warned[0].message)
    assert message.startswith(f"`f` cannot be recorded, at {line_of(f, marker)} in {f.__name__}")
    assert message.endswith(
        ". It runs eagerly at every call: right, but slower. Move the decision on values into "
        "`xp.where`, or pass fallback='error'."
    )
    assert warned[0].filename == __file__  # where the user prepared it
    assert g.strategy == "eager"
    assert g.native is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for point in POINTS:
            g(point)


@pytest.mark.parametrize("backend", AD)
@pytest.mark.parametrize(("f", "marker"), [(branch, "if xp.sum"), (loop, "while y")])
def test_fallback_error(f: Any, marker: str, backend: str) -> None:
    with pytest.raises(dif.UnsupportedOperatorError) as caught:
        dif.prepare_gradient(f, POINTS[0], backend=backend, fallback="error")
    message = str(caught.value)
    assert message.startswith(f"`f` cannot be recorded, at {line_of(f, marker)} in {f.__name__}")
    assert message.endswith("Prepare with fallback='eager' to run it anew at every call.")
    g = dif.prepare_gradient(where, POINTS[0], backend=backend, fallback="error")
    assert g.strategy != "eager"
    lazy = dif.prepare_gradient(f, backend=backend, fallback="error")
    with pytest.raises(dif.UnsupportedOperatorError):
        lazy(POINTS[0])


@pytest.mark.parametrize("backend", AD)
def test_lazy_preparations_warn_at_the_first_call(backend: str) -> None:
    g = dif.prepare_gradient(branch, backend=backend)
    with pytest.warns(dif.PreparationWarning) as caught:
        g(POINTS[0])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    same(g(POINTS[1]), CASES["branch"].gradient(POINTS[1]))


def fickle() -> Any:
    """A function whose own primitive returns another shape once its argument is large."""

    @autograd.extend.primitive
    def head(x: Any) -> Any:
        return x[: 2 if x[0] > 10 else 3]

    def pad(g: Any, x: Any) -> Any:
        return anp.concatenate((g, anp.zeros(len(x) - len(g))))

    autograd.extend.defvjp(head, lambda ans, x: lambda g: pad(g, x))
    return lambda x: anp.sum(head(x) ** 2)


SMALL, LARGE = np.array([1.0, 2.0, 3.0, 4.0]), np.array([11.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("out", [None, np.empty(4)])
def test_a_primitive_that_changes_its_shape_runs_eagerly(out: Any) -> None:
    g = dif.prepare_gradient(fickle(), SMALL, backend="autograd")
    assert g.strategy == "program"
    same(g(SMALL), np.array([2.0, 4.0, 6.0, 0.0]))
    with pytest.warns(dif.PreparationWarning) as caught:
        same(g(LARGE, out=out), np.array([22.0, 4.0, 0.0, 0.0]))
    assert [str(w.message) for w in caught] == [
        "`f` cannot be recorded (`head` returned another shape or dtype than when it was "
        "recorded). It runs eagerly at this call: right, but slower. Move the decision on values "
        "into `xp.where`, or pass fallback='error'."
    ]
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(g(SMALL), np.array([2.0, 4.0, 6.0, 0.0]))


def test_a_primitive_that_changes_its_shape_is_refused() -> None:
    g = dif.prepare_gradient(fickle(), SMALL, backend="autograd", fallback="error")
    with pytest.raises(dif.UnsupportedOperatorError) as caught:
        g(LARGE)
    assert str(caught.value) == (
        "`f` cannot be recorded (`head` returned another shape or dtype than when it was "
        "recorded). Prepare with fallback='eager' to run it anew at every call."
    )
    same(g(SMALL), np.array([2.0, 4.0, 6.0, 0.0]))


def by_exact_type(x: Any) -> Any:
    return (x**2).sum() if type(x) is torch.Tensor else (x**3).sum()


def by_modes(x: Any) -> Any:
    return (x**3).sum() if torch._C._len_torch_dispatch_stack() else (x**2).sum()


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_type_of_a_tensor_is_the_same_while_torch_records(compiled: bool) -> None:
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    backend = dif.Torch(compile=compiled)
    g = dif.prepare_gradient(by_exact_type, x, backend=backend, fallback="error")
    same(g(2 * x).numpy(), 4 * x.numpy())


@pytest.mark.parametrize("compiled", [False, True])
def test_what_differs_while_torch_records_is_found(compiled: bool) -> None:
    backend = dif.Torch(compile=compiled)
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    with pytest.warns(dif.PreparationWarning) as caught:
        g = dif.prepare_gradient(by_modes, x, backend=backend)
    assert g.strategy == "eager"
    assert [str(w.message) for w in caught] == [
        "`f` cannot be recorded (its record gives another result than the function itself). It "
        "runs eagerly at every call: right, but slower. Move the decision on values into "
        "`xp.where`, or pass fallback='error'."
    ]
    same(g(2 * x).numpy(), 4 * x.numpy())
    with pytest.raises(dif.UnsupportedOperatorError):
        dif.prepare_gradient(by_modes, x, backend=backend, fallback="error")
