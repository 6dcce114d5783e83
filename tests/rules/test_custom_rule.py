"""Functions with rules of their own: every way to be differentiated, on every backend."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers import AD, BACKENDS, STRATEGY

import diffface as dif

X = np.array([1.0, 2.0, 3.0])
A = np.array([0.5, -1.0, 2.0])
V = np.array([0.3, 0.2, -1.0])


def weighted(x: Any, a: Any) -> Any:
    """Gradients 2ax and x²."""
    return dif.namespace(x, a).sum(a * x * x)


def pull(active: Any, saved: Any, dy: Any) -> Any:
    _, x, a = saved
    return 2 * a * x * dy if "x" in active else None, x * x * dy if "a" in active else None


def push(active: Any, args: Any, tangents: Any) -> Any:
    x, a = args
    slopes = {"x": 2 * a * x, "a": x * x}
    moving = dict(zip(("x", "a"), tangents, strict=True))
    assert {name for name, t in moving.items() if t is not None} == active
    return sum(dif.namespace(x, a).sum(slopes[name] * moving[name]) for name in active)


def numpy_pull(active: Any, saved: Any, dy: Any) -> Any:
    assert all(type(s) is np.ndarray for s in saved)
    return pull(active, saved, dy)


def numpy_push(active: Any, args: Any, tangents: Any) -> Any:
    assert all(type(a) is np.ndarray for a in args)
    return push(active, args, tangents)


def ruled(kind: str) -> Any:
    """``weighted`` with rules of some kind."""
    f = dif.custom_rule(black_box="box" in kind)(lambda x, a: weighted(x, a))
    if "both" in kind or "pull" in kind:
        f.pullback(pull)
    if "both" in kind or "push" in kind:
        f.pushforward(push)
    if "numpy-back" in kind:
        f.pullback(numpy_pull, black_box=True)
    if "numpy-forth" in kind:
        f.pushforward(numpy_push, black_box=True)
    return f


FIRST = {
    "gradient": (2 * A * X, (2 * A * X, X * X)),
    "pushforward": (np.sum(2 * A * X * V), np.sum(2 * A * X * V + X * X * V)),
    "pullback": (4 * A * X, (4 * A * X, 2 * X * X)),
    "jacobian": (2 * A * X, (2 * A * X, X * X)),
}
SECOND = {
    "hvp": (2 * A * V, (2 * A * V + 2 * X * V, 2 * X * V)),
    "hessian": (
        np.diag(2 * A),
        ((np.diag(2 * A), np.diag(2 * X)), (np.diag(2 * X), np.zeros((3, 3)))),
    ),
}  # fmt: skip
PORTABLE = ("nothing", "pull", "push", "both", "box-pull", "box-push", "box-both")
ON_HOST = ("box-numpy-back", "box-numpy-forth")


def check(operator, f, backend, both, prepared, expected, **options):
    args = (X, A) if both else (X, dif.Const(A))
    seeds = {}
    if operator in ("pushforward", "hvp"):
        seeds["tangents"] = (V, V) if both else V
    elif operator == "pullback":
        seeds["cotangents"] = 2.0
    if prepared:
        g = getattr(dif, f"prepare_{operator}")(
            f, *args, backend=backend, fallback="error", **options
        )
        assert g.strategy == STRATEGY[backend]
        found = g(*args, **seeds)
    else:
        found = getattr(dif, operator)(f, *args, backend=backend, **seeds, **options)
    close(found, expected[both])


def close(found, expected):
    if isinstance(expected, tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            close(one, other)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


prepared_or_not = pytest.mark.parametrize("prepared", [False, True], ids=["once", "prepared"])
one_or_both = pytest.mark.parametrize("both", [False, True], ids=["one", "two"])
every_backend = pytest.mark.parametrize("backend", BACKENDS)
every_ad = pytest.mark.parametrize("backend", AD)


@every_backend
@pytest.mark.parametrize("kind", PORTABLE + ON_HOST)
def test_first_derivatives(kind, backend):
    for operator, expected in FIRST.items():
        for both in (False, True):
            check(operator, ruled(kind), backend, both, False, expected)


@every_backend
@pytest.mark.parametrize("kind", PORTABLE + ON_HOST)
@pytest.mark.parametrize("operator", FIRST)
def test_prepared_first_derivatives(operator, kind, backend):
    for both in (False, True):
        check(operator, ruled(kind), backend, both, True, FIRST[operator])


@prepared_or_not
@every_backend
@pytest.mark.parametrize("kind", PORTABLE)
@pytest.mark.parametrize("operator", SECOND)
def test_second_derivatives(operator, kind, backend, prepared):
    for both in (False, True):
        check(operator, ruled(kind), backend, both, prepared, SECOND[operator])


@prepared_or_not
@every_ad
@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("kind", PORTABLE + ON_HOST)
def test_jacobians_in_both_modes(kind, mode, backend, prepared):
    check("jacobian", ruled(kind), backend, True, prepared, FIRST["jacobian"], mode=mode)


@every_ad
@pytest.mark.parametrize("kind", ON_HOST)
def test_second_derivatives_of_numpy_rules_by_differences(kind, backend):
    over = dif.SecondOrder("numpy", backend)
    check("hvp", ruled(kind), over, False, False, SECOND["hvp"])


@every_ad
@pytest.mark.parametrize("kind", ON_HOST)
def test_second_derivatives_of_numpy_rules_are_refused(kind, backend):
    with pytest.raises(dif.NotDifferentiableError, match="is NumPy code and has no derivative"):
        dif.hessian(ruled(kind), X, dif.Const(A), backend=backend)


# How often


class Counting:
    """The rules of ``weighted``, counted."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        f = self.f = dif.custom_rule(self.value)
        f.residuals(self.save)
        f.pullback(self.pull)
        f.pullback(active="x")(self.pull_x)

    def value(self, x, a):
        self.calls.append(("value", None))
        return weighted(x, a)

    def save(self, active, y, x, a):
        self.calls.append(("save", set(active)))
        return x, a

    def pull(self, active, saved, dy):
        self.calls.append(("pull", set(active)))
        return pull(active, (None, *saved), dy)

    def pull_x(self, active, saved, dy):
        self.calls.append(("pull x", set(active)))
        return 2 * saved[1] * saved[0] * dy, None


@every_ad
def test_rules_are_called_once_and_told_what_is_active(backend):
    counting = Counting()
    close(dif.gradient(counting.f, X, A, backend=backend), FIRST["gradient"][1])
    names = {"x", "a"}
    assert counting.calls == [("value", None), ("save", names), ("pull", names)]
    counting.calls.clear()
    close(dif.gradient(counting.f, X, dif.Const(A), backend=backend), FIRST["gradient"][0])
    assert counting.calls == [("value", None), ("save", {"x"}), ("pull x", {"x"})]
    counting.calls.clear()
    close(dif.gradient(counting.f, dif.Const(X), A, backend=backend), X * X)
    assert counting.calls == [("value", None), ("save", {"a"}), ("pull", {"a"})]


@every_ad
def test_what_is_inactive_is_never_computed(backend):
    @dif.custom_rule
    def f(x, a):
        return weighted(x, a)

    @f.pullback
    def _(active, saved, dy):
        assert active == {"x"}
        return 2 * saved[2] * saved[1] * dy, None

    close(dif.gradient(f, X, dif.Const(A), backend=backend), 2 * A * X)
    close(dif.prepare_gradient(f, X, dif.Const(A), backend=backend)(X, A), 2 * A * X)
    # Active in the argument of the whole, but not where the function is called.
    whole = lambda x: f(x, dif.namespace(x).asarray(A)) + 0.0
    close(dif.gradient(whole, X, backend=backend), 2 * A * X)


@every_ad
def test_the_ladder(backend):
    asked = []

    @dif.custom_rule
    def f(x, a, b):
        return dif.namespace(x).sum(x * a * b)

    def rule(name):
        def compute(active, saved, dy):
            asked.append((name, set(active)))
            _, x, a, b = saved
            return a * b * dy, x * b * dy, x * a * dy

        return compute

    f.pullback(active=("x", "a", "b"))(rule("all"))
    f.pullback(active=("x", "a"))(rule("two"))
    f.pullback(active="a")(rule("one"))
    for argnums, expected in (((0,), "two"), ((1,), "one"), ((0, 1), "two"), ((2,), "all")):
        asked.clear()
        found = dif.gradient(f, X, A, V, argnums=argnums, backend=backend)
        close(found, tuple((A * V, X * V, X * A)[i] for i in argnums))
        assert asked == [(expected, {"xab"[i] for i in argnums})]


@every_ad
def test_without_a_rule_for_the_active_arguments_the_function_is_differentiated(backend):
    f = dif.custom_rule(lambda x, a: weighted(x, a))
    f.pullback(active="a")(lambda active, saved, dy: (None, 100.0 * saved[1] * dy))
    close(dif.gradient(f, X, A, backend=backend), FIRST["gradient"][1])
    close(dif.gradient(f, dif.Const(X), A, backend=backend), 100 * X)
    for mode in ("forward", "reverse"):
        close(dif.jacobian(f, X, dif.Const(A), backend=backend, mode=mode), 2 * A * X)


# Rules that differ from the derivative


@dif.custom_rule
def clipped(x):
    return x * 1.0


@clipped.pullback
def _(active, saved, dy):
    return dif.namespace(dy).clip(dy, -1.0, 1.0)


@prepared_or_not
@every_ad
def test_a_clipped_gradient(backend, prepared):
    dy = np.array([0.6, 1.5, 7.0])
    if prepared:
        found = dif.prepare_pullback(clipped, X, backend=backend, fallback="error")(
            X, cotangents=dy
        )
    else:
        found = dif.pullback(clipped, X, cotangents=dy, backend=backend)
    close(found, np.array([0.6, 1.0, 1.0]))


def sumsqzero(copy):
    @dif.custom_rule(copy=copy)
    def f(x):
        y = (x**2).sum()
        x[...] = 0.0
        return y

    f.pullback(lambda active, saved, dy: 2.0 * saved[1] * dy)
    return f


@prepared_or_not
@pytest.mark.parametrize("backend", ["torch", "autograd", "numpy", "complex-step"])
def test_a_function_that_overwrites_its_argument(backend, prepared):
    x, f = np.array([2.0, 3.0]), sumsqzero(True)
    whole = lambda x: f(x * 1.0)
    for g in (f, whole):
        if prepared:
            found = dif.prepare_pullback(g, x, backend=backend, fallback="error")(x, cotangents=1.0)
        else:
            found = dif.pullback(g, x, cotangents=1.0, backend=backend)
        close(found, np.array([4.0, 6.0]))
        np.testing.assert_array_equal(x, [2.0, 3.0])


@pytest.mark.parametrize("backend", ["torch", "autograd", "numpy"])
def test_without_copies_overwriting_is_an_error(backend):
    with pytest.raises((dif.NotDifferentiableError, ValueError), match=r"read-only|copy=True"):
        dif.pullback(sumsqzero(False), np.array([2.0, 3.0]), cotangents=1.0, backend=backend)


def test_a_black_box_that_overwrites_its_argument():
    for backend in AD:

        @dif.custom_rule(black_box=True)
        def f(x):
            y = np.sum(x**2)
            x[...] = 0.0
            return y

        f.pullback(lambda active, saved, dy: 2.0 * saved[1] * dy)
        close(dif.gradient(f, np.array([2.0, 3.0]), backend=backend), np.array([4.0, 6.0]))


def squares_with(kind: str, copy: bool, black_box: bool) -> Any:
    """``a x²``, with a rule that writes to something that it is given."""

    @dif.custom_rule(black_box=black_box, copy=copy)
    def f(x: Any, a: Any) -> Any:
        return a * x * x

    def save(active: Any, y: Any, x: Any, a: Any) -> Any:
        if kind == "saved arguments":
            x *= a
            return x
        return [x, a] if kind == "a list" else {"x": x, "a": a, "factor": 2.0}

    def pull(active: Any, saved: Any, dy: Any) -> Any:
        if kind == "saved arguments":
            return 2 * saved * dy, None
        if kind == "a list":
            return 2 * saved.pop() * saved.pop() * dy, None
        if kind == "a dict":
            saved["x"] = saved["factor"] * saved["x"] * saved["a"]
            saved["factor"] = 3.0
            return saved["x"] * dy, None
        target = dy if kind == "cotangents" else saved["x"]
        target *= 2 * saved["a"] * (saved["x"] if kind == "cotangents" else dy)
        return target, None

    def push(active: Any, args: Any, tangents: Any) -> Any:
        (x, a), (dx, _) = args, tangents
        target = dx if kind == "tangents" else x
        target *= 2 * a * (x if kind == "tangents" else dx)
        return target

    if kind in ("tangents", "arguments"):
        f.pushforward(push, black_box=black_box)
    else:
        f.residuals(save)
        f.pullback(pull, black_box=black_box)
    return f


@pytest.mark.filterwarnings("ignore::diffface.PreparationWarning")
@pytest.mark.parametrize("black_box", [False, True], ids=["portable", "box"])
@pytest.mark.parametrize("copy", [True, False], ids=["copies", "none"])
@pytest.mark.parametrize(
    "kind",
    ["a list", "a dict", "saved arguments", "saved", "cotangents", "tangents", "arguments"],
)
@pytest.mark.parametrize("backend", ["torch", "autograd"])
def test_rules_that_write_to_what_they_are_given(
    backend: str, kind: str, copy: bool, black_box: bool
) -> None:
    """They are right, or an error says so; and the arrays of the caller are as they were."""
    f = squares_with(kind, copy, black_box)
    x, a, v = X.copy(), A.copy(), V.copy()
    # Ours, torch's own of three kinds, and NumPy's, the last one of an array beside a box.
    refusals = (
        "writes to an array|in-?place|written-to tensor|read-only|all returned NotImplemented"
    )
    right = kind in ("a list", "a dict") or (copy and black_box)
    calls = {
        "gradient": lambda: dif.gradient(
            lambda x, a: (f(x, a) + f(x, a)).sum(), x, dif.Const(a), backend=backend
        ),
        "jacobian": lambda: dif.jacobian(f, x, dif.Const(a), backend=backend),
        "reverse": lambda: dif.jacobian(f, x, dif.Const(a), backend=backend, mode="reverse"),
        "prepared": lambda: dif.prepare_jacobian(f, x, dif.Const(a), backend=backend)(x, a),
        "points": lambda: dif.jacobian(
            f, np.stack([x, x]), dif.Const(a), backend=backend, in_axes=(0, None)
        ),
        "pushforward": lambda: dif.pushforward(f, x, dif.Const(a), backend=backend, tangents=v),
        "pullbacks": lambda: [dif.vjp(f, x, dif.Const(a), backend=backend)[1](w) for w in (v, x)],
    }
    slope = np.diag(2 * A * X)
    expected = dict.fromkeys(calls, slope) | {
        "gradient": 4 * A * X, "points": [slope, slope], "pushforward": slope @ V,
        "pullbacks": [slope @ V, slope @ X],
    }  # fmt: skip
    for name, call in calls.items():
        try:
            found = call()
        except (dif.NotDifferentiableError, RuntimeError, TypeError, ValueError) as error:
            if right or not re.search(refusals, str(error)):
                raise
            x, v = X.copy(), V.copy()
            continue
        np.testing.assert_allclose(found, expected[name], err_msg=name)
        for array, before in ((x, X), (a, A), (v, V)):
            np.testing.assert_array_equal(array, before, err_msg=name)


@pytest.mark.parametrize("copy", [True, False], ids=["copies", "none"])
@pytest.mark.parametrize("backend", AD)
def test_what_a_rule_saves_may_be_more_than_an_array(backend: str, copy: bool) -> None:
    @dif.custom_rule(black_box=True, copy=copy)
    def f(x: Any) -> Any:
        return np.sum(x[1:] ** 2)

    @f.residuals
    def _(active: Any, y: Any, x: Any) -> Any:
        return np.ma.masked_array(x, [True, False, False]), len, None

    @f.pullback(black_box=True)
    def _(active: Any, saved: Any, dy: Any) -> Any:
        masked, function, nothing = saved
        assert function is len
        assert nothing is None
        return (2 * masked.filled(0.0) * dy,)

    close(dif.gradient(f, X, backend=backend), np.array([0.0, 4.0, 6.0]))
    prepared = dif.prepare_gradient(f, X, backend=backend)
    close(prepared(2 * X), np.array([0.0, 8.0, 12.0]))


def test_arrays_overwritten_after_the_call():
    import torch

    f = ruled("pull")

    def whole(x):
        z = x * 1.0
        y = f(z, torch.from_numpy(A))
        z.zero_()
        return y

    close(dif.gradient(whole, X, backend="torch"), 2 * A * X)


# Trees, static arguments, several results


@dataclass
class Model:
    w: Any
    b: Any


@prepared_or_not
@every_backend
def test_trees(backend, prepared):
    @dif.custom_rule
    def f(model, data, *, power=2, name="x"):
        assert name == "data"
        xp = dif.namespace(model.w)
        return {"loss": xp.sum(model.w * data["x"]) ** power, "bias": model.b * 2.0}

    @f.pullback
    def _(active, saved, dy):
        _, model, data, power, name = saved
        assert active == {"model"}
        assert name == "data"
        s = power * dif.namespace(model.w).sum(model.w * data["x"]) ** (power - 1) * dy["loss"]
        return Model(s * data["x"], 2.0 * dy["bias"]), None, None, None

    def whole(model, x):
        y = f(model, {"x": x, "note": "static"}, power=3, name="data")
        return y["loss"] + dif.namespace(model.b).sum(y["bias"])

    model = Model(X, A)
    if prepared:
        g = dif.prepare_gradient(whole, model, dif.Const(V), backend=backend, fallback="error")(
            model, V
        )
    else:
        g = dif.gradient(whole, model, dif.Const(V), backend=backend)
    assert type(g) is Model
    close((g.w, g.b), (3 * np.sum(X * V) ** 2 * V, np.full(3, 2.0)))


@prepared_or_not
@every_ad
@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_several_results(backend, prepared, box, mode):
    @dif.custom_rule(black_box=box)
    def f(x):
        return x**2, dif.namespace(x).sum(x), dif.namespace(x).argmax(x)

    @f.pullback
    def _(active, saved, dy):
        return (2.0 * saved[1] * dy[0] + dy[1] * dif.namespace(saved[1]).ones_like(saved[1]),)

    whole = lambda x: f(x)[:2]
    if prepared:
        found = dif.prepare_jacobian(whole, X, backend=backend, mode=mode, fallback="error")(X)
    else:
        found = dif.jacobian(whole, X, backend=backend, mode=mode)
    close(found, (np.diag(2 * X), np.ones(3)))


@prepared_or_not
@every_ad
@pytest.mark.parametrize("kind", ["nothing", "pull", "push", "box-pull", "box-push"])
def test_results_of_other_dtypes(backend, prepared, kind):
    """Complex, single and integer results of real numbers, all of which are computed with."""

    @dif.custom_rule(black_box="box" in kind)
    def f(x):
        xp = dif.namespace(x)
        return xp.exp(3j * x), xp.astype(x * x, xp.float32), xp.astype(xp.floor(x), xp.int64)

    def pull(active, saved, dy):
        (y, *_), x = saved
        xp = dif.namespace(x)  # NumPy's, on autograd, beside what is being differentiated
        slope = xp.real(y) * xp.imag(dy[0]) - xp.imag(y) * xp.real(dy[0])
        return 3.0 * slope + 2.0 * x * dy[1]

    def push(active, args, tangents):
        xp, (x,), (dx,) = dif.namespace(args[0]), args, tangents
        return 3j * xp.exp(3j * x) * dx, 2.0 * x * dx, xp.zeros_like(x)

    if "pull" in kind:
        f.pullback(pull)
    if "push" in kind:
        f.pushforward(push)

    def whole(x):
        xp = dif.namespace(x)
        y, square, floor = f(x)
        return xp.sum(xp.real(y) * floor + xp.imag(y) ** 2) + xp.sum(square)

    floor = np.floor(X)
    slopes = -3 * np.sin(3 * X) * floor + 3 * np.sin(6 * X) + 2 * X
    curvatures = np.diag(-9 * np.cos(3 * X) * floor + 18 * np.cos(6 * X) + 2)
    for operator, expected in {"gradient": slopes, "hessian": curvatures}.items():
        if prepared:
            found = getattr(dif, f"prepare_{operator}")(
                whole, X, backend=backend, fallback="error"
            )(X)
        else:
            found = getattr(dif, operator)(whole, X, backend=backend)
        close(found, expected)


@prepared_or_not
@every_ad
@pytest.mark.parametrize("box", [False, True])
def test_complex_numbers(backend, prepared, box):
    """``f(z) = c z²`` with ``J^H dy = conj(2 c z) dy``."""

    @dif.custom_rule(black_box=box)
    def f(z):
        return (1 + 2j) * z * z

    @f.pullback
    def _(active, saved, dy):
        return dif.namespace(dy).conj(2 * (1 + 2j) * saved[1]) * dy

    z, v = np.array([1.0 + 2.0j, -0.5j]), np.array([0.5 - 1.0j, 2.0 + 1.0j])
    c = 1 + 2j
    if prepared:
        back = dif.prepare_pullback(f, z, backend=backend, fallback="error")(z, cotangents=v)
        forth = dif.prepare_pushforward(f, z, backend=backend, fallback="error")(z, tangents=v)
    else:
        back = dif.pullback(f, z, cotangents=v, backend=backend)
        forth = dif.pushforward(f, z, tangents=v, backend=backend)
    np.testing.assert_allclose(back, np.conj(2 * c * z) * v, rtol=1e-12)
    np.testing.assert_allclose(forth, 2 * c * z * v, rtol=1e-12)
    real = lambda z: dif.namespace(z).sum(dif.namespace(z).real(f(z)))
    np.testing.assert_allclose(
        dif.gradient(real, z, backend=backend), np.conj(2 * c * z), rtol=1e-12
    )


@prepared_or_not
@every_ad
@pytest.mark.parametrize("kind", ["pull", "push", "box-pull", "box-numpy-back"])
def test_single_precision(backend, prepared, kind):
    x, a = X.astype(np.float32), A.astype(np.float32)
    f = ruled(kind)
    g = dif.prepare_gradient(f, x, dif.Const(a), backend=backend) if prepared else None
    found = g(x, a) if prepared else dif.gradient(f, x, dif.Const(a), backend=backend)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 2 * a * x, rtol=1e-6)


# In other company


@prepared_or_not
@every_ad
@pytest.mark.parametrize("kind", ["pull", "push", "both", "box-pull", "box-numpy-back"])
def test_batches(backend, prepared, kind):
    f = ruled(kind)
    seeds = np.stack([V, X, A, -V])
    expected = seeds @ (2 * A * X)
    options = {"backend": backend, "batched": True, "chunk_size": 2}
    if prepared:
        g = dif.prepare_pushforward(f, X, dif.Const(A), **options)
        found = g(X, A, tangents=seeds)
    else:
        found = dif.pushforward(f, X, dif.Const(A), tangents=seeds, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    back = dif.pullback(
        f, X, dif.Const(A), cotangents=np.arange(3.0), backend=backend, batched=True
    )
    np.testing.assert_allclose(back, np.arange(3.0)[:, None] * (2 * A * X), rtol=1e-12)


@every_ad
def test_at_a_point(backend):
    f = ruled("pull")
    y, push = dif.linearize(f, X, dif.Const(A), backend=backend)
    np.testing.assert_allclose(push(V), np.sum(2 * A * X * V))
    y, pull = dif.vjp(f, X, dif.Const(A), backend=backend)
    np.testing.assert_allclose(pull(2.0), 4 * A * X)
    np.testing.assert_allclose(y, np.sum(A * X * X))


@pytest.mark.parametrize("kind", ["pull", "push", "both", "box-pull"])
def test_third_order(kind):
    """``d³/dt³ (t³)`` by three nested gradients of each framework."""
    import autograd
    import jax
    import torch

    f = ruled(kind)
    for grad, t in (
        (jax.grad, 2.0), (autograd.grad, 2.0), (torch.func.grad, torch.tensor(2.0)),
    ):  # fmt: skip
        np.testing.assert_allclose(grad(grad(grad(lambda t: f(t, t))))(t), 6.0, rtol=1e-6)


def test_inside_jax():
    import jax
    import jax.numpy as jnp

    for kind in ("pull", "push", "both", "box-pull", "box-numpy-back"):
        f = ruled(kind)
        x, a = jnp.asarray(X, jnp.float32), jnp.asarray(A, jnp.float32)
        close(jax.jit(jax.grad(f))(x, a), 2 * A * X)
        close(
            jax.vmap(jax.grad(f), (0, None))(jnp.stack([x, 2 * x]), a),
            np.stack([2 * A * X, 4 * A * X]),
        )
        close(
            jax.jit(jax.vmap(jax.grad(f), (None, 0)))(x, jnp.stack([a, 2 * a])),
            np.stack([2 * A * X, 4 * A * X]),
        )

        def scanned(x, a=a, f=f):
            return jax.lax.scan(lambda c, s: (c + f(x * s, a), None), 0.0, jnp.arange(3.0))[0]

        close(jax.jit(jax.grad(scanned))(x), 2 * A * X * 5)
        close(
            jax.linearize(partial(f, a=a), x)[1](jnp.asarray(V, jnp.float32)),
            np.sum(2 * A * X * V),
        )


def test_inside_torch():
    import torch

    for kind in ("pull", "push", "both", "box-pull", "box-numpy-back"):
        f = ruled(kind)
        x, a, v = torch.from_numpy(X), torch.from_numpy(A), torch.from_numpy(V)
        close(torch.func.grad(f)(x, a), 2 * A * X)
        close(torch.func.jvp(partial(f, a=a), (x,), (v,))[1], np.sum(2 * A * X * V))
        batch = torch.stack([x, 2 * x])
        close(torch.vmap(torch.func.grad(f), (0, None))(batch, a), np.stack([2 * A * X, 4 * A * X]))
        leaf = x.clone().requires_grad_()
        f(leaf, a).backward()
        close(leaf.grad, 2 * A * X)
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x, v)
            tangent = torch.autograd.forward_ad.unpack_dual(f(dual, a)).tangent
            close(tangent, np.sum(2 * A * X * V))


@pytest.mark.parametrize("kind", ["pull", "push", "both", "box-pull"])
def test_second_order_inside_torch(kind):
    import torch

    f = ruled(kind)
    x, a = torch.from_numpy(X), torch.from_numpy(A)
    for outer in (torch.func.jacfwd, torch.func.jacrev):
        for inner in (torch.func.jacfwd, torch.func.jacrev):
            close(outer(inner(f))(x, a), np.diag(2 * A))
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(f(leaf, a), leaf, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), leaf)
    close(h, 2 * A)


def test_inside_autograd():
    import autograd
    import autograd.numpy as anp

    for kind in ("pull", "push", "both", "box-pull", "box-numpy-back"):
        f = ruled(kind)
        close(autograd.grad(f)(X, A), 2 * A * X)
        close(autograd.grad(lambda x, f=f: anp.sum(f(x * x, A)))(X), 4 * A * X**3)


# Messages


@every_ad
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda active, saved, dy: (None, None),
         "The pullback rule of `f` returned None for `x`, which is active; return zeros where the "
         "derivative is zero."),
        (lambda active, saved, dy: (saved[1][:2], None),
         "The pullback rule of `f` must return an array of shape (3,) for `x`, got shape (2,)."),
        (lambda active, saved, dy: saved[1],
         "The pullback rule of `f` must return a tuple of 2, one entry per argument (x, a) and "
         "None where it is not active, got"),
        (lambda active, saved, dy: ("no", None),
         "The pullback rule of `f` must return an array for `x`, got str."),
    ],
)  # fmt: skip
def test_rules_that_do_not_fit(backend, rule, message):
    @dif.custom_rule
    def f(x, a):
        return weighted(x, a)

    f.pullback(rule)
    with pytest.raises(dif.NotDifferentiableError) as caught:
        dif.gradient(f, X, dif.Const(A), backend=backend)
    assert str(caught.value).startswith(message)


@every_ad
def test_a_black_box_without_rules(backend):
    f = dif.custom_rule(black_box=True)(lambda x, a: weighted(x, a))
    f.name = "f"
    with pytest.raises(dif.NotDifferentiableError) as caught:
        dif.gradient(f, X, dif.Const(A), backend=backend)
    assert str(caught.value) == (
        "`f` is NumPy code (black_box=True) and has no rule for the derivative with respect to "
        '`x`; write a pullback or a pushforward, or use `diffface.bridge(f, backend="numpy")`, '
        "which takes differences."
    )


def test_a_function_that_tells_no_parameters():
    f = dif.custom_rule(black_box=True)(max)
    with pytest.raises(dif.InvalidArgumentError) as caught:
        f.pullback(lambda active, saved, dy: dy)
    assert str(caught.value) == (
        "`max` does not tell its parameters, by which rules go; wrap it in a function that names "
        "them, such as `lambda x: f(x)`."
    )


def test_arguments_that_are_not_there():
    f = dif.custom_rule(lambda x, a: weighted(x, a))
    with pytest.raises(dif.InvalidArgumentError, match=r"must name arguments .* got `z`"):
        f.pullback(active="z")


@prepared_or_not
def test_numpy_code_that_differentiates_by_the_same_framework(prepared):
    """Inside an operation torch switches its derivatives off, and gave zeros."""
    import torch

    @dif.custom_rule(black_box=True)
    def slope(x):
        leaf = torch.from_numpy(x.copy()).requires_grad_()
        with torch.enable_grad():
            (found,) = torch.autograd.grad(torch.sum(leaf**3), leaf)
        tangent = torch.func.jvp(lambda x: x**3, (leaf.detach(),), (torch.ones_like(leaf),))[1]
        np.testing.assert_array_equal(tangent, found)
        return found.numpy()

    slope.pullback(lambda active, saved, dy: 6.0 * saved[1] * dy)
    for mode in ("forward", "reverse"):
        options = {"backend": "torch", "mode": mode}
        f = lambda x: slope(x) * x
        j = dif.prepare_jacobian(f, X, **options) if prepared else None
        found = j(X) if prepared else dif.jacobian(f, X, **options)
        close(found, np.diag(9 * X**2))


def test_a_rule_for_a_ufunc():
    f = dif.custom_rule(np.exp, black_box=True)
    f.pullback(lambda active, saved, dy: saved[0] * dy)
    close(dif.gradient(lambda x: dif.namespace(x).sum(f(x)), X, backend="torch"), np.exp(X))


@prepared_or_not
@every_ad
def test_auxiliary_results_outside(backend, prepared):
    f = ruled("pull")
    whole = lambda x, a: (f(x, a), {"twice": 2.0 * x})
    args, options = (X, dif.Const(A)), {"backend": backend, "has_aux": True}
    if prepared:
        g = dif.prepare_value_and_gradient(whole, *args, fallback="error", **options)
        assert g.strategy == STRATEGY[backend]
        y, slope, aux = g(X, A)
    else:
        y, slope, aux = dif.value_and_gradient(whole, *args, **options)
    close((y, slope, aux["twice"]), (np.sum(A * X * X), 2 * A * X, 2 * X))
