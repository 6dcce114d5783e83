"""Which arguments are active, constants, keywords, aux."""

import itertools
from typing import Any

import numpy as np
import pytest
from helpers import AD, BACKENDS, FIRST, SECOND, Counted, plain, same

import diffface as dif

A, B, C = np.array([1.0, 2.0]), np.array([3.0, 5.0]), np.array([0.5, 7.0])
EVERYWHERE = pytest.mark.parametrize("backend", BACKENDS)


def product(a: Any, b: Any, c: Any) -> Any:
    """Gradients ``b c²``, ``a c²``, ``2 a b c``."""
    return dif.namespace(a, b, c).sum(a * b * c * c)


GRADIENTS = (B * C**2, A * C**2, 2 * A * B * C)
ARGUMENTS = (A, B, C)


@EVERYWHERE
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("mask", [m for m in itertools.product([0, 1], repeat=3) if not all(m)])
def test_every_mask_of_const(mask: tuple[int, ...], prepared: bool, backend: str) -> None:
    args = [dif.Const(a) if m else a for a, m in zip(ARGUMENTS, mask, strict=True)]
    if prepared:
        other = [dif.Const(2 * a) if m else 2 * a for a, m in zip(ARGUMENTS, mask, strict=True)]
        result = dif.prepare_gradient(product, *other, backend=backend)(*ARGUMENTS)
    else:
        result = dif.gradient(product, *args, backend=backend)
    expected = tuple(g for g, m in zip(GRADIENTS, mask, strict=True) if not m)
    same(result, expected[0] if len(expected) == 1 else expected, FIRST[backend])


@EVERYWHERE
@pytest.mark.parametrize(
    "argnums",
    [0, 2, -1, -3, (0,), (1, 2), (2, 0), [-1, 0], (0, 1, 2), (-1, -2, -3), range(2),
     np.int64(1), np.array([2, 1])],
    ids=repr,
)  # fmt: skip
def test_argnums(argnums: Any, backend: str) -> None:
    result = dif.gradient(product, *ARGUMENTS, argnums=argnums, backend=backend)
    if isinstance(argnums, int | np.integer):
        same(result, GRADIENTS[argnums], FIRST[backend])
    else:
        same(result, tuple(GRADIENTS[i] for i in argnums), FIRST[backend])


@EVERYWHERE
def test_argnums_order_rules_seeds_and_blocks(backend: str) -> None:
    v = (np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    result = dif.pushforward(
        lambda a, b, c: a * b * c * c, *ARGUMENTS, argnums=(2, 0), tangents=v, backend=backend
    )
    same(result, GRADIENTS[2] * v[0] + GRADIENTS[0] * v[1], FIRST[backend])
    hessian = dif.hessian(product, *ARGUMENTS, argnums=(1, 0), backend=backend)
    zero, mixed = np.zeros((2, 2)), np.diag(C**2)
    same(hessian, ((zero, mixed), (mixed, zero)), SECOND[backend], atol=1e-5)


@EVERYWHERE
def test_const_and_argnums_together(backend: str) -> None:
    result = dif.gradient(product, A, dif.Const(B), C, argnums=(0, 2), backend=backend)
    same(result, (GRADIENTS[0], GRADIENTS[2]), FIRST[backend])
    result = dif.gradient(product, A, dif.Const(B), C, argnums=-1, backend=backend)
    same(result, GRADIENTS[2], FIRST[backend])


@EVERYWHERE
def test_const_holds_integers_where_argnums_leaves_them_out(backend: str) -> None:
    def f(x: Any, n: Any, i: Any) -> Any:
        return dif.namespace(x).sum(x**n) + x[i]

    x = np.array([2.0, 3.0])
    same(dif.gradient(f, x, 2, 1, argnums=0, backend=backend), [1, 1] * x * 2 + [0, 1])


@EVERYWHERE
@pytest.mark.parametrize("prepared", [False, True])
def test_the_same_array_twice(prepared: bool, backend: str) -> None:
    """Two arguments stay two, even if they are one object."""
    if prepared:
        result = dif.prepare_gradient(product, A, A, A, backend=backend)(A, A, A)
        other = dif.prepare_gradient(product, A, A, A, backend=backend)(A, B, C)
        same(other, GRADIENTS, FIRST[backend])
    else:
        result = dif.gradient(product, A, A, A, backend=backend)
    same(result, (A**3, A**3, 2 * A**3), FIRST[backend])
    same(dif.gradient(product, A, A, dif.Const(A), backend=backend), (A**3, A**3), FIRST[backend])
    tree = dif.gradient(lambda p: product(*p), [A, A, A], backend=backend)
    same(tree, [A**3, A**3, 2 * A**3], FIRST[backend])


@EVERYWHERE
@pytest.mark.parametrize("prepared", [False, True])
def test_kwargs(prepared: bool, backend: str) -> None:
    def f(x: Any, *, scale: Any, shift: Any, flag: bool, name: str = "") -> Any:
        assert name == "n"
        xp = dif.namespace(x)
        return scale * xp.sum((x - shift) ** 2) if flag else xp.sum(x)

    kwargs = {"scale": 0.1, "shift": B, "flag": True, "name": "n"}
    if prepared:
        g = dif.prepare_gradient(f, A, backend=backend, kwargs=kwargs)
        same(g(A), 0.2 * (A - B), FIRST[backend])
        same(g(A, kwargs={**kwargs, "scale": 3.0}), 6 * (A - B), FIRST[backend])
        same(g(A, kwargs={**kwargs, "shift": C}), 0.2 * (A - C), FIRST[backend])
        with pytest.raises(dif.PreparationMismatchError):
            g(A, kwargs={**kwargs, "flag": False})
    else:
        same(dif.gradient(f, A, backend=backend, kwargs=kwargs), 0.2 * (A - B), FIRST[backend])
        same(
            dif.gradient(f, A, backend=backend, kwargs={**kwargs, "shift": dif.Const(C)}),
            0.2 * (A - C), FIRST[backend],
        )  # fmt: skip
        kwargs["flag"] = False
        same(dif.gradient(f, A, backend=backend, kwargs=kwargs), np.ones(2), FIRST[backend])


def test_the_functions_own_signature_is_respected() -> None:
    def f(x: Any, /, *rest: Any, **named: Any) -> Any:
        return np.sum(x * rest[0]) + named["k"]

    result = dif.gradient(f, A, dif.Const(B), kwargs={"k": 1.0}, backend="numpy")
    same(result, B, 1e-8)


@EVERYWHERE
def test_constants_may_be_anything(backend: str) -> None:
    class Thing:
        factor = 3.0

    def f(x: Any, thing: Any, function: Any, tree: Any, nothing: Any, names: Any) -> Any:
        assert nothing is None
        assert names == {"one", "two"}
        assert isinstance(thing, Thing)
        assert tree["name"] == "s"
        assert type(tree["n"]) is int
        assert tree["flags"] == (True, None)
        xp = dif.namespace(x)
        return function(xp, x) * thing.factor * tree["w"][0] + xp.sum(tree["a"] * x) * tree["n"]

    def constants(**more: Any) -> list[Any]:
        tree = {"name": "s", "n": 2, "flags": (True, None), "w": [0.5], "a": B, **more}
        return [Thing(), _sum_of_squares, tree, None, {"one", "two"}]

    thing, function, tree, *rest = constants()
    wrapped = [dif.Const(c) for c in (thing, function, tree, *rest)]
    same(dif.gradient(f, A, *wrapped, backend=backend), 3 * A + 2 * B, FIRST[backend])
    g = dif.prepare_gradient(f, A, *wrapped, backend=backend)
    changed = {**tree, "w": [2.0], "a": C}
    same(g(A, thing, function, changed, *rest), 12 * A + 2 * C, FIRST[backend])
    same(g(A, thing, function, tree, *rest), 3 * A + 2 * B, FIRST[backend])


def _sum_of_squares(xp: Any, x: Any) -> Any:
    return xp.sum(x * x)


@EVERYWHERE
def test_an_inactive_argument_costs_nothing(backend: str) -> None:
    """Forward modes evaluate once per active coordinate only: constants add none."""
    few, many = Counted(product), Counted(product)
    dif.gradient(few, A, dif.Const(B), dif.Const(C), backend=backend)
    wide = np.ones(50)
    dif.gradient(
        lambda a, b, c: many(a, b[:2], c[:2]), A, dif.Const(wide), dif.Const(wide), backend=backend
    )
    assert few.count == many.count
    if backend in AD:
        assert few.count == 1


@EVERYWHERE
@pytest.mark.parametrize("operator", ["gradient", "hessian", "hvp"])
def test_what_f_ignores_gets_zeros(operator: str, backend: str) -> None:
    def f(a: Any, b: Any) -> Any:
        return dif.namespace(a).sum(a)

    options = {"tangents": (A, np.ones((3, 1)))} if operator == "hvp" else {}
    b = np.ones((3, 1), np.float32)
    options = {k: (v[0], v[1].astype("f4")) for k, v in options.items()}
    result = getattr(dif, operator)(f, A, b, backend=backend, **options)
    if operator == "hessian":
        assert plain(result[1][1]).shape == (3, 1, 3, 1)
        assert plain(result[0][1]).shape == (2, 3, 1)
        result = (np.ones(2), result[1][1].sum((2, 3)))
    ones = np.zeros(2) if operator == "hvp" else np.ones(2)
    same(result, (ones, np.zeros((3, 1))), 1e-6, atol=1e-4)
    assert result[1].dtype == np.float32


@EVERYWHERE
@pytest.mark.parametrize("value", [3.0, 2, np.float64(1.0)], ids=repr)
def test_constant_functions_have_zero_derivatives(value: Any, backend: str) -> None:
    def f(x: Any) -> Any:
        return value

    same(dif.gradient(f, A, backend=backend), np.zeros(2))
    same(dif.hessian(f, A, backend=backend), np.zeros((2, 2)))
    same(dif.jacobian(f, A, backend=backend), np.zeros(2))
    same(dif.hvp(f, A, tangents=A, backend=backend), np.zeros(2))
    same(dif.pullback(f, A, cotangents=1.0, backend=backend), np.zeros(2))
    value_and = dif.value_and_gradient(f, A, backend=backend)
    assert value_and[0] == value
    same(dif.pushforward(f, A, tangents=A, backend=backend), np.zeros(()))


@EVERYWHERE
def test_linear_functions_have_zero_hessians(backend: str) -> None:
    f = Counted(lambda x: dif.namespace(x).sum(x * 3.0))
    same(dif.hessian(f, A, backend=backend), np.zeros((2, 2)), atol=1e-6)


@EVERYWHERE
def test_keywords_in_const(backend: str) -> None:
    f = lambda x, a: dif.namespace(x).sum(a * x * x)
    g = dif.prepare_gradient(f, A, kwargs={"a": dif.Const(2.0)}, backend=backend)
    same(g(A), 4 * A, FIRST[backend])
    same(g(A, kwargs={"a": 3.0}), 6 * A, FIRST[backend])
    same(g(A, kwargs={"a": dif.Const(4.0)}), 8 * A, FIRST[backend])
