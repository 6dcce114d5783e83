"""Several arguments: every mask of Const, argnums, keywords, aux, the same array twice."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from diffface.backends.namespace import namespace
from diffface.prep.arguments.const import Const
from diffface.testing.closed_form.scenario import Scenario

X, A, S = np.array([1.0, -2.0, 0.5]), np.array([[1.0, 2.0, -1.0], [0.5, 1.5, 3.0]]), 1.5
OTHER_X, OTHER_A = np.array([0.3, 1.1, -0.7]), np.array([[2.0, -0.5, 1.0], [1.2, 0.1, -1.0]])
OTHER_S = -0.75
SELECTED = ("gradient", "hessian", "hvp", "pushforward", "pullback")


def energy(x: Any, a: Any, s: Any) -> Any:
    """``s ||a x||^2``, of a vector, a matrix and a number."""
    xp = namespace(x, a, s)
    return s * xp.sum((a @ x) ** 2)


def _gradients(x: Any, a: Any, s: Any) -> tuple[Any, ...]:
    r = a @ x
    return 2 * s * (a.T @ r), 2 * s * np.outer(r, x), float(np.sum(r**2))


def _hessians(x: Any, a: Any, s: Any) -> list[list[Any]]:
    r: Any = a @ x
    rows, columns = np.eye(a.shape[0]), np.eye(a.shape[1])
    xa = 2 * s * (_product("jl,k->jkl", columns, r) + _product("kj,l->jkl", a, x))
    aa = 2 * s * _product("km,ln->klmn", rows, np.outer(x, x))
    xs, as_ = 2 * (a.T @ r), 2 * np.outer(r, x)
    return [
        [2 * s * (a.T @ a), xa, xs],
        [np.moveaxis(xa, 0, -1), aa, as_],
        [xs, as_, 0.0],
    ]


def _product(indices: str, a: Any, b: Any) -> Any:
    return np.einsum(indices, a, b)


def _masks() -> Iterator[Scenario]:
    """One scenario for every choice of constant arguments."""
    here, there = (X, A, S), (OTHER_X, OTHER_A, OTHER_S)
    for mask in product((False, True), repeat=3):
        active = [i for i in range(3) if not mask[i]]
        if active:
            yield _energy(
                "active " + "".join("xas"[i] for i in active), active, len(active) == 1,
                tuple(Const(v) if c else v for v, c in zip(here, mask, strict=True)),
                tuple(Const(v) if c else v for v, c in zip(there, mask, strict=True)),
                operators=SELECTED, core=not any(mask),
            )  # fmt: skip


def _energy(
    name: str, active: list[int], bare: bool, args: Any, other_args: Any, **options: Any
) -> Scenario:
    def gradient(*v: Any) -> Any:
        chosen = tuple(_gradients(*v)[i] for i in active)
        return chosen[0] if bare else chosen

    def hessian(*v: Any) -> Any:
        blocks = _hessians(*v)
        chosen = tuple(tuple(blocks[i][j] for j in active) for i in active)
        return chosen[0][0] if bare else chosen

    def value(x: Any, a: Any, s: Any) -> Any:
        return s * np.sum((a @ x) ** 2)

    return Scenario(
        name, energy, args, other_args, value=value, gradient=gradient, hessian=hessian, **options
    )


def products(x: Any, y: Any) -> Any:
    """``x_i y_j``, a matrix."""
    xp = namespace(x, y)
    return xp.reshape(x, (-1, 1)) * xp.reshape(y, (1, -1))


def _by_x(x: Any, y: Any) -> Any:
    return _product("ik,j->ijk", np.eye(x.size), y)


def _by_y(x: Any, y: Any) -> Any:
    return _product("jk,i->ijk", np.eye(y.size), x)


def powers(x: Any, *, exponent: int, scale: Any) -> Any:
    """``scale sum x^exponent``; the exponent is static."""
    return scale * namespace(x).sum(x**exponent)


def double(y: Any) -> Any:
    """``2 y``: a function as a constant argument."""
    return 2 * y


def with_aux(x: Any, a: Any) -> Any:
    """A vector, and things on the side."""
    xp = namespace(x)
    y = xp.exp(a * x)
    return y, {"sum": xp.sum(y), "twice": [2 * x], "tag": "text", "count": 3}


Y, OTHER_Y = np.array([2.0, 0.25]), np.array([-1.0, 0.5])
BOTH, OTHER_BOTH = (X, Y), (OTHER_X, OTHER_Y)
CUBE, OTHER_CUBE = {"exponent": 3, "scale": 2.0}, {"exponent": 3, "scale": -0.5}
FIRST = ("jacobian", "pushforward", "pullback")

SCENARIOS = (
    *_masks(),
    _energy("argnums out of order", [2, 0], False, (X, A, S), (OTHER_X, OTHER_A, OTHER_S),
            argnums=(2, 0), operators=SELECTED),
    _energy("argnums of one in a sequence", [1], False, (X, A, S), (OTHER_X, OTHER_A, OTHER_S),
            argnums=(1,), operators=("gradient", "hessian", "hvp")),
    Scenario(
        "several to matrix", products, BOTH, OTHER_BOTH,
        value=np.outer, jacobian=lambda x, y: (_by_x(x, y), _by_y(x, y)), operators=FIRST,
    ),
    Scenario(
        "argnums of an integer", products, BOTH, OTHER_BOTH,
        value=np.outer, jacobian=_by_x, argnums=0, operators=FIRST,
    ),
    Scenario(
        "argnums from the end", products, BOTH, OTHER_BOTH,
        value=np.outer, jacobian=_by_y, argnums=-1, operators=FIRST,
    ),
    Scenario(
        "keywords", powers, (X,), (OTHER_X,),
        value=lambda x, exponent, scale: scale * np.sum(x**exponent),
        gradient=lambda x, exponent, scale: scale * exponent * x ** (exponent - 1),
        hessian=lambda x, exponent, scale: np.diag(scale * 6 * x),
        kwargs=CUBE, other_kwargs=OTHER_CUBE, operators=SELECTED,
    ),
    Scenario(
        "aux", with_aux, (X, Const(2.0)), (OTHER_X, Const(-1.0)),
        value=lambda x, a: np.exp(a * x), jacobian=lambda x, a: np.diag(a * np.exp(a * x)),
        aux=lambda x, a: {
            "sum": np.sum(np.exp(a * x)), "twice": [2 * x], "tag": "text", "count": 3,
        },
        has_aux=True,
    ),
    Scenario(
        "aux of second order", lambda x: (namespace(x).sum(x**3), (x, None)), (X,), (OTHER_X,),
        value=lambda x: np.sum(x**3), gradient=lambda x: 3 * x**2,
        hessian=lambda x: np.diag(6 * x), aux=lambda x: (x, None), has_aux=True,
    ),
    Scenario(
        "the same array twice",
        lambda x, y: namespace(x).sum(x**2 * y), (X, X), (OTHER_X, OTHER_X),
        value=lambda x, y: np.sum(x**2 * y), gradient=lambda x, y: (2 * x * y, x**2),
        hessian=lambda x, y: (
            (np.diag(2 * y), np.diag(2 * x)), (np.diag(2 * x), np.zeros((3, 3)))
        ),
        operators=SELECTED,
    ),
    Scenario(
        "active and constant the same array",
        lambda x, y: namespace(x).sum(x * y), (X, Const(X)), (OTHER_X, Const(OTHER_X)),
        value=lambda x, y: np.sum(x * y), gradient=lambda x, y: 1.0 * y,
        hessian=lambda x, y: np.zeros((3, 3)), operators=("gradient", "hessian"),
    ),
    Scenario(
        "an ignored argument",
        lambda x, y: namespace(x).sum(x**2), BOTH, OTHER_BOTH,
        value=lambda x, y: np.sum(x**2), gradient=lambda x, y: (2 * x, np.zeros(2)),
        hessian=lambda x, y: (
            (2 * np.eye(3), np.zeros((3, 2))), (np.zeros((2, 3)), np.zeros((2, 2)))
        ),
        operators=SELECTED,
    ),
    Scenario(
        "static constants",
        lambda x, how, n, f: f(namespace(x).sum(x**n)) if how == "power" else x,
        (X, Const("power"), Const(2), Const(double)),
        (OTHER_X, Const("power"), Const(2), Const(double)),
        value=lambda x, *_: 2 * np.sum(x**2), gradient=lambda x, *_: 4 * x,
        operators=("gradient", "pullback"),
    ),
)  # fmt: skip
