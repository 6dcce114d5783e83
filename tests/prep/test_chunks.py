"""Jacobians and Hessians by chunks: equal to the whole, and in hardly more memory."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from helpers import BACKENDS, make, plain

import diffface as dif

A = np.random.default_rng(0).normal(size=(2, 3))
B = np.random.default_rng(1).normal(size=4)


def scalar(p: Any, q: Any) -> Any:
    xp = dif.namespace(q)
    return xp.sum(p["a"] ** 3) * xp.sum(q**2) + xp.sum(xp.sin(p["a"][0])) * q[1]


def tree(p: Any, q: Any) -> Any:
    xp = dif.namespace(q)
    return {"u": xp.sin(p["a"]) * xp.sum(q**2), "v": p["a"][:, 1] * q[0], "empty": q[:0]}


@pytest.mark.parametrize("chunk_size", [3, 7])
@pytest.mark.parametrize("operator", ["value_gradient_and_hessian", "value_and_jacobian"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_chunks_that_cross_leaves(backend: str, operator: str, chunk_size: int) -> None:
    f = tree if operator.endswith("jacobian") else scalar
    whole = getattr(dif, operator)(f, {"a": A}, B, backend="autograd")
    options: dict[str, Any] = {"backend": backend, "chunk_size": chunk_size}
    plainly = getattr(dif, operator)(f, {"a": A}, B, **options)
    prepared = getattr(dif, f"prepare_{operator}")(f, {"a": A + 1}, B, **options)({"a": A}, B)
    for found in (plainly, prepared):
        for got, wanted in zip(_leaves(found), _leaves(whole), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
            assert got.flags.writeable or not got.shape


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("of", ["numpy", "torch"])
def test_chunks_are_written_to_out(of: str, backend: str) -> None:
    x, out = make(of, B), make(of, np.zeros((4, 4)))
    options: dict[str, Any] = {"backend": backend, "chunk_size": 3}
    f = lambda x: dif.namespace(x).sum(x**3) * x[0]
    expected = plain(dif.hessian(f, make("numpy", B), backend="autograd"))
    prepared = dif.prepare_hessian(f, x, **options)
    for call in (lambda: dif.hessian(f, x, out=out, **options), lambda: prepared(x, out=out)):
        out[...] = 0
        assert call() is out
        np.testing.assert_allclose(plain(out), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_arguments_without_elements(backend: str) -> None:
    empty = np.zeros((2, 0))
    options: dict[str, Any] = {"backend": backend, "chunk_size": 1}
    dx, de = dif.jacobian(lambda x, e: x**2, B, empty, mode="reverse", **options)
    np.testing.assert_allclose(dx, np.diag(2 * B))
    assert de.shape == (4, 2, 0)
    h = dif.hessian(lambda x, e: dif.namespace(x).sum(x**3), B, empty, sparsity="trace", **options)
    np.testing.assert_allclose(h[0][0].toarray(), np.diag(6 * B))
    assert h[1][0].shape == (0, 4)


def test_rows_by_chunks() -> None:
    """A function with fewer results than arguments, in the mode that it says."""
    f = lambda x: dif.namespace(x).reshape(x, (2, 3)) @ dif.namespace(x).asarray(A).T
    x = A.reshape(-1)
    whole = dif.jacobian(f, x, backend="autograd")
    for backend in ("autograd", "jax", "torch"):
        for mode in ("forward", "reverse", "auto"):
            options: dict[str, Any] = {"backend": backend, "mode": mode, "chunk_size": 3}
            np.testing.assert_allclose(dif.jacobian(f, x, **options), whole, atol=1e-14)
            prepared = dif.prepare_jacobian(f, x, **options)
            np.testing.assert_allclose(prepared(x), whole, atol=1e-14)
            np.testing.assert_allclose(prepared(x + 1), whole, atol=1e-14)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.filterwarnings("ignore:`f` cannot be recorded:diffface.PreparationWarning")
def test_all_chunks_share_one_draw(mode: str) -> None:
    x = torch.linspace(1.0, 2.0, 32)
    f = lambda x: torch.nn.functional.dropout(x, 0.5)
    for jacobian in (dif.jacobian, lambda f, x, **o: dif.prepare_jacobian(f, x, **o)(x)):
        found = []
        for options in ({}, {"chunk_size": 4}):
            torch.manual_seed(0)
            found.append(jacobian(lambda x: f(x).sum().expand(32), x, mode=mode, **options))
        for matrix in found:
            assert (matrix == matrix[0]).all()
            assert set(matrix[0].tolist()) == {0.0, 2.0}
        assert (found[0] == found[1]).all()


def _leaves(result: Any) -> list[Any]:
    if isinstance(result, dict):
        return [a for value in result.values() for a in _leaves(value)]
    if isinstance(result, list | tuple):
        return [a for value in result for a in _leaves(value)]
    return [np.asarray(result)]


# Memory that a call takes at its peak, in units of that of its result, in a process of its own.
MEASURED = """
import sys
import numpy as np
import diffface as dif

operator, backend, n, chunk_size = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4])

def scalar(x):
    xp = dif.namespace(x)
    return xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2) + xp.log1p(xp.sum(x**2))

def vector(x):
    xp = dif.namespace(x)
    return xp.sin(x) * xp.sum(x**2)

def memory(what):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))

def peak(how, n, chunk_size):
    x = np.linspace(0.5, 1.5, n)
    f = scalar if operator == "hessian" else vector
    options = {"backend": backend, "chunk_size": chunk_size}
    out = np.ones((n, n)) if how == "out" else None
    call = lambda: getattr(dif, operator)(f, x, **options)
    if how != "plain":
        prepared = getattr(dif, "prepare_" + operator)(f, x, **options)
        call = lambda: prepared(x, out=out)
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = memory("VmRSS")
    call()
    return (memory("VmHWM") - before) * 2**20 / (8 * n * n)

for how in ("plain", "prepared", "out"):
    peak(how, 5 * chunk_size, chunk_size)
    print(peak(how, n, chunk_size))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize(
    ("operator", "backend", "n"),
    [
        ("hessian", "jax", 2000),
        ("hessian", "torch", 2000),
        ("hessian", "autograd", 1000),
        ("jacobian", "numpy", 1500),
    ],
)
def test_the_peak_of_a_call_by_chunks(operator: str, backend: str, n: int) -> None:
    command = [sys.executable, "-c", MEASURED, operator, backend, str(n), "20"]
    # What is freed goes back to the system, so that it does not hide the next peak.
    given = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "100000"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=given)
    plainly, prepared, out = map(float, done.stdout.split())
    assert 0.9 < plainly < 1.4
    assert 0.9 < prepared < 1.3
    assert out < (1.3 if backend == "numpy" else 0.3)  # values of a black box come first
