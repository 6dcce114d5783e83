"""Programs write only into memory that they made, whatever a NumPy function returns.

Each function here returns its argument, a view of it or new memory, depending on its options; what
comes next would like to write into the result.
"""

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
import pytest
from autograd.extend import defvjp, primitive

import diffface as dif

X = np.array([0.5, 1.5, 2.5])
MATRIX = np.array([[1.0, 2.0], [3.0, 5.0]])

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "argument": lambda x: x,
    "diff of order 0": lambda x: anp.diff(x, n=0),
    "repeat once": lambda x: anp.repeat(x, 1, axis=0),
    "tile once": lambda x: anp.tile(x, 1),
    "roll by 0": lambda x: anp.roll(x, 0),
    "pad by 0": lambda x: anp.pad(x, 0, mode="constant"),
    "clip to everything": lambda x: anp.clip(x, -9.0, 9.0),
    "where always": lambda x: anp.where(np.ones(x.shape, bool), x, x),
    "reshape to itself": lambda x: anp.reshape(x, x.shape),
    "ravel": lambda x: anp.ravel(x),
    "squeeze": lambda x: anp.squeeze(x),
    "transpose": lambda x: anp.transpose(x),
    "moveaxis": lambda x: anp.moveaxis(x, 0, 0),
    "real": lambda x: anp.real(x),
    "atleast_1d": lambda x: anp.atleast_1d(x),
    "array": lambda x: anp.array(x),
    "astype": lambda x: x.astype(float),
    "nan_to_num": lambda x: anp.nan_to_num(x),
    "concatenate one": lambda x: anp.concatenate([x]),
    "stack one": lambda x: anp.stack([x])[0],
    "hstack one": lambda x: anp.hstack([x]),
    "vstack one": lambda x: anp.vstack([x])[0],
    "split in one": lambda x: anp.split(x, 1)[0],
    "sum over no axis": lambda x: anp.sum(x, axis=()),
    "max over no axis": lambda x: anp.max(x, axis=()),
    "mean over no axis": lambda x: anp.mean(x, axis=()),
    "everything indexed": lambda x: x[...],
    "sliced": lambda x: x[:],
    "new axis": lambda x: x[None][0],
    "fancy": lambda x: x[np.arange(len(x))],
    "masked": lambda x: x[np.ones(len(x), bool)],
    "triu": lambda x: anp.triu(x[None], -9)[0],
    "rot90 by 0": lambda x: anp.rot90(x[None], 0)[0],
    "sort": lambda x: anp.sort(x),
    "cumsum": lambda x: anp.cumsum(x[:, None], axis=1)[:, 0],
    "einsum": lambda x: anp.einsum("i->i", x),
    "diagonal": lambda x: anp.diagonal(anp.outer(x, x), 0, -1, -2),
    "broadcast_to itself": lambda x: x * np.broadcast_to(np.ones(1), x.shape),
    "tensordot with nothing": lambda x: anp.tensordot(x, np.ones(()), 0),
    "dot with a number": lambda x: anp.dot(x, 1.0),
    "matrix power 1": lambda x: anp.dot(np.eye(len(x)), x),
    "namespace diff": lambda x: dif.namespace(x).diff(x, n=0),
    "namespace repeat": lambda x: dif.namespace(x).repeat(x, 1),
    "namespace roll": lambda x: dif.namespace(x).roll(x, 0),
    "namespace concat": lambda x: dif.namespace(x).concat([x]),
    "namespace flip": lambda x: dif.namespace(x).flip(x, axis=()),
    "namespace sum": lambda x: dif.namespace(x).sum(x, axis=()),
    "namespace clip": lambda x: dif.namespace(x).clip(x),
    "namespace where": lambda x: dif.namespace(x).where(np.True_, x, x),
    "namespace reshape": lambda x: dif.namespace(x).reshape(x, (-1,)),
    "namespace take": lambda x: dif.namespace(x).take(x, np.arange(len(x))),
    "namespace tile": lambda x: dif.namespace(x).tile(x, 1),
    "namespace astype": lambda x: dif.namespace(x).astype(x, np.float64, copy=False),
    "namespace broadcast_arrays": lambda x: dif.namespace(x).broadcast_arrays(x, x)[0],
    "namespace meshgrid": lambda x: dif.namespace(x).meshgrid(x)[0],
    "namespace positive": lambda x: dif.namespace(x).positive(x),
    "namespace fftn": lambda x: dif.namespace(x).real(dif.namespace(x).fft.fftn(x, axes=())),
}
OPERATORS = ["value_and_gradient", "value_and_pushforward", "hessian", "hvp"]
SEEDED = {"value_and_pushforward", "hvp"}


def overwriting(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Give the recorder every reason to write into what `function` returns."""

    def f(x: Any) -> Any:
        y = function(x)
        return anp.sum(anp.exp(anp.sin(y) * 2.0) + y)

    return f


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_of_the_callers_is_written_to(name: str, operator: str) -> None:
    f = overwriting(FUNCTIONS[name])
    seeds = {"tangents": np.array([1.0, -1.0, 2.0])} if operator in SEEDED else {}
    x, elsewhere = X.copy(), X + 0.25
    prepared = getattr(dif, f"prepare_{operator}")(f, x, backend="autograd")
    found = prepared(elsewhere, **seeds)
    assert np.array_equal(x, X)
    assert np.array_equal(elsewhere, X + 0.25)
    wanted = getattr(dif, operator)(f, X + 0.25, backend="autograd", **seeds)
    for a, b in zip(_parts(found), _parts(wanted), strict=True):
        assert not np.shares_memory(a, elsewhere)
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_constants_are_not_written_to(name: str) -> None:
    def f(x: Any, c: Any) -> Any:
        return anp.sum(anp.exp(FUNCTIONS[name](c)) * x + FUNCTIONS[name](captured))

    captured, c = X.copy(), X.copy()
    g = dif.prepare_value_and_gradient(f, X, dif.Const(c), backend="autograd")
    first, again = g(X, c), g(X, c)
    assert np.array_equal(c, X)
    assert np.array_equal(captured, X)
    np.testing.assert_array_equal(first[1], again[1])
    np.testing.assert_allclose(first[1], np.exp(FUNCTIONS[name](X)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_outputs_are_written_in_place_and_nothing_else(name: str) -> None:
    g = dif.prepare_jacobian(FUNCTIONS[name], X, backend="autograd")
    x, out = X.copy(), np.full((3, 3), np.nan)
    assert g(x, out=out) is out
    assert np.array_equal(x, X)
    wanted = dif.jacobian(FUNCTIONS[name], X, backend="autograd")
    np.testing.assert_allclose(out, wanted, rtol=1e-12)


def _parts(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


# What a user's own primitive sees, it may keep.
SEEN: list[Any] = []


@primitive  # type: ignore[untyped-decorator] # autograd is untyped
def keeping(x: Any) -> Any:
    SEEN.append(x)
    return SEEN[0] if len(SEEN) > 10**6 else x


defvjp(keeping, lambda ans, x: lambda g: g)


def test_what_a_users_primitive_has_kept_is_not_written_to() -> None:
    def f(x: Any) -> Any:
        return anp.sum(anp.sin(keeping(anp.exp(x))) ** 2)

    g = dif.prepare_value_and_gradient(f, X, backend="autograd")
    assert g.strategy == "program"
    SEEN.clear()
    g(X)
    np.testing.assert_allclose(SEEN[0], np.exp(X), rtol=1e-15)
    kept = SEEN[0].copy()
    g(X + 1.0)
    np.testing.assert_array_equal(SEEN[0], kept)


def test_a_result_that_a_users_primitive_has_kept_is_copied() -> None:
    g = dif.prepare_value_and_gradient(lambda x: anp.sum(keeping(x * 2.0)), X, backend="autograd")
    jacobian = dif.prepare_pushforward(lambda x: keeping(x * 2.0), X, backend="autograd")
    SEEN.clear()
    g(X)
    result = jacobian(X, tangents=X)
    result[...] = -1.0
    for seen in SEEN:
        np.testing.assert_allclose(seen, 2.0 * X)


def test_matrices() -> None:
    """A product that is large enough to be written in an array of the program's own."""

    def f(a: Any, b: Any) -> Any:
        return anp.sum(anp.exp(anp.dot(a, b) / 99.0) + anp.dot(a, b))

    rng = np.random.default_rng(0)
    a, b = rng.random((20, 30)), rng.random((30, 25))
    kept = a.copy(), b.copy()
    g = dif.prepare_value_and_gradient(f, a, b, backend="autograd")
    assert "empty" in g.native.source
    for _ in range(2):
        value, found = g(a, b)
        weights = np.exp(a @ b / 99.0) / 99.0 + 1.0
        np.testing.assert_allclose(value, np.sum(np.exp(a @ b / 99.0) + a @ b))
        np.testing.assert_allclose(found[0], weights @ b.T)
        np.testing.assert_allclose(found[1], a.T @ weights)
    assert np.array_equal(a, kept[0])
    assert np.array_equal(b, kept[1])


def test_parts_of_what_is_joined_are_computed_in_their_places():
    def f(x):
        xp = dif.namespace(x)
        a, b = x * x, xp.sin(x)
        row = lambda y: xp.reshape(y, (1, -1))
        whole = xp.concat([row(a), row(a + b), xp.concat([row(b), row(x), row(b)])])
        last = xp.exp(whole)  # could be written where `whole` is, if its parts were not needed
        return {"a": a, "whole": whole, "last": last * 2, "b": b - last[0]}

    x = np.linspace(0.5, 1.5, 1000)
    prepared = dif.prepare_value_and_pushforward(f, x, backend="autograd")
    assert "concatenate" not in prepared.native.source
    results = []
    for at in (x, x + 1):
        expected = dif.value_and_pushforward(f, at, tangents=np.cos(at), backend="autograd")
        found = prepared(at, tangents=np.cos(at))
        results.append((found, expected))
    for found, expected in results:
        arrays = [a for part in found for a in part.values()]
        for name, part in found[1].items():
            np.testing.assert_allclose(part, expected[1][name], rtol=1e-14, err_msg=name)
            np.testing.assert_allclose(found[0][name], expected[0][name], rtol=1e-14)
        for i, array in enumerate(arrays):
            assert not any(np.shares_memory(array, other) for other in arrays[:i])
