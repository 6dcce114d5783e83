"""Prepared callables travel as what they were made of, and are prepared anew where they arrive."""

import copy
import inspect
import pickle
import subprocess
import sys
import threading
from collections import OrderedDict
from functools import partial
from typing import Any

import cloudpickle
import numpy as np
import pytest
from energy import MODEL, energy
from helpers import BACKENDS, EVERYWHERE, FIRST, ROOT, STRATEGY, Counted, cube_sum, same, weighted

import diffface as dif

X = np.array([1.0, 2.0, 3.0])


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def through_cloudpickle(value: Any) -> Any:
    return pickle.loads(cloudpickle.dumps(value))


TRAVELS = pytest.mark.parametrize("travel", [pickled, through_cloudpickle, copy.deepcopy])


@EVERYWHERE
@TRAVELS
def test_a_copy_is_prepared_at_its_first_call(travel: Any, backend: str) -> None:
    g = dif.prepare_gradient(weighted, X, dif.Const(2.0), dif.Const("n"), backend=backend)
    for _ in range(2):  # before it is used, and after
        h = travel(g)
        assert h is not g
        assert h.strategy == "lazy"
        same(h(X + 1, 5.0, "n"), 15 * (X + 1) ** 2, FIRST[backend])
        assert h.strategy == STRATEGY[backend]
        with pytest.raises(dif.PreparationMismatchError) as found:
            h(X[:2], 5.0, "m")
        with pytest.raises(dif.PreparationMismatchError) as expected:
            g(X[:2], 5.0, "m")
        assert str(found.value) == str(expected.value)
        g(X, 3.0, "n")


@TRAVELS
@pytest.mark.parametrize(
    "constant",
    [
        3,
        True,
        np.int64(3),
        np.True_,
        1j,
        np.float32(2),
        "n",
        None,
        (1, 2.0, (True, None)),
        slice(2),
    ],
    ids=str,
)
def test_constants_of_all_kinds_are_the_same_when_they_arrive(travel: Any, constant: Any) -> None:
    f = lambda x, _: cube_sum(x)
    g = dif.prepare_gradient(f, X, dif.Const(constant), backend="autograd")
    tree = {"x": X, "c": dif.Const(constant)}
    in_tree = dif.prepare_gradient(lambda t: cube_sum(t["x"]), tree, backend="autograd")
    sparse = dif.prepare_hessian(f, X, dif.Const(constant), backend="autograd", sparsity="trace")
    same(travel(g)(X, constant), 3 * X**2)
    same(travel(in_tree)(tree)["x"], 3 * X**2)
    same(travel(sparse)(X, constant).toarray(), np.diag(6 * X))


@dif.custom_rule
def ruled(x: Any) -> Any:
    return cube_sum(x)


@ruled.pullback
def _(active: Any, saved: Any, dy: Any) -> Any:
    return (7 * saved[1] * dy,)


@TRAVELS
@pytest.mark.parametrize("backend", ["autograd", "jax", "torch"])
def test_functions_with_rules_travel(travel: Any, backend: str) -> None:
    k = 2.0
    nested = dif.custom_rule(lambda x, c: c * cube_sum(x))
    nested.pullback(lambda active, saved, dy: (7 * k * saved[1] * dy, None))
    bridged = dif.bridge(lambda x: k * cube_sum(x), backend="autograd")
    for f, expected in (
        (ruled, 7 * X),
        (partial(nested, c=k), 14 * X),
        (bridged, 6 * X**2),
        (lambda x: ruled(x) + nested(x, 1.0) + bridged(x), 21 * X + 6 * X**2),
    ):
        same(travel(dif.prepare_gradient(f, X, backend=backend))(X), expected)
    assert travel(ruled) is ruled


@TRAVELS
def test_a_lazy_one_arrives_lazy(travel: Any) -> None:
    g = dif.prepare_gradient(cube_sum, backend="autograd")
    g(X)
    h = travel(g)
    assert h.strategy == "lazy"
    for x in (X[:2], X, 2.0):
        same(h(x), 3 * np.asarray(x) ** 2)


def test_the_backend_in_use_travels() -> None:
    with dif.using("autograd"):
        g = dif.prepare_gradient(cube_sum)
        at_first_call = dif.prepare_gradient(cube_sum)
        at_first_call(X)
    for prepared in (g, at_first_call):
        h = pickled(prepared)
        h(X)
        assert h.strategy == "program"


@pytest.mark.parametrize("backend", ["autograd", "jax", "torch"])
def test_examples_stay_behind(backend: str) -> None:
    many = np.zeros(20_000)
    g = dif.prepare_gradient(dot, many, dif.Const(many), backend=backend)
    assert len(pickle.dumps(g)) < 3000


def dot(x: Any, a: Any) -> Any:
    return dif.namespace(x).sum(x * a)


@TRAVELS
@pytest.mark.parametrize("backend", ["autograd", "torch"])
def test_trees_travel(travel: Any, backend: str) -> None:
    p = OrderedDict(a=3.0, b=("s", None))
    g = dif.prepare_gradient(energy, MODEL, dif.Const(p), backend=backend)
    h = travel(g)
    found = h(MODEL, p)
    same(found.weights, 12 * X)
    assert found.offset == pytest.approx(42.0)
    assert found.name is None
    assert str(inspect.signature(h)) == str(inspect.signature(energy))
    assert h._fixed == g._fixed


def test_static_constants_count_by_their_state_when_they_arrive() -> None:
    g = dif.prepare_gradient(lambda x, s: (x * len(s)).sum(), X, dif.Const({1, 2}))
    h = pickled(g)
    same(h(X, {2, 1}), 2 * np.ones(3), 1e-7)
    with pytest.raises(dif.PreparationMismatchError):
        h(X, {1, 2, 3})


def test_inspect_shows_the_parameters_of_the_function() -> None:
    g = dif.prepare_hvp(weighted, backend="autograd")
    assert inspect.signature(g) == inspect.signature(weighted)
    of_calls = "(*args: Any, tangents: Any = None, cotangents: Any = None, out: Any = None"
    assert str(inspect.signature(type(g))).replace("typing.", "").startswith(of_calls)
    # Functions in C may have none.
    assert "tangents" in str(inspect.signature(dif.prepare_gradient(max, backend="numpy")))


class Scaled:
    """A callable with a state."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, x: Any) -> Any:
        return cube_sum(x) * self.scale


def test_a_deep_copy_has_a_function_of_its_own() -> None:
    f = Scaled(2.0)
    g = dif.prepare_gradient(f, X, backend="autograd")
    h = copy.deepcopy(g)
    assert copy.copy(g) is g
    f.scale = 5.0  # frozen when it was prepared
    for prepared in (g, h, pickled(h)):
        same(prepared(X), 6 * X**2)
    # What is pickled is the function as it is now.
    same(pickled(g)(X), 15 * X**2)


@pytest.mark.parametrize("wrap", [lambda f: f, partial])
def test_lambdas_are_pickled_by_value(wrap: Any) -> None:
    k = 2.0
    g = dif.prepare_gradient(wrap(lambda x: k * cube_sum(x)), X, backend="autograd")
    for h in (pickled(g), through_cloudpickle(g), pickled(pickled(g))):
        same(h(X), 6 * X**2)


@pytest.mark.parametrize("travel", [pickled, through_cloudpickle])
def test_captured_arrays_keep_their_precision(travel: Any) -> None:
    """Whatever JAX's flag says where they arrive."""
    import jax

    with jax.enable_x64(True):
        c, weak = jax.numpy.asarray([0.1, 0.2, 0.3]), jax.numpy.asarray(0.1)
        key = jax.random.key(0)
        f = lambda x: ((c * x * weak) ** 2).sum() + 0 * jax.random.key_data(key)[0]
        g = dif.prepare_gradient(f, X, backend="jax")
        data = pickle.dumps(g)
    assert not jax.enable_x64.value
    for h in (g, pickle.loads(data), travel(g)):
        same(h(X), 2 * (0.1 * np.array([0.1, 0.2, 0.3])) ** 2 * X, 1e-14)


def scaled(scale: Any, x: Any, shift: Any) -> Any:
    return ((scale * x + shift) ** 2).sum()


@pytest.mark.parametrize("travel", [pickled, through_cloudpickle])
def test_arrays_of_a_partial_keep_their_precision(travel: Any) -> None:
    import jax

    with jax.enable_x64(True):
        c = jax.numpy.asarray([0.1, 0.2, 0.3])
        f = partial(scaled, c, shift=c[::-1])
        g = dif.prepare_gradient(f, X, backend="jax")
        data = pickle.dumps(g)
    c = np.array([0.1, 0.2, 0.3])
    for h in (g, pickle.loads(data), travel(g), travel(travel(g))):
        same(h(X), 2 * c * (c * X + c[::-1]), 1e-14)


def test_a_function_that_refers_to_its_own_preparation() -> None:
    def f(x: Any) -> Any:
        if x.shape[0] == 1:
            return cube_sum(x)
        return cube_sum(x) + 0.0 * float(g(X[:1])[0])

    g = dif.prepare_gradient(f, backend="autograd")
    for h in (pickled(g), through_cloudpickle(g)):
        same(h(X), 3 * X**2)


def test_without_cloudpickle_the_error_names_the_function(monkeypatch: Any) -> None:
    def nested(x: Any) -> Any:
        return cube_sum(x)

    line = nested.__code__.co_firstlineno
    which = f"`{nested.__qualname__}` ({__file__}, line {line}) cannot be pickled"
    for g in (
        dif.prepare_gradient(nested, X, backend="autograd"),
        dif.objective(nested, X, backend="autograd"),
        dif.prepare_hessian(nested, X, backend="autograd", sparsity="trace"),
    ):
        with monkeypatch.context() as m:
            m.setitem(sys.modules, "cloudpickle", None)
            with pytest.raises(pickle.PicklingError) as caught:
                pickle.dumps(g)
        assert str(caught.value) == (
            f"{which}: it has no name that another process could import it by; define it at the "
            "top of a module, or install cloudpickle."
        )


def test_what_a_function_refers_to_may_not_travel() -> None:
    lock = threading.Lock()

    def nested(x: Any) -> Any:
        with lock:
            return cube_sum(x)

    g = dif.prepare_gradient(nested, X, backend="numpy")
    line = nested.__code__.co_firstlineno
    with pytest.raises(pickle.PicklingError) as caught:
        pickle.dumps(g)
    assert str(caught.value) == (
        f"`{nested.__qualname__}` ({__file__}, line {line}) cannot be pickled, for what it refers "
        "to: cannot pickle '_thread.lock' object. Pass that as an argument."
    )


def test_a_record_that_was_once_wrong_is_not_made_again() -> None:
    """Where a copy is called first, the record may agree by chance."""
    f = Counted(cube_sum)
    calls = iter(range(1000))
    f.f = lambda x: cube_sum(x) * next(calls)  # another result at every call
    with pytest.warns(dif.PreparationWarning, match="another result"):
        g = dif.prepare_gradient(f, X, backend="autograd")
    assert g.strategy == "eager"
    h = copy.deepcopy(g)
    h._recipe.f.f = cube_sum
    same(h(X), 3 * X**2)
    assert h.strategy == "eager"


def glue() -> dict[str, Any]:
    """Of each kind, one that has been used, and calls whose results must not change."""
    objective = dif.objective(weighted, X, 2.0, backend="autograd")
    residuals = dif.residuals(squares, {"a": X, "b": 1.0}, backend="autograd")
    inside = dif.constraint(squares, 0.0, 1.0, {"a": X, "b": 1.0}, backend="autograd")
    density = dif.log_density(weighted, X, 2.0, backend="autograd")
    at = residuals.x0
    return {
        "objective": (objective, lambda p: [p.fun(X), p.jac(X), p.hess(X), p.hessp(X, X)]),
        "residuals": (residuals, lambda p: [p.fun(at), p.jac(at), p.unravel(at)["a"]]),
        "constraint": (inside, lambda p: [p.fun(at), p.jac(at), p.hess(at, np.ones(4))]),
        "log_density": (density, lambda p: [p.logdensity(X), p.logdensity_and_gradient(X)[1]]),
    }


def squares(p: Any) -> Any:
    return [p["a"] ** 2, p["b"] ** 2]


@TRAVELS
@pytest.mark.parametrize("name", list(glue()))
def test_glue_travels_after_use(name: str, travel: Any) -> None:
    problem, calls = glue()[name]
    expected = calls(problem)
    same(calls(travel(problem)), expected)
    same(calls(problem), expected)


def test_an_objective_leaves_behind_what_it_remembers() -> None:
    problem = dif.objective(Scaled(2.0), X, backend="autograd")
    problem.jac(X)  # leaves the value for `fun`
    other = copy.deepcopy(problem)
    other._function._f.scale = 4.0
    assert other.fun(X) == pytest.approx(4 * 36)


@TRAVELS
def test_sparse_ones_travel(travel: Any) -> None:
    pytest.importorskip("scipy")
    g = dif.prepare_hessian(cube_sum, X, backend="autograd", sparsity="trace")
    h = travel(g)
    assert h.strategy == "lazy"
    same(h(X + 1).toarray(), np.diag(6 * (X + 1)))
    same(h.structure(), g.structure())
    with pytest.raises(dif.PreparationMismatchError):
        travel(g)(X[:2])


PROCESS = """
import pickle, sys
import numpy as np
prepared, args = pickle.load(sys.stdin.buffer)
result = prepared(*args)
sys.stdout.buffer.write(pickle.dumps((result, prepared.strategy)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_process_that_has_met_nothing(backend: str) -> None:
    """Neither the dataclass, nor the backend."""
    p = {"a": 3.0, "b": "s"}
    g = dif.prepare_gradient(energy, MODEL, dif.Const(p), backend=backend)
    path = f"import sys; sys.path[:0] = [{str(ROOT / 'tests')!r}]\n"
    run = subprocess.run(
        [sys.executable, "-c", path + PROCESS], input=pickle.dumps((g, (MODEL, p))),
        capture_output=True, check=True,
    )  # fmt: skip
    found, strategy = pickle.loads(run.stdout)
    same(found.weights, 12 * X, FIRST[backend])
    assert strategy == STRATEGY[backend]
