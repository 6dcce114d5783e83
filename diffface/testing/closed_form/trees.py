"""Trees in and out: dict, list, tuple, namedtuple, dataclass, numbers as leaves."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from diffface.backends.namespace import namespace
from diffface.prep.arguments.const import Const
from diffface.testing.closed_form.scenario import Scenario
from diffface.testing.trees import Tree, leaves, outer, rebuild


class Pair(NamedTuple):
    """A namedtuple."""

    low: Any
    high: Any


@dataclass(frozen=True)
class Layer:
    """A dataclass."""

    weight: Any
    bias: Any


def polynomial(tree: Any) -> Any:
    """``S^2 / 2 + sum x^3 / 6`` with ``S`` the sum of the leaves, leaf ``k`` weighted by k + 1."""
    parts = leaves(tree)
    xp = namespace(*parts)
    weighted = sum((k + 1) * xp.sum(part) for k, part in enumerate(parts))
    return weighted**2 / 2 + sum(xp.sum(part**3) for part in parts) / 6


def _weighted(tree: Tree) -> Any:
    return sum((k + 1) * np.sum(leaf) for k, leaf in enumerate(leaves(tree)))


def _value(tree: Tree) -> Any:
    return _weighted(tree) ** 2 / 2 + sum(np.sum(np.asarray(p) ** 3) for p in leaves(tree)) / 6


def _gradient(tree: Tree) -> Tree:
    s = _weighted(tree)
    return rebuild(tree, [(k + 1) * s + np.asarray(p) ** 2 / 2 for k, p in enumerate(leaves(tree))])


def _hessian(tree: Tree) -> Tree:
    blocks = []
    for i, a in enumerate(leaves(tree)):
        for j, b in enumerate(leaves(tree)):
            block = np.full(np.shape(a) + np.shape(b), (i + 1.0) * (j + 1.0))
            if i == j:
                size = np.size(a)
                block += np.reshape(np.diag(np.reshape(a, size)), block.shape)
            blocks.append(block)
    return outer(tree, tree, blocks)


def _tree_scenario(name: str, tree: Tree, factor: float, **options: Any) -> Scenario:
    # NumPy makes scalars of arrays of shape (); they have to stay arrays.
    other = rebuild(
        tree,
        [np.array(p * factor) if isinstance(p, np.ndarray) else p * factor for p in leaves(tree)],
    )
    return Scenario(
        name, polynomial, (tree,), (other,), value=_value, gradient=_gradient, hessian=_hessian,
        operators=("gradient", "hessian", "hvp", "pushforward", "pullback"), **options,
    )  # fmt: skip


MATRIX, VECTOR = np.array([[1.0, -0.5, 0.25], [0.5, 2.0, -1.0]]), np.array([0.5, 1.5])


def out_of_vector(x: Any) -> Any:
    """A dict of a vector and a tuple of a number and a namedtuple."""
    xp = namespace(x)
    return {"sin": xp.sin(x), "rest": (xp.sum(x), Pair(x[:1] * 2, [x[1] * x[0]]))}


def _out_value(x: Any) -> Tree:
    return {"sin": np.sin(x), "rest": (np.sum(x), Pair(x[:1] * 2, [x[1] * x[0]]))}


def _out_jacobian(x: Any) -> Tree:
    high = [np.array([x[1], x[0]])]
    return {"sin": np.diag(np.cos(x)), "rest": (np.ones(2), Pair(np.array([[2.0, 0.0]]), high))}


def out_of_number(t: Any, layer: Any) -> Any:
    """A dataclass of one number, and a constant tree."""
    xp = namespace(t, layer.weight)
    return Layer(layer.weight * t**2, [xp.exp(layer.bias * t)])


def through(p: Any) -> Any:
    """Trees in and out."""
    return [p["x"] * p["y"], {"sum": namespace(p["x"]).sum(p["x"])}]


SCENARIOS = (
    _tree_scenario(
        "deep tree",
        {
            "b": [VECTOR, (MATRIX,)],
            "a": Pair(np.array([0.75]), Layer(np.array([1.0, -2.0]), np.array(0.5))),
        },
        -0.5, core=True,
    ),
    _tree_scenario("tree with numbers", {"t": 2.0, "n": np.float64(3.0), "v": [VECTOR]}, 0.25),
    _tree_scenario("list of one", [VECTOR], -2.0),
    _tree_scenario("dataclass", Layer(MATRIX, VECTOR), 0.5),
    Scenario(
        "several trees and Const",
        lambda p, c, q: polynomial([p, q]) * c["scale"],
        ({"u": VECTOR}, Const({"scale": 2.0, "name": "static"}), Pair(0.5, MATRIX)),
        ({"u": -VECTOR}, Const({"scale": -1.0, "name": "static"}), Pair(1.5, MATRIX * 2)),
        value=lambda p, c, q: _value([p, q]) * c["scale"],
        gradient=lambda p, c, q: tuple(
            rebuild(g, [c["scale"] * leaf for leaf in leaves(g)]) for g in _gradient([p, q])
        ),
        operators=("gradient", "pullback", "pushforward"),
    ),
    Scenario(
        "an ignored leaf",
        lambda p: namespace(p["u"]).sum(p["u"] ** 2),
        ({"u": VECTOR, "v": MATRIX},), ({"u": -VECTOR, "v": MATRIX},),
        value=lambda p: np.sum(p["u"] ** 2),
        gradient=lambda p: {"u": 2 * p["u"], "v": np.zeros((2, 3))},
        operators=("gradient", "pullback", "pushforward"),
    ),
    Scenario(
        "vector to tree", out_of_vector, (VECTOR,), (-VECTOR,),
        value=_out_value, jacobian=_out_jacobian,
    ),
    Scenario(
        "number to tree",
        out_of_number,
        (0.5, Const(Layer(VECTOR, 2.0))), (1.5, Const(Layer(-VECTOR, -1.0))),
        value=lambda t, c: Layer(c.weight * t**2, [np.exp(c.bias * t)]),
        derivative=lambda t, c: Layer(2 * c.weight * t, [c.bias * np.exp(c.bias * t)]),
        second_derivative=lambda t, c: Layer(2 * c.weight, [c.bias**2 * np.exp(c.bias * t)]),
    ),
    Scenario(
        "tree to tree",
        through,
        ({"x": VECTOR, "y": MATRIX[0, :2]},), ({"x": -VECTOR, "y": MATRIX[1, :2]},),
        value=lambda p: [p["x"] * p["y"], {"sum": np.sum(p["x"])}],
        jacobian=lambda p: [
            {"x": np.diag(p["y"]), "y": np.diag(p["x"])},
            {"sum": {"x": np.ones(2), "y": np.zeros(2)}},
        ],
    ),
)  # fmt: skip
