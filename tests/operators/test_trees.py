"""Arguments and results that are trees."""

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import BACKENDS, FIRST, SECOND, plain, same
from hypothesis import given, settings
from hypothesis import strategies as st

import diffface as dif

A, B = np.array([1.0, 2.0]), np.array([[3.0, 5.0, 7.0]])
EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)
PREPARED = pytest.mark.parametrize("prepared", [False, True])

Pair = namedtuple("Pair", "left right")  # noqa: PYI024 (the untyped kind is to be tested, too)


class Typed(NamedTuple):
    left: Any
    right: Any


@dataclass
class Open:
    left: Any
    right: Any


@dataclass(frozen=True)
class Frozen:
    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class Slotted:
    left: Any
    right: Any = field(default=0.0, kw_only=True)


def leaves(tree: Any) -> list[Any]:
    """Left to right, by hand."""
    if isinstance(tree, dict):
        return [a for key in tree for a in leaves(tree[key])]
    if isinstance(tree, list | tuple):
        return [a for child in tree for a in leaves(child)]
    if hasattr(tree, "left"):
        return leaves(tree.left) + leaves(tree.right)
    return [] if tree is None else [tree]


def cubes(tree: Any) -> Any:
    """Sum of cubes over all leaves."""
    parts = leaves(tree)
    xp = dif.namespace(*parts)
    return sum(xp.sum(a * a * a) for a in parts)


TREES = {
    "dict": {"b": A, "a": B},
    "OrderedDict": OrderedDict([("b", A), ("a", B)]),
    "defaultdict": defaultdict(list, {"b": A, "a": B}),
    "list": [A, B],
    "tuple": (A, B),
    "one": [A],
    "namedtuple": Pair(A, B),
    "NamedTuple": Typed(A, {"x": B}),
    "dataclass": Open(A, B),
    "frozen": Frozen(A, [B, 2.0]),
    "slotted": Slotted(A, right=B),
    "nested": {"p": [Open(A, (B, Frozen(1.5, A))), 2.5], "q": {"r": (A,)}},
    "None inside": {"a": A, "b": None, "c": [None, B]},
    "empty inside": {"a": A, "b": [], "c": ()},
    "scalars": [1.5, np.float64(2.5), np.array(3.5)],
}


def expect(value: Any, tree: Any, of: Any, rtol: float) -> None:
    """``value`` has the types and keys of ``tree`` and the leaves ``of`` its leaves."""
    assert type(value) is type(tree)
    if isinstance(tree, dict):
        assert list(value) == list(tree)
        for key in tree:
            expect(value[key], tree[key], of, rtol)
    elif isinstance(tree, list | tuple):
        assert len(value) == len(tree)
        for one, other in zip(value, tree, strict=True):
            expect(one, other, of, rtol)
    elif hasattr(tree, "left"):
        expect(value.left, tree.left, of, rtol)
        expect(value.right, tree.right, of, rtol)
    elif tree is not None:
        same(value, of(tree), rtol)


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("name", TREES)
def test_the_gradient_has_the_structure_of_the_argument(
    name: str, prepared: bool, backend: str
) -> None:
    tree = TREES[name]
    if prepared:
        result = dif.prepare_gradient(cubes, tree, backend=backend)(tree)
    else:
        result = dif.gradient(cubes, tree, backend=backend)
    expect(result, tree, lambda a: 3 * a**2, 10 * FIRST[backend])


@EVERYWHERE
@PREPARED
@pytest.mark.parametrize("name", ["frozen", "nested", "None inside", "dict"])
def test_seeds_are_trees(name: str, prepared: bool, backend: str) -> None:
    tree = TREES[name]
    if prepared:
        result = dif.prepare_hvp(cubes, tree, backend=backend)(tree, tangents=tree)
    else:
        result = dif.hvp(cubes, tree, tangents=tree, backend=backend)
    expect(result, tree, lambda a: 6 * a**2, SECOND[backend])
    call = dif.prepare_pushforward(cubes, tree, backend=backend) if prepared else None
    if call is not None:
        dy = call(tree, tangents=tree)
    else:
        dy = dif.pushforward(cubes, tree, tangents=tree, backend=backend)
    same(dy, np.array(sum(np.sum(3 * plain(a) ** 3) for a in leaves(tree))), 10 * FIRST[backend])


@EVERYWHERE
def test_batched_seeds_are_trees(backend: str) -> None:
    tree = Frozen(A, [B, 2.0])
    seeds = Frozen(np.stack([A, 0 * A]), [np.stack([B, B]), np.array([2.0, 0.0])])
    result = dif.hvp(cubes, tree, tangents=seeds, batched=True, backend=backend)
    assert type(result) is Frozen
    same(result.left, np.stack([6 * A * A, 0 * A]), SECOND[backend])
    same(result.right[0], np.stack([6 * B * B, 6 * B * B]), SECOND[backend])
    same(result.right[1], np.array([24.0, 0.0]), SECOND[backend])


@EVERYWHERE
@PREPARED
def test_jacobian_of_trees_is_a_tree_of_trees(prepared: bool, backend: str) -> None:
    def f(p: Any, q: Any) -> Any:
        xp = dif.namespace(p.left)
        return {"y": p.left * 3.0, "z": Typed(xp.sum(q), [xp.sum(p.left) * q])}

    p, q = Open(A, None), np.array([4.0, 5.0, 6.0])
    if prepared:
        jacobian = dif.prepare_jacobian(f, p, q, backend=backend)(p, q)
    else:
        jacobian = dif.jacobian(f, p, q, backend=backend)
    assert list(jacobian) == ["y", "z"]
    assert type(jacobian["z"]) is Typed
    dy, dz, dw = jacobian["y"], jacobian["z"].left, jacobian["z"].right[0]
    for block in (dy, dz, dw):
        assert type(block) is tuple
        assert type(block[0]) is Open
        assert block[0].right is None
    rtol = FIRST[backend]
    same((dy[0].left, dy[1]), (3 * np.eye(2), np.zeros((2, 3))), rtol)
    same((dz[0].left, dz[1]), (np.zeros(2), np.ones(3)), rtol)
    same((dw[0].left, dw[1]), (np.outer(q, np.ones(2)), 3 * np.eye(3)), 10 * rtol)


@EVERYWHERE
@PREPARED
def test_tree_hessian_is_blocks(prepared: bool, backend: str) -> None:
    def f(p: Any) -> Any:
        xp = dif.namespace(p["a"])
        return xp.sum(p["a"] ** 2) * p["b"][0] + p["b"][1] ** 3

    p = {"a": A, "b": (3.0, 2.0)}
    if prepared:
        h = dif.prepare_hessian(f, p, backend=backend)(p)
    else:
        h = dif.hessian(f, p, backend=backend)
    zero = np.zeros(())
    expected = {
        "a": {"a": 6 * np.eye(2), "b": (2 * A, np.zeros(2))},
        "b": (
            {"a": 2 * A, "b": (zero, zero)},
            {"a": np.zeros(2), "b": (zero, np.array(12.0))},
        ),
    }
    same(h, expected, SECOND[backend], atol=1e-5)


@EVERYWHERE
def test_results_of_f_are_trees(backend: str) -> None:
    def f(t: Any) -> Any:
        return {"s": t * t, "u": [t**3, None]}

    y, dy = dif.value_and_derivative(f, 2.0, backend=backend)
    same(y, {"s": 4.0, "u": [8.0, None]})
    same(dy, {"s": 4.0, "u": [12.0, None]}, FIRST[backend])
    y, dy, ddy = dif.value_derivative_and_second_derivative(f, 2.0, backend=backend)
    same((y, dy), ({"s": 4.0, "u": [8.0, None]}, {"s": 4.0, "u": [12.0, None]}), 1e-6)
    same(ddy, {"s": 2.0, "u": [12.0, None]}, 1e-5)
    assert type(ddy["s"]) is float
    dx = dif.pullback(f, 2.0, cotangents={"s": 1.0, "u": [10.0, None]}, backend=backend)
    same(dx, np.array(124.0), 1e-7)


@EVERYWHERE
def test_const_trees_keep_their_types(backend: str) -> None:
    def f(x: Any, tree: Any) -> Any:
        assert type(tree) is Frozen
        assert type(tree.right) is Pair
        assert tree.right.right == "name"
        return dif.namespace(x).sum(x * tree.left) * tree.right.left

    constant = dif.Const(Frozen(B[0, :2], Pair(2.0, "name")))
    same(dif.gradient(f, A, constant, backend=backend), 2 * B[0, :2], FIRST[backend])
    g = dif.prepare_gradient(f, A, constant, backend=backend)
    same(g(A, Frozen(A, Pair(5.0, "name"))), 5 * A, FIRST[backend])


def test_pytrees_registered_with_jax() -> None:
    import jax

    class Box:
        def __init__(self, inside: Any) -> None:
            self.inside = inside

    jax.tree_util.register_pytree_node(
        Box, lambda box: ((box.inside,), None), lambda _, children: Box(*children)
    )

    def f(p: Any) -> Any:
        return jax.numpy.sum(p["box"].inside ** 2)

    for call in (
        lambda p: dif.gradient(f, p, backend="jax"),
        lambda p: dif.prepare_gradient(f, p, backend="jax")(p),
    ):
        result = call({"box": Box(A)})
        assert type(result["box"]) is Box
        same(result["box"].inside, 2 * A)
    hessian = dif.hessian(f, {"box": Box(A)}, backend="jax")
    same(hessian["box"].inside["box"].inside, 2 * np.eye(2))


def test_dataclass_with_fields_that_are_not_arguments() -> None:
    @dataclass
    class Derived:
        left: Any
        right: Any = 1.0
        size: int = field(init=False, default=7)

    result = dif.gradient(cubes, Derived(A), backend="numpy")
    assert type(result) is Derived
    same((result.left, result.right), (3 * A**2, np.array(3.0)), 1e-7)
    assert result.size == 7


# Any tree of arrays of any shapes


shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
arrays = shapes.flatmap(
    lambda shape: st.integers(0, 99).map(
        lambda seed: np.random.default_rng(seed).uniform(0.5, 2.0, shape)
    )
)
trees = st.recursive(
    arrays | st.floats(0.5, 2.0),
    lambda children: (
        st.lists(children, min_size=1, max_size=3)
        | st.lists(children, min_size=1, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from("abcd"), children, min_size=1, max_size=3)
        | st.tuples(children, children).map(lambda c: Typed(*c))
        | st.tuples(children, children).map(lambda c: Frozen(*c))
    ),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(tree=trees)
@pytest.mark.parametrize("backend", ["torch", "autograd"])
def test_any_tree(tree: Any, backend: str) -> None:
    _check_any(tree, backend)


# Every new shape costs JAX a compilation of every primitive.
@settings(max_examples=3, deadline=None, derandomize=True)
@given(tree=trees)
def test_any_tree_on_jax(tree: Any) -> None:
    _check_any(tree, "jax")


def _check_any(tree: Any, backend: str) -> None:
    result = dif.gradient(cubes, tree, backend=backend)
    expect(result, tree, lambda a: 3 * a**2, 1e-12)
    y, dy = dif.value_and_pushforward(cubes, tree, tangents=tree, backend=backend)
    same(dy, 3 * plain(y), 1e-11)
    doubled = dif.jacobian(lambda p: _map(p, 2.0), tree, backend=backend)
    _check_identity(doubled, tree)


def _map(tree: Any, factor: float) -> Any:
    if isinstance(tree, dict):
        return {key: _map(child, factor) for key, child in tree.items()}
    if isinstance(tree, Typed | Frozen):
        return type(tree)(_map(tree.left, factor), _map(tree.right, factor))
    if isinstance(tree, list | tuple):
        return type(tree)(_map(child, factor) for child in tree)
    return tree * factor


def _check_identity(jacobian: Any, tree: Any) -> None:
    rows, columns = [], leaves(tree)
    _rows(jacobian, tree, rows)
    assert len(rows) == len(columns)
    for i, row in enumerate(rows):
        for j, block in enumerate(leaves(row)):
            a, b = np.shape(columns[i]), np.shape(columns[j])
            assert np.shape(block) == a + b
            expected = 2 * np.eye(int(np.prod(a))) if i == j else np.zeros(())
            same(
                np.reshape(block, (int(np.prod(a)), int(np.prod(b)))),
                np.broadcast_to(expected, (int(np.prod(a)), int(np.prod(b)))),
            )


def _rows(jacobian: Any, tree: Any, rows: list[Any]) -> None:
    if isinstance(tree, dict):
        for key in tree:
            _rows(jacobian[key], tree[key], rows)
    elif isinstance(tree, Typed | Frozen):
        _rows(jacobian.left, tree.left, rows)
        _rows(jacobian.right, tree.right, rows)
    elif isinstance(tree, list | tuple):
        for one, child in zip(jacobian, tree, strict=True):
            _rows(one, child, rows)
    else:
        rows.append(jacobian)
