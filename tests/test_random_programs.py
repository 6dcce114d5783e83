"""Random programs: every way to a derivative gives the same one, and it is the right one."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import AD
from random_programs import RandomProgram, leaves, tree_map

import diffface as dif

# Central differences of order 8; at this step they err by some 1e-12 of the values.
_COEFFICIENTS = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
_STEP = 2e-3
SMALL, LARGE, REST = range(4), range(1000, 1010), range(1010, 1030)
SLOW, EXHAUSTIVE = pytest.mark.slow, [pytest.mark.slow, pytest.mark.exhaustive]
seeds = pytest.mark.parametrize(
    "seed",
    [
        *SMALL,
        *(pytest.param(seed, marks=SLOW) for seed in LARGE),
        *(pytest.param(seed, marks=EXHAUSTIVE) for seed in REST),
    ],
)
backends = pytest.mark.parametrize("backend", AD)


def difference(f: Callable[[Any], Any], x: Any, v: Any) -> Any:
    """The derivative of `f` at `x` along `v`, results flattened and joined."""

    def at(step: float) -> Any:
        moved = [a + step * b for a, b in zip(leaves(x), leaves(v), strict=True)]
        given = iter(moved)
        return flat(f(tree_map(lambda _: next(given), x)))

    steps = [(k * _STEP, c) for k, c in enumerate(_COEFFICIENTS, 1)]
    return sum(c * (at(h) - at(-h)) for h, c in steps) / _STEP


def flat(tree: Any) -> Any:
    return np.concatenate([np.zeros(0), *(np.ravel(np.asarray(leaf)) for leaf in leaves(tree))])


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    a, b = flat(found), flat(expected)
    np.testing.assert_allclose(
        a, b, rtol=tolerance, atol=tolerance * (1 + np.abs(b).max(initial=0))
    )


@pytest.fixture(autouse=True)
def no_fallback() -> Any:
    """No program here decides by values, so none may fall back."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", dif.PreparationWarning)
        yield


@seeds
@backends
def test_gradients(backend: str, seed: int) -> None:
    program = RandomProgram(seed)
    x = program.example
    found = dif.gradient(program.scalar, x, backend=backend)
    assert [np.shape(a) for a in leaves(found)] == [np.shape(a) for a in leaves(x)]
    before = flat(x).copy()

    elsewhere = tree_map(lambda a: np.asarray(a * 1.1 + 0.1), x)
    prepared = dif.prepare_gradient(program.scalar, elsewhere, backend=backend)
    close(prepared(x), found)
    lazy = dif.prepare_gradient(program.scalar, backend=backend)
    close(lazy(elsewhere), prepared(elsewhere))
    close(lazy(x), found)
    out = tree_map(lambda a: np.full(np.shape(a), np.nan), x)
    assert prepared(x, out=out) is out
    close(out, found)
    assert np.array_equal(flat(x), before)

    if program.smooth:
        v = program.random_like(x)
        close(flat(found) @ flat(v), difference(program.scalar, x, v), 1e-8)


@seeds
@backends
def test_linear_maps(backend: str, seed: int) -> None:
    program = RandomProgram(seed)
    x, v = program.example, program.random_like(program.example)
    y, dy = dif.value_and_pushforward(program.vector, x, tangents=v, backend=backend)
    close(y, program.vector(x), 1e-12)
    prepared = dif.prepare_pushforward(program.vector, x, backend=backend)
    close(prepared(x, tangents=v), dy)
    w = np.cos(np.arange(y.size))
    transposed = dif.pullback(program.vector, x, cotangents=w, backend=backend)
    close(flat(transposed) @ flat(v), w @ dy)
    batch = tree_map(lambda a: np.stack([a, -2.0 * a]), v)
    both = dif.pushforward(program.vector, x, tangents=batch, batched=True, backend=backend)
    close(both, np.stack([dy, -2.0 * dy]))
    if program.smooth:
        close(dy, difference(program.vector, x, v), 1e-8)


@seeds
@backends
def test_second_derivatives(backend: str, seed: int) -> None:
    program = RandomProgram(seed)
    x, v = program.example, program.random_like(program.example)
    found = dif.hvp(program.scalar, x, tangents=v, backend=backend)
    prepared = dif.prepare_hvp(program.scalar, x, backend=backend)
    close(prepared(x, tangents=v), found, 1e-9)
    if program.smooth:
        gradient = dif.prepare_gradient(program.scalar, x, backend=backend)
        close(found, difference(gradient, x, v), 1e-7)


@seeds
@backends
def test_another_order_of_keys(backend: str, seed: int) -> None:
    program = RandomProgram(seed, alike=True)  # since the arrays change places
    turned = program.shuffled(program.example)
    prepared = dif.prepare_gradient(program.scalar, backend=backend)
    prepared(program.example)
    close(prepared(turned), dif.gradient(program.scalar, turned, backend=backend))


@seeds
def test_backends_agree(seed: int) -> None:
    program = RandomProgram(seed)
    results = [dif.gradient(program.scalar, program.example, backend=b) for b in AD]
    for result in results[1:]:
        close(result, results[0])


@seeds
@backends
def test_operators_inside(backend: str, seed: int) -> None:
    program = RandomProgram(seed)
    x, v = program.example, program.random_like(program.example)
    found = dif.gradient(program.nested, x, backend=backend)

    def expected(x: Any) -> Any:
        y = program.vector(x)
        return np.sum(y * (np.cos(y) * y + np.sin(y)))

    if program.smooth:
        close(flat(found) @ flat(v), difference(expected, x, v), 1e-8)
