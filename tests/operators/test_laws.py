"""Laws that hold for every function, on every backend, over random trees and shapes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lawful import (
    LAW,
    arrays,
    backends,
    conjugating,
    energy,
    few,
    inner,
    mixing,
    modes,
    near,
    seed,
    stacked,
    tolerance,
    trees,
)

import diffface as dif
from diffface.testing.trees import leaves, mapped

pytestmark = pytest.mark.numerical
REAL = trees(arrays())
COMPLEX = trees(st.one_of(arrays(np.complex128), arrays()))
every_backend = pytest.mark.parametrize("backend", backends())
VECTORS = arrays(shapes=st.sampled_from([(3,), (2, 3)]))


def check_adjoint(f: Any, x: Any, backend: str) -> None:
    y, push = dif.linearize(f, x, backend=backend)
    dx, dy = seed(x, 0.3), seed(y, 1.1)
    forward = dif.pushforward(f, x, tangents=dx, backend=backend)
    backward = dif.pullback(f, x, cotangents=dy, backend=backend)
    atol = 10 * tolerance(backend, 1, y, forward, backward) * max(1, sum(map(np.size, leaves(x))))
    assert abs(inner(dy, forward) - inner(backward, dx)) <= atol
    near(push(dx), forward, atol)


@every_backend
@LAW
@given(x=REAL)
def test_adjoint(backend: str, x: Any) -> None:
    check_adjoint(mixing, x, backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", backends("complex argument", "pullback"))
@LAW
@given(z=COMPLEX.filter(lambda tree: any(map(np.iscomplexobj, leaves(tree)))))
def test_adjoint_complex(backend: str, z: Any) -> None:
    check_adjoint(conjugating, z, backend)


@pytest.mark.parametrize("backend", backends("not analytic", "pullback"))
@LAW
@given(x=arrays(shapes=st.just((3,))))
def test_adjoint_real_to_complex(backend: str, x: Any) -> None:
    check_adjoint(lambda x: dif.namespace(x).exp(1j * x) * x, x, backend)


@every_backend
@LAW
@given(x=REAL, a=st.floats(-2, 2), b=st.floats(-2, 2))
def test_linear(backend: str, x: Any, a: float, b: float) -> None:
    def combined(u: Any, v: Any) -> Any:
        return mapped(lambda p, q: np.asarray(a * p + b * q), u, v)

    _, push = dif.linearize(mixing, x, backend=backend)
    y, pull = dif.vjp(mixing, x, backend=backend)
    for function, like in ((push, x), (pull, y)):
        u, v = seed(like, 0.0), seed(like, 2.0)
        separate = function(u), function(v)
        near(
            function(combined(u, v)), combined(*separate), 20 * tolerance(backend, 1, y, *separate)
        )


@every_backend
@LAW
@given(x=few(arrays()))
def test_hessian(backend: str, x: Any) -> None:
    """Symmetric, and its product with a vector is the Hessian-vector product."""
    blocks = leaves(dif.hessian(energy, x, backend=backend))
    v, n = seed(x, 0.5), len(leaves(x))
    product = leaves(dif.hvp(energy, x, tangents=v, backend=backend))
    atol = 50 * tolerance(backend, 2, energy(x), blocks)
    for i, row in enumerate(leaves(x)):
        total = np.zeros(row.shape)
        for j, column in enumerate(leaves(v)):
            block = blocks[i * n + j]
            assert block.shape == row.shape + column.shape
            total += np.tensordot(block, column, axes=column.ndim)
            mirrored = np.moveaxis(
                blocks[j * n + i], range(column.ndim), range(row.ndim, row.ndim + column.ndim)
            )
            near(block, mirrored, atol)
        near(product[i], total, atol)


@pytest.mark.slow
@every_backend
@pytest.mark.parametrize("function", ["pushforward", "value_and_pushforward", "linearize"])
@LAW
@given(x=REAL, size=st.integers(1, 3))
def test_batch_of_tangents(backend: str, function: str, x: Any, size: int) -> None:
    check_batch(backend, function, mixing, x, [seed(x, k) for k in range(size)])


@pytest.mark.slow
@every_backend
@pytest.mark.parametrize("function", ["pullback", "value_and_pullback", "vjp"])
@LAW
@given(x=REAL, size=st.integers(1, 3))
def test_batch_of_cotangents(backend: str, function: str, x: Any, size: int) -> None:
    check_batch(backend, function, mixing, x, [seed(mixing(x), k) for k in range(size)])


@pytest.mark.slow
@every_backend
@pytest.mark.parametrize("function", ["hvp", "gradient_and_hvp"])
@LAW
@given(x=VECTORS, size=st.integers(1, 3))
def test_batch_of_second_order(backend: str, function: str, x: Any, size: int) -> None:
    check_batch(backend, function, energy, x, [seed(x, k) for k in range(size)])


def check_batch(backend: str, function: str, f: Any, x: Any, seeds: list[Any]) -> None:
    name = "cotangents" if "pullback" in function else "tangents"
    order = 2 if "hvp" in function else 1

    def ask(given: Any, batched: bool) -> Any:
        if function in ("linearize", "vjp"):
            return getattr(dif, function)(f, x, backend=backend)[1](given, batched=batched)
        result = getattr(dif, function)(f, x, **{name: given}, backend=backend, batched=batched)
        return result[-1] if "and" in function else result

    singles = [ask(one, False) for one in seeds]
    near(ask(stacked(*seeds), True), stacked(*singles), tolerance(backend, order, f(x), *singles))


@pytest.mark.slow
@every_backend
@pytest.mark.parametrize("function", ["jacobian", "hessian"])
@LAW
@given(x=VECTORS, size=st.integers(1, 5))
def test_chunks_and_modes(backend: str, function: str, x: Any, size: int) -> None:
    """Any chunk size, and any mode, gives what all at once in the automatic mode gives."""
    f, order = (mixing, 1) if function == "jacobian" else (energy, 2)
    operator = getattr(dif, function)
    reference = operator(f, x, backend=backend)
    atol = 10 * tolerance(backend, order, f(x), reference)
    for mode in modes(backend, order):
        near(operator(f, x, backend=backend, mode=mode), reference, atol)
        near(operator(f, x, backend=backend, mode=mode, chunk_size=size), reference, atol)


@pytest.mark.slow
@every_backend
@LAW
@given(x=VECTORS, size=st.integers(1, 5))
def test_chunks_of_a_batch(backend: str, x: Any, size: int) -> None:
    seeds = stacked(*(seed(x, k) for k in range(3)))
    for f, name in ((mixing, "pushforward"), (mixing, "pullback"), (energy, "hvp")):
        key = "cotangents" if name == "pullback" else "tangents"
        options = {key: seeds, "backend": backend, "batched": True}
        whole = getattr(dif, name)(f, x, **options)
        atol = tolerance(backend, 1 + (name == "hvp"), f(x), whole)
        near(getattr(dif, name)(f, x, chunk_size=size, **options), whole, atol)


@every_backend
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_missing_mode(backend: str, mode: str) -> None:
    """A mode that a backend does not have is refused, never replaced in silence."""
    for order, name in ((1, "jacobian"), (2, "hessian")):
        x = np.array([1.0, 2.0])
        if mode in modes(backend, order):
            getattr(dif, name)(energy, x, backend=backend, mode=mode)
        else:
            with pytest.raises(dif.UnsupportedOperatorError, match=f"has no {mode} mode"):
                getattr(dif, name)(energy, x, backend=backend, mode=mode)
