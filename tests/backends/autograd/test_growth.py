"""Preparing costs time and memory in proportion to the size of the program."""

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
import pytest

import diffface as dif
from diffface.backends.recording import names


def elements(x: Any) -> Any:
    total = 0.0
    for i in range(len(x) - 1):
        total = total + 100.0 * (x[i + 1] - x[i] ** 2) ** 2
    return total


def slices(x: Any) -> Any:
    total = 0.0
    for i in range(len(x) - 2):
        total = total + anp.sum(x[i : i + 2]) ** 3
    return total


def gathers(x: Any) -> Any:
    total = 0.0
    for i in range(len(x) - 2):
        total = total + anp.sum(x[[i, i + 2]]) ** 2
    return total


def rows(x: Any) -> Any:
    matrix = anp.reshape(x, (-1, 1))
    return sum(anp.sum(matrix[i]) ** 2 for i in range(len(x)))


def recurrence(x: Any) -> Any:
    state = x[0]
    for i in range(1, len(x)):
        state = anp.tanh(state + x[i])
    return state


def gathered(x: Any) -> Any:
    return anp.sum(anp.array([x[i] ** 2 for i in range(len(x))]) * 2.0)


PROGRAMS = (elements, slices, gathers, rows, recurrence, gathered)


def calls(action: Callable[[], object]) -> int:
    count = 0

    def note(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += 1

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def peak(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("f", "measure"), [*((f, peak) for f in PROGRAMS), (elements, calls), (gathered, calls)]
)
def test_preparing_is_linear(f: Callable[[Any], Any], measure: Any) -> None:
    small, large = (np.linspace(0.5, 1.5, n) for n in (75, 150))
    dif.prepare_gradient(f, large, backend="autograd")  # what is done once in a process
    needed = []
    for x in (small, large):
        names.forget()  # sources of this length are kept from one preparation to the next
        needed.append(measure(lambda x=x: dif.prepare_gradient(f, x, backend="autograd")))
    assert needed[1] < 2.4 * needed[0]


@pytest.mark.parametrize("operator", ["gradient", "hvp"])
@pytest.mark.parametrize("f", PROGRAMS)
def test_the_results(f: Callable[[Any], Any], operator: str) -> None:
    x = np.linspace(0.5, 1.5, 12)
    seeds = {"tangents": np.cos(x)} if operator == "hvp" else {}
    prepared = getattr(dif, f"prepare_{operator}")(f, x, backend="autograd")
    assert prepared.strategy == "program"
    found = prepared(x + 0.1, **seeds)
    wanted = getattr(dif, operator)(f, x + 0.1, backend="autograd", **seeds)
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    out = np.empty_like(x)
    np.testing.assert_array_equal(prepared(x + 0.1, **seeds, out=out), found)
