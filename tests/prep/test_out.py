"""Results written into the caller's arrays: without memory of their own, right when it overlaps."""

import functools
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import BACKENDS, FIRST, make, plain, same

import diffface as dif

MATRIX = np.random.default_rng(1).normal(size=(4, 4))
X = np.random.default_rng(0).normal(size=4)


def rosenbrock(x: Any) -> Any:
    return dif.namespace(x).sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


# Programs that end in every kind of operation.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "updates": rosenbrock,
    "ufunc": lambda x: dif.namespace(x).sum(x**3),
    "repeated number": lambda x: dif.namespace(x).sum(x) ** 2,
    "constant": lambda x: 2.0,
    "constant gradient": lambda x: dif.namespace(x).sum(x[:2]),
    "product": lambda x: dif.namespace(x).sum(MATRIX @ x),
    "itself": lambda x: 0.5 * dif.namespace(x).sum(x * x),
    "view": lambda x: dif.namespace(x).sum(dif.namespace(x).reshape(x, (2, 2)) @ MATRIX[:2, :2]),
    "gather": lambda x: dif.namespace(x).sum(x[np.array([0, 0, 3])] ** 2),
    "where": lambda x: dif.namespace(x).sum(dif.namespace(x).where(x > 0, x**2, 3 * x)),
    "base and updates": lambda x: dif.namespace(x).sum(x**2) + x[1] ** 3,
    "sorted": lambda x: dif.namespace(x).sum(dif.namespace(x).sort(x) * MATRIX[0]),
}
LAYOUTS: dict[str, Callable[[], Any]] = {
    "contiguous": lambda: np.full(4, np.nan),
    "strided": lambda: np.full(8, np.nan)[::2],
    "reversed": lambda: np.full(4, np.nan)[::-1],
    "swapped": lambda: np.full(4, np.nan, ">f8"),
    "unaligned": lambda: np.frombuffer(bytearray(33), offset=1),
}
POINTS = (X, -2 * X, np.zeros(4))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_last_operation_in_every_layout(name: str, layout: str) -> None:
    f = FUNCTIONS[name]
    g = dif.prepare_gradient(f, X, backend="autograd", fallback="error")
    for x in POINTS:
        out = LAYOUTS[layout]()
        assert g(x, out=out) is out
        same(np.array(out, float), g(x))
        same(np.array(out, float), dif.gradient(f, x, backend="autograd"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("of", ["numpy", "torch"])
@pytest.mark.parametrize("shift", [0, 1, -1])
@pytest.mark.parametrize("step", [1, -1])
def test_overlap_with_an_argument(step: int, shift: int, of: str, backend: str) -> None:
    if (of, step) == ("torch", -1):
        return  # torch has no negative strides
    memory = make(of, np.zeros(6))
    x = memory[1:5]
    g = dif.prepare_gradient(rosenbrock, x, backend=backend)
    for value in POINTS:
        x[...] = make(of, value)
        out = memory[1 + shift : 5 + shift][::step] if step == -1 else memory[1 + shift : 5 + shift]
        assert g(x, out=out) is out
        same(plain(out), dif.gradient(rosenbrock, value, backend="autograd"), 10 * FIRST[backend])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operator", ["gradient", "value_and_gradient"])
def test_what_cannot_be_written_to(operator: str, backend: str) -> None:
    out = np.zeros(4)
    out.flags.writeable = False
    g = getattr(dif, f"prepare_{operator}")(rosenbrock, X, backend=backend)
    with pytest.raises(dif.InvalidArgumentError, match="`out` must be writable"):
        g(X, out=out)
    assert not out.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_overlap_with_a_constant_or_a_tangent(backend: str) -> None:
    def f(x: Any, a: Any) -> Any:
        return dif.namespace(x).sum(a * x**3)

    a, v = 2 * X, X.copy()
    g = dif.prepare_gradient(f, X, dif.Const(a), backend=backend)
    same(g(X, a, out=a), 6 * X**3, FIRST[backend])
    h = dif.prepare_hvp(f, X, dif.Const(X), backend=backend)
    same(h(X, X, tangents=v, out=v), 6 * X**3, 1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_derivatives_and_their_value(backend: str) -> None:
    def f(x: Any, t: Any) -> Any:
        return dif.namespace(x).sum(x**2) * dif.namespace(x).sum(t["b"] * t["a"])

    t = {"b": X, "a": 3 * X}
    g = dif.prepare_value_and_gradient(f, X, t, backend=backend)
    out: Any = (np.empty(4), {"b": np.empty(4), "a": np.empty(4)})
    y, derivatives = g(X, t, out=out)
    assert derivatives[0] is out[0]
    assert derivatives[1]["a"] is out[1]["a"]
    square = np.sum(X**2)
    right = (6 * X * square, {"b": 3 * X * square, "a": X * square})
    same((y, derivatives), (3 * square**2, right), 10 * FIRST[backend])
    both = np.empty(4)
    for call in (g, functools.partial(dif.value_and_gradient, f, backend=backend)):
        with pytest.raises(dif.InvalidArgumentError, match="share memory"):
            call(X, t, out=(both, {"b": both, "a": np.empty(4)}))


@pytest.mark.parametrize("operator", ["jacobian", "hessian"])
def test_matrices(operator: str) -> None:
    f = (lambda x: MATRIX @ x**2) if operator == "jacobian" else FUNCTIONS["base and updates"]
    prepared = getattr(dif, f"prepare_{operator}")(f, X, backend="autograd")
    for out in (np.empty((4, 4)), np.empty((4, 4)).T, np.empty((8, 4))[::2]):
        assert prepared(X, out=out) is out
        same(np.array(out), prepared(X))


def allocated(call: Callable[[], Any]) -> int:
    """Bytes at the peak of a call."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("operator", ["gradient", "value_and_gradient"])
def test_the_program_allocates_no_result(operator: str) -> None:
    x = np.linspace(-1, 1, 100_000)
    out = np.empty_like(x)
    prepare = getattr(dif, f"prepare_{operator}")
    g = prepare(lambda x: dif.namespace(x).sum(x) * 2, x, backend="autograd")
    assert allocated(lambda: g(x)) > x.nbytes
    assert allocated(lambda: g(x, out=out)) < x.nbytes / 10


TORCH_FUNCTIONS = {**FUNCTIONS, "same number": lambda x: dif.namespace(x).sum(x) * 2}


@pytest.mark.parametrize("name", TORCH_FUNCTIONS)
@pytest.mark.parametrize("layout", ["contiguous", "strided", "part"])
def test_every_last_operation_of_a_replayed_graph(name: str, layout: str) -> None:
    torch = pytest.importorskip("torch")
    captured = torch.tensor(MATRIX)
    # Those that capture an array, which has to be a tensor here.
    capturing: dict[str, Callable[[Any], Any]] = {
        "product": lambda x: (captured @ x).sum(),
        "view": lambda x: (x.reshape(2, 2) @ captured[:2, :2]).sum(),
        "sorted": lambda x: (x.sort()[0] * captured[0]).sum(),
    }
    of_tensor = capturing.get(name, TORCH_FUNCTIONS[name])
    g = dif.prepare_value_and_gradient(of_tensor, torch.tensor(X), fallback="error")
    h = dif.prepare_gradient(of_tensor, torch.tensor(X), fallback="error")
    for value in POINTS:
        x = torch.tensor(value)
        memory = torch.full((8,), torch.nan, dtype=torch.float64)
        parts = {"contiguous": memory[:4].clone(), "strided": memory[::2], "part": memory[2:6]}
        out = parts[layout]
        version = out._version
        assert h(x, out=out) is out
        same(plain(out), plain(h(x)))
        assert out._version > version
        out[...] = torch.nan
        y, dx = g(x, out=out)
        assert dx is out
        same((plain(y), plain(out)), tuple(map(plain, g(x))))


def test_autograd_notices_that_a_tensor_it_keeps_was_written_to() -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor(X)
    out = torch.ones(4, dtype=torch.float64)
    w = torch.ones(4, dtype=torch.float64, requires_grad=True)
    y = (w * out).sum()
    dif.prepare_gradient(rosenbrock, x)(x, out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["gradient", "value_and_gradient"])
@pytest.mark.parametrize("f", [rosenbrock, lambda x: (x**3).sum(), lambda x: x.exp().sum()])
@pytest.mark.parametrize("of", ["torch", "numpy"])
def test_a_replayed_graph_allocates_no_result(of: str, f: Any, operator: str) -> None:
    torch = pytest.importorskip("torch")
    values = np.linspace(-1, 1, 100_000)
    x, out = make(of, values), make(of, np.empty_like(values))
    g = getattr(dif, f"prepare_{operator}")(f, x, fallback="error", backend="torch")

    def allocations(call: Callable[[], Any]) -> int:
        """How many pieces of memory as large as the result a call takes."""
        call()
        with torch.profiler.profile(profile_memory=True) as profile:
            call()
        events = profile.profiler.kineto_results.events()
        return sum(e.name() == "[memory]" and e.nbytes() >= 0.9 * x.nbytes for e in events)

    assert allocations(lambda: g(x, out=out)) == allocations(lambda: g(x)) - 1
    derivative = g(x) if operator == "gradient" else g(x)[1]
    assert (out == derivative).all()


@pytest.mark.parametrize("name", ["updates", "sorted", "constant gradient", "view"])
def test_every_result_of_a_compiled_graph(name: str) -> None:
    torch = pytest.importorskip("torch")
    captured = torch.tensor(MATRIX)

    def f(x: Any, a: Any) -> Any:
        values = {
            "updates": lambda: rosenbrock(x) + (x * a).sum(),
            "sorted": lambda: (x.sort()[0] * captured[0]).sum() * a.sum(),
            "constant gradient": lambda: x[:2].sum() + a.sum(),
            "view": lambda: (x.reshape(2, 2) @ captured[:2, :2]).sum() * a[0],
        }
        return values[name]()

    x, a = torch.tensor(X), torch.tensor(MATRIX[1])
    g = dif.prepare_value_and_gradient(f, x, a, backend=dif.Torch(compile=True), fallback="error")
    assert g.strategy == "inductor"
    for value in POINTS:
        for make_out in (lambda: torch.full((4,), torch.nan), lambda: torch.ones(8)[::2]):
            out = make_out().double(), torch.full((4,), torch.nan, dtype=torch.float64)
            y, derivatives = g(torch.tensor(value), a, out=out)
            assert derivatives[0] is out[0]
            assert derivatives[1] is out[1]
            expected = dif.value_and_gradient(f, torch.tensor(value), a)
            same(
                (plain(y), tuple(map(plain, out))),
                (plain(expected[0]), tuple(map(plain, expected[1]))),
            )


def test_what_is_allocated_are_temporaries() -> None:
    x = np.linspace(-1, 1, 100_000)
    out = np.empty_like(x)
    g = dif.prepare_gradient(rosenbrock, x, backend="autograd")
    assert allocated(lambda: g(x, out=out)) < allocated(lambda: g(x)) - 0.9 * x.nbytes


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("prepared", [False, True])
def test_arrays_by_a_python_number(prepared: bool, backend: str) -> None:
    f = lambda t: dif.namespace(t).stack([t, t * t, t * t * t])
    out = np.empty(3)
    if prepared:
        assert dif.prepare_derivative(f, 1.0, backend=backend)(2.0, out=out) is out
    else:
        dif.derivative(f, 2.0, backend=backend, out=out)
    same(out, np.array([1.0, 4.0, 12.0]), 100 * FIRST[backend])


LOCKED: dict[str, Callable[[Any], Any]] = {
    "a sparse tensor": lambda torch: torch.zeros(4, dtype=torch.float64).to_sparse(),
    "a tensor that requires grad": lambda torch: torch.zeros(
        4, dtype=torch.float64, requires_grad=True
    ),
    "an expanded tensor": lambda torch: torch.zeros(1, dtype=torch.float64).expand(4),
}


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("what", LOCKED)
def test_tensors_that_cannot_be_written_to(what: str, prepared: bool) -> None:
    torch = pytest.importorskip("torch")
    x, out = torch.tensor(X), LOCKED[what](torch)
    with pytest.raises(dif.InvalidArgumentError, match=f"^`out` must be writable, got {what}"):
        if prepared:
            dif.prepare_gradient(rosenbrock, x)(x, out=out)
        else:
            dif.gradient(rosenbrock, x, out=out)
