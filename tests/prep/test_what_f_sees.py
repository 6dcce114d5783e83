"""All that a function can see of its arguments is in the signature, or comes with the call."""

import copy
import dataclasses
import functools
import re
from collections import OrderedDict
from decimal import Decimal
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import BACKENDS, FIRST, SECOND, same

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)


def by_order(p: Any) -> Any:
    first, second = p.values()
    return (first**2).sum() + 3 * second.sum()


@EVERYWHERE
def test_order_of_keys(backend: str) -> None:
    one, other = {"W": X, "b": X + 1}, {"b": X + 1, "W": X}
    for g in (
        dif.prepare_value_and_gradient(by_order, one, backend=backend),
        dif.prepare_value_and_gradient(by_order, backend=backend),
        functools.partial(dif.value_and_gradient, by_order, backend=backend),
    ):
        for p, value in ((one, 41.0), (other, 47.0), (one, 41.0)):
            found, gradient = g(p)
            assert found == value
            assert list(gradient) == list(p)
            first, second = p
            same(gradient[first], 2 * p[first], FIRST[backend])
            same(gradient[second], np.full(3, 3.0), FIRST[backend])


@EVERYWHERE
def test_order_of_keys_inside_and_constant(backend: str) -> None:
    f = lambda x, c: sum((i + 1) * (v * x).sum() for i, v in enumerate(c[0].values()))
    g = dif.prepare_gradient(f, X, dif.Const([{"a": X, "b": 2 * X}]), backend=backend)
    same(g(X, [{"a": X, "b": 2 * X}]), 5 * X, FIRST[backend])
    same(g(X, [{"b": 2 * X, "a": X}]), 4 * X, FIRST[backend])


@EVERYWHERE
def test_seeds_may_have_another_order_of_keys(backend: str) -> None:
    f = lambda p: (p["a"] ** 2).sum() + (p["b"] ** 3).sum()
    p, v = {"a": X, "b": X + 1}, {"b": X, "a": np.ones(3)}
    for hvp in (
        dif.prepare_hvp(f, p, backend=backend),
        dif.prepare_hvp(f, backend=backend),
        functools.partial(dif.hvp, f, backend=backend),
    ):
        found = hvp(p, tangents=v)
        assert list(found) == ["a", "b"]
        same(found["a"], np.full(3, 2.0), SECOND[backend])
        same(found["b"], 6 * (X + 1) * X, SECOND[backend])


def test_ordered_and_default_dicts_are_other_structures() -> None:
    g = dif.prepare_gradient(lambda p: p["a"] ** 2, {"a": 1.0}, backend="numpy")
    with pytest.raises(dif.PreparationMismatchError):
        g(OrderedDict(a=1.0))


class Keyed(dict[str, Any]):
    pass


class Pair(NamedTuple):
    a: Any
    b: Any


class Row(list[Any]):
    pass


STRUCTURE = {"a": [X, (X, None)], "b": {}, "c": Pair(X, {1: X})}
OTHER_STRUCTURES = {
    "subclass of a dict": Keyed(STRUCTURE),
    "OrderedDict": OrderedDict(STRUCTURE),
    "subclass of a list": {**STRUCTURE, "a": Row(STRUCTURE["a"])},
    "tuple for a list": {**STRUCTURE, "a": (X, (X, None))},
    "longer list": {**STRUCTURE, "a": [X, (X, None), X]},
    "shorter tuple": {**STRUCTURE, "a": [X, (X,)]},
    "leaf for None": {**STRUCTURE, "a": [X, (X, X)]},
    "None for a leaf": {**STRUCTURE, "a": [None, (X, None)]},
    "tree for a leaf": {**STRUCTURE, "a": [[X], (X, None)]},
    "leaf for a tree": {**STRUCTURE, "c": X},
    "key": {**STRUCTURE, "b": {"d": X}},
    "one key more": {**STRUCTURE, "d": X},
    "other key": {**STRUCTURE, "c": Pair(X, {2: X})},
    "tuple for a namedtuple": {**STRUCTURE, "c": (X, {1: X})},
    "array in Const": {**STRUCTURE, "a": [dif.Const(X), (X, None)]},
}


@pytest.mark.parametrize("name", OTHER_STRUCTURES)
def test_other_structures_do_not_pass_for_the_prepared_one(name: str) -> None:
    for part in ("active", "constant"):
        g = _of_structures(part)
        with pytest.raises((dif.PreparationMismatchError, dif.NotDifferentiableError)):
            other = OTHER_STRUCTURES[name]
            g(*((other, X) if part == "active" else (X, other)))


@functools.cache
def _of_structures(part: str) -> Any:
    if part == "active":
        f = lambda p, x: (p["a"][0] * p["a"][1][0] * p["c"].a * p["c"].b[1] * x).sum()
        g = dif.prepare_gradient(f, STRUCTURE, dif.Const(X), backend="autograd")
        expected = {"a": [X**4, (X**4, None)], "b": {}, "c": Pair(X**4, {1: X**4})}
        for x in (X, dif.Const(X)):
            assert repr(g(STRUCTURE, x)) == repr(expected)
        return g
    f = lambda x, p: (p["a"][0] * p["a"][1][0] * p["c"].a * p["c"].b[1] * x).sum()
    g = dif.prepare_gradient(f, X, dif.Const(STRUCTURE), backend="autograd")
    same(g(X, STRUCTURE), X**4, FIRST["autograd"])
    return g


@dataclasses.dataclass
class Doubling:
    w: Any
    size: int = dataclasses.field(init=False)
    total: Any = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.w = self.w * 2
        self.size = len(self.w)
        self.total = self.w.sum()

    @functools.cached_property
    def norm(self) -> Any:
        return (self.w**2).sum()


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    w: Any
    extra: Any = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra", 2.0)


def of_object(p: Any) -> Any:
    assert p.name == "set later"
    return (p.w**2).sum() * p.size + p.total * p.scale[0] + p.norm


@EVERYWHERE
@pytest.mark.parametrize("prepared", [True, False])
def test_objects_are_copied_as_they_are(backend: str, prepared: bool) -> None:
    p: Any = Doubling(X)
    p.name, p.scale = "set later", np.array([5.0])
    assert p.norm == 56.0  # cached, and not to be taken for a constant
    call = (
        dif.prepare_value_and_gradient(of_object, p, backend=backend)
        if prepared
        else functools.partial(dif.value_and_gradient, of_object, backend=backend)
    )
    for scale in (5.0, 7.0):  # an array is a run-time value
        p.scale = np.array([scale])
        value, gradient = call(p)
        assert value == 56 * 3 + 12 * scale + 56
        assert type(gradient) is Doubling
        same(gradient.w, 8 * p.w, FIRST[backend])
        assert gradient.total is gradient.scale is gradient.size is None


@EVERYWHERE
def test_objects_in_const(backend: str) -> None:
    f = lambda x, p: (x * p.w).sum() * p.size
    p = Doubling(X)
    g = dif.prepare_gradient(f, X, dif.Const(p), backend=backend)
    same(g(X, p), 6 * X, FIRST[backend])
    same(dif.gradient(f, X, dif.Const(p), backend=backend), 6 * X, FIRST[backend])
    p.size = 4
    with pytest.raises(dif.PreparationMismatchError, match=r"`p.size`: prepared with static 3"):
        g(X, p)


@EVERYWHERE
def test_objects_with_slots(backend: str) -> None:
    p = Slotted(X)
    g = dif.prepare_gradient(lambda p: (p.w**2).sum() * p.extra, p, backend=backend)
    same(g(p).w, 4 * X, FIRST[backend])
    h = dif.prepare_hvp(lambda p: (p.w**3).sum() * p.extra, p, backend=backend)
    same(h(p, tangents=Slotted(X)).w, 12 * X * X, SECOND[backend])


@EVERYWHERE
def test_objects_that_f_makes(backend: str) -> None:
    def f(x: Any) -> Any:
        return Result(x * 2)

    y, dy = dif.value_and_pushforward(f, X, tangents=X, backend=backend)
    assert type(y) is type(dy) is Result
    same(y.total, 12.0, FIRST[backend])
    same(dy.total, 12.0, FIRST[backend])
    same(dy.w, 2 * X, FIRST[backend])


@dataclasses.dataclass
class Result:
    w: Any
    total: Any = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.total = self.w.sum()


class Plain:
    def __init__(self, n: int) -> None:
        self.n = n


class Numbers(list):
    pass


STATICS = {
    "set": ({1, 2}, lambda s: s.add(3), len),
    "list's subclass": (Numbers([1]), lambda s: s.append(2), len),
    "attribute": (Plain(1), lambda s: setattr(s, "n", 2), lambda s: s.n),
    "attribute of an attribute": (
        functools.partial(Plain(1).__init__, 1), lambda s: s.func.__self__.__init__(5),
        lambda s: s.func.__self__.n),
    "array in an object": (
        Plain(np.ones(2)), lambda s: s.n.__setitem__(0, 3.0), lambda s: int(s.n[0])),
    "a set in a tuple's subclass": (
        type("T", (tuple,), {})([{1}]), lambda s: s[0].add(2), lambda s: len(s[0])),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", STATICS)
def test_static_objects_count_by_their_present_state(name: str, backend: str) -> None:
    value, change, number = STATICS[name]
    value = copy.deepcopy(value)
    f = lambda x, c: (x * number(c)).sum()
    lazy = dif.prepare_gradient(f, backend=backend)
    strict = dif.prepare_gradient(f, X, dif.Const(value), backend=backend)
    for _ in range(3):
        want = np.full(3, float(number(value)))
        same(lazy(X, dif.Const(value)), want, FIRST[backend])
        same(strict(X, value), want, FIRST[backend])
    change(value)
    want = np.full(3, float(number(value)))
    same(lazy(X, dif.Const(value)), want, FIRST[backend])
    with pytest.raises(dif.PreparationMismatchError):
        strict(X, value)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Decimal("1.0"), Decimal("1.00")), (1, True), ((1, Decimal("1.0")), (True, Decimal("1.0"))),
        ({1}, {True}), (frozenset({1}), frozenset({1.0})), (slice(1), slice(True)),
        (re.compile("a"), re.compile("ab")),
    ],
)  # fmt: skip
def test_equal_but_not_the_same(a: Any, b: Any) -> None:
    f = lambda x, c: (x * len(repr(c))).sum()
    g = dif.prepare_gradient(f, backend="autograd")
    for value in (a, b, a):
        same(g(X, dif.Const(value)), np.full(3, float(len(repr(value)))), 1e-14)


def test_what_refuses_to_be_pickled_counts_by_identity() -> None:
    """There may be more in an object of C than Python sees."""
    g = dif.prepare_gradient(lambda x, c: (x * c.size).sum(), backend="autograd")
    for value in (Struct("b"), Struct("bb"), Struct("bbb")):
        same(g(X, dif.Const(value)), np.full(3, float(value.size)), 1e-14)


NUMBERS = {"float": float, "np.float64": np.float64, "array": np.array}


@EVERYWHERE
@pytest.mark.parametrize("called", NUMBERS)
@pytest.mark.parametrize("prepared", NUMBERS)
def test_numbers_are_taken_for_one_another(prepared: str, called: str, backend: str) -> None:
    was, now = NUMBERS[prepared], NUMBERS[called]
    f = lambda t, p, c: t**2 * p["s"] * c["c"]
    given = was(3.0), {"s": was(2.0)}, {"c": was(5.0)}
    g = dif.prepare_gradient(f, *given[:2], dif.Const(given[2]), backend=backend)
    found = g(now(2.0), {"s": now(3.0)}, {"c": now(7.0)})
    same(found[0], 84.0, FIRST[backend])
    same(found[1]["s"], 28.0, FIRST[backend])


@EVERYWHERE
def test_const_at_a_leaf(backend: str) -> None:
    def f(p: Any) -> Any:
        assert type(p["n"]) is int
        return (p["w"] ** p["n"] * p["c"][0]).sum()

    p = {"w": X, "n": dif.Const(3), "c": dif.Const([np.array(2.0)])}
    g = dif.prepare_gradient(f, p, backend=backend)
    for found in (dif.gradient(f, p, backend=backend), g(p), g({**p, "n": 3})):
        assert list(found) == ["w", "n", "c"]
        assert found["n"] is found["c"] is None
        same(found["w"], 6 * X**2, FIRST[backend])
    same(g({**p, "c": [np.array(3.0)]})["w"], 9 * X**2, FIRST[backend])
    v = {"w": np.ones(3), "n": None, "c": None}
    for hvp in (
        functools.partial(dif.hvp, f, backend=backend),
        dif.prepare_hvp(f, p, backend=backend),
    ):
        found = hvp(p, tangents=v)
        assert found["n"] is None
        same(found["w"], 12 * X, SECOND[backend])
    hessian = dif.hessian(f, p, backend=backend)
    assert hessian["n"] is None
    assert hessian["w"]["c"] is None
    same(hessian["w"]["w"], np.diag(12 * X), SECOND[backend])
    jacobian = dif.jacobian(lambda p: {"y": p["w"] * p["c"][0]}, p, backend=backend)
    assert jacobian["y"]["n"] is None
    _, pull = dif.vjp(f, p, backend=backend)
    same(pull(1.0)["w"], 6 * X**2, FIRST[backend])
    out = {"w": np.zeros(3), "n": None, "c": None}
    assert g(p, out=out)["w"] is out["w"]
    same(out["w"], 6 * X**2, FIRST[backend])
    with pytest.raises(dif.PreparationMismatchError, match=r"`p\['n'\]`: prepared with static 3"):
        g({**p, "n": 4})


def test_a_tree_of_constants_has_nothing_to_differentiate() -> None:
    with pytest.raises(dif.InvalidArgumentError, match="There is nothing to differentiate"):
        dif.gradient(lambda p: p["a"], {"a": dif.Const(1.0)}, backend="numpy")


@EVERYWHERE
def test_a_float_in_const_is_a_float(backend: str) -> None:
    """Prepared calls take it for a run-time array where the function does not mind."""
    f = lambda x, c: (x * c).sum() if isinstance(c, float) else (100 * x * c).sum()
    g = dif.prepare_gradient(f, X, dif.Const(3.0), backend=backend)
    for c in (3.0, 4.0, 3.0):
        same(g(X, c), np.full(3, c), FIRST[backend])
    inside = lambda x, p: f(x, p["c"])
    g = dif.prepare_gradient(inside, X, dif.Const({"c": 3.0}), backend=backend)
    same(g(X, {"c": 4.0}), np.full(3, 4.0), FIRST[backend])
    leaf = lambda p: f(p["x"], p["c"])
    g = dif.prepare_gradient(leaf, {"x": X, "c": dif.Const(3.0)}, backend=backend)
    same(g({"x": X, "c": 4.0})["x"], np.full(3, 4.0), FIRST[backend])


@EVERYWHERE
@pytest.mark.parametrize("together", [True, False])
def test_a_float_is_not_rounded_to_another_argument(backend: str, together: bool) -> None:
    f = lambda x, y, c: (x * c if together else x * 2).sum() + (y * c).sum()
    x = X.astype("float32")
    g = dif.prepare_gradient(f, x, X, dif.Const(0.5), backend=backend)
    dx, dy = g(x, X, 0.1)
    assert dx.dtype == np.float32
    same(dy, np.full(3, 0.1), FIRST[backend])


def test_a_float_that_changes_is_compiled_once() -> None:
    traced = []

    def f(x: Any, c: Any) -> Any:
        traced.append(c)
        return (x * c).sum()

    g = dif.prepare_gradient(f, X, dif.Const(0.5), backend="autograd")
    before = len(traced)
    for c in (0.1, 0.2, 0.3):
        same(g(X, c), np.full(3, c), 1e-14)
    assert len(traced) == before


@pytest.mark.parametrize("backend", ["jax", "torch", "autograd"])
def test_a_program_is_compared_with_a_plain_call(backend: str) -> None:
    """A function that returns something else at every evaluation cannot be recorded."""
    calls: list[int] = []

    def f(x: Any) -> Any:
        calls.append(1)
        return (x * len(calls)).sum()

    with pytest.warns(dif.PreparationWarning, match="than the function|when run again"):
        g = dif.prepare_gradient(f, X, backend=backend)
    assert g.strategy == "eager"


@EVERYWHERE
@pytest.mark.parametrize("operator", ["jacobian", "pushforward"])
def test_a_result_named_anew_at_every_call(operator: str, backend: str) -> None:
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return {f"call {calls}": x**2}

    given = {"tangents": X} if operator == "pushforward" else {}
    with pytest.warns(dif.PreparationWarning, match="another structure at every call"):
        prepared = getattr(dif, f"prepare_{operator}")(f, X, backend=backend)
    assert prepared.strategy == "eager"
    assert list(prepared(X, **given)) == [f"call {calls}"]


@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "complex-step"])
@pytest.mark.parametrize("prepared", [True, False])
def test_second_derivatives_of_holomorphic_functions(backend: str, prepared: bool) -> None:
    def f(z: Any) -> Any:
        return dif.namespace(z).exp(z) * z**2

    z = 0.4 + 0.3j
    operator = dif.value_derivative_and_second_derivative
    if prepared:
        prepare = dif.prepare_value_derivative_and_second_derivative
        found = prepare(f, z, backend=backend, holomorphic=True)(z)
    else:
        found = operator(f, z, backend=backend, holomorphic=True)
    wanted = (z**2, z**2 + 2 * z, z**2 + 4 * z + 2)
    for derivative, factor in zip(found, wanted, strict=True):
        assert isinstance(derivative, complex)
        assert abs(derivative - np.exp(z) * factor) < 1e-8


def test_second_derivatives_of_complex_numbers_need_the_word() -> None:
    with pytest.raises(dif.NotDifferentiableError, match="not defined without holomorphic=True"):
        dif.second_derivative(lambda z: z**2, 1j, backend="autograd")


@EVERYWHERE
@pytest.mark.parametrize("prepared", [True, False])
def test_out_must_not_overlap(backend: str, prepared: bool) -> None:
    f = lambda a, b: (a * b).sum()
    call = functools.partial(dif.gradient, f, backend=backend)
    if prepared:
        call = dif.prepare_gradient(f, X, 2 * X, backend=backend)
    o = np.zeros(6)
    with pytest.raises(dif.InvalidArgumentError) as caught:
        call(X, 2 * X, out=(o[:3], o[2:5]))
    assert str(caught.value) == (
        "`out[0]` and `out[1]` share memory, so that one result would overwrite the other; give "
        "each an array of its own."
    )
    assert not o.any()
    call(X, 2 * X, out=(o[::2], o[1::2]))  # interlaced, but apart
    same(o, np.ravel([2 * X, X], "F"), FIRST[backend])


@EVERYWHERE
def test_trees_that_a_library_registers_are_trees_to_every_backend(backend: str) -> None:
    jax = pytest.importorskip("jax")

    class Powers:
        def __init__(self, w: Any, n: int) -> None:
            self.w, self.n = w, n

    jax.tree_util.register_pytree_node(
        Powers, lambda p: ((p.w,), p.n), lambda n, children: Powers(*children, n)
    )
    f = lambda p: (p.w**p.n).sum()
    p = Powers(X, 3)
    prepared = dif.prepare_gradient(f, p, backend=backend)
    for g in (functools.partial(dif.gradient, f, backend=backend), prepared):
        same(g(p).w, 3 * X**2, FIRST[backend])
    own = Powers(jax.numpy.asarray([1.0, 2.0]), 2)
    found = dif.gradient(f, own)  # jax, by the kind of its arrays
    assert isinstance(found.w, jax.Array)


@EVERYWHERE
def test_what_such_trees_hold_counts_by_its_state(backend: str) -> None:
    """JAX compares it by ``==``: `1` with `True`, a list with itself."""
    jax = pytest.importorskip("jax")

    class Scaled:
        def __init__(self, w: Any, by: Any) -> None:
            self.w, self.by = w, by

    jax.tree_util.register_pytree_node(
        Scaled, lambda p: ((p.w,), p.by), lambda by, children: Scaled(*children, by)
    )
    factor = lambda by: sum(by) if type(by) is list else len(repr(by))
    prepared = dif.prepare_gradient(lambda p: (p.w**2).sum() * factor(p.by), backend=backend)
    changing = [2]
    for by in (1, True, 1, 1.0, changing, changing):
        same(prepared(Scaled(X, by)).w, 2 * X * factor(by), FIRST[backend])
        if by is changing:
            changing.append(5)


def test_masked_arrays_in_const_keep_their_mask() -> None:
    m = np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0])
    g = dif.prepare_gradient(lambda x, m: (x * m.filled(7.0)).sum(), backend="autograd")
    same(g(X, dif.Const(m)), np.array([1.0, 7.0, 3.0]), 1e-14)
    m[1] = 5.0
    same(g(X, dif.Const(m)), np.array([1.0, 5.0, 3.0]), 1e-14)


@EVERYWHERE
def test_leaves_of_such_trees_have_their_own_names(backend: str) -> None:
    """As in equinox, whose static fields stand between the others."""
    jax = pytest.importorskip("jax")

    @dataclasses.dataclass
    class Layer:
        name: str
        weight: Any
        bias: Any

    jax.tree_util.register_dataclass(Layer, ["weight", "bias"], ["name"])
    with pytest.raises(dif.NotDifferentiableError, match=r"^`p\[0\]\.bias` must be floating-point"):
        dif.gradient(lambda p: p[0].weight.sum(), [Layer("a", X, np.arange(3))], backend=backend)
    assert dif.gradient(lambda p: p[0].weight.sum(), [Layer("a", X, X)], backend=backend)
