"""How far differences move: in units of each variable's size and of the precision of ``f``."""

import numpy as np
import pytest
from helpers import Counted

import diffface as dif

SCHEMES = ("forward", "central", "central4", "richardson")
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)
# Relative errors that each scheme has where nothing is in its way.
RTOL = {"forward": 2e-6, "central": 3e-9, "central4": 1e-10, "richardson": 1e-10}

# Variables of very different sizes

WIDE = np.logspace(-6, 6, 13)


def log_sums(x):
    return np.log(x[:-1]) + np.log(x[1:])


def log_sums_jacobian(x):
    return np.eye(len(x))[:-1] / x + np.eye(len(x), k=1)[:-1] / x


@every_scheme
@pytest.mark.parametrize("sparsity", [None, "trace"])
def test_jacobian_of_variables_of_different_sizes(scheme, sparsity):
    backend = dif.FiniteDifferences(scheme)
    found = dif.jacobian(log_sums, WIDE, backend=backend, sparsity=sparsity)
    dense = found if sparsity is None else found.toarray()
    np.testing.assert_allclose(dense * WIDE, log_sums_jacobian(WIDE) * WIDE,
                               rtol=RTOL[scheme], atol=1e-9)  # fmt: skip


@every_scheme
@pytest.mark.parametrize("v", [np.ones(13), WIDE, np.sin(np.arange(1.0, 14.0))], ids="1xs")
def test_directions_are_taken_apart(scheme, v):
    found = dif.pushforward(log_sums, WIDE, tangents=v, backend=dif.FiniteDifferences(scheme))
    np.testing.assert_allclose(found, log_sums_jacobian(WIDE) @ v, rtol=RTOL[scheme])


@every_scheme
def test_leaves_of_different_sizes(scheme):
    """Prepared elsewhere, with a constant of float32."""
    f = lambda p, c: np.sum(c * np.log(p["a"])) + np.log(p["b"])
    c = dif.Const(np.ones(2, np.float32))
    g = dif.prepare_gradient(
        f, {"a": np.ones(2), "b": 1.0}, c, backend=dif.FiniteDifferences(scheme)
    )
    found = g({"a": np.array([1e-6, 1e6]), "b": 1e-7}, c)
    np.testing.assert_allclose(found["a"] * [1e-6, 1e6], [1.0, 1.0], rtol=1e-6)
    assert found["b"] * 1e-7 == pytest.approx(1.0, rel=1e-6)


def test_second_derivatives_of_variables_of_different_sizes():
    x = np.logspace(-4, 4, 5)
    loss = lambda x: dif.namespace(x).sum(dif.namespace(x).log(x))
    for backend in ("numpy", dif.SecondOrder("numpy", "autograd"), dif.SecondOrder("numpy", "jax")):
        hessian = dif.hessian(loss, x, backend=backend)
        np.testing.assert_allclose(hessian * np.outer(x, x), -np.eye(5), atol=1e-7)
        product = dif.hvp(loss, x, tangents=np.ones(5), backend=backend)
        np.testing.assert_allclose(product * x**2, -np.ones(5), atol=1e-7)


@every_scheme
def test_rational_functions_with_parameters_near_1e_minus_7(scheme):
    """The certified parameters of Hahn1 of the NIST Statistical Reference Datasets."""
    b = np.array([1.0776351733, -1.2269296921e-01, 4.0863750610e-03, -1.4262661600e-06,
                  -5.7609940901e-03, 2.4053735503e-04, -1.2314450199e-07])  # fmt: skip
    t = np.linspace(14.0, 851.0, 20)

    def model(b):
        top = b[0] + t * (b[1] + t * (b[2] + t * b[3]))
        return top / (1 + t * (b[4] + t * (b[5] + t * b[6])))

    exact = dif.jacobian(model, b, backend="complex-step") * b
    counted = Counted(model)
    found = dif.jacobian(counted, b, backend=dif.FiniteDifferences(scheme)) * b
    np.testing.assert_allclose(found, exact, rtol=10 * RTOL[scheme], atol=1e-7)
    if scheme == "central":  # at most one parameter asks for a second look
        assert counted.count <= 2 * len(b) + 2


# Variables that are small by chance


@every_scheme
@pytest.mark.parametrize("small", [0.0, 1e-300, 1e-17, 1e-9, 1e-3])
def test_nearly_zero_is_no_scale(scheme, small):
    backend = dif.FiniteDifferences(scheme)
    f = lambda x: (x - 3.0) ** 2
    total = lambda x: np.sum(f(x))
    x = np.array([small, 1.0, 0.0, -small, 5.0])
    exact = 2 * (x - 3.0)
    close = {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(dif.gradient(total, x, backend=backend), exact, **close)
    np.testing.assert_allclose(dif.jacobian(f, x, backend=backend), np.diag(exact), **close)
    found = dif.jacobian(f, x, backend=backend, sparsity="trace")
    np.testing.assert_allclose(found.toarray(), np.diag(exact), **close)
    found = dif.pushforward(f, x, tangents=np.ones(5), backend=backend)
    np.testing.assert_allclose(found, exact, **close)


def test_zeros_among_large_numbers():
    x = np.array([0.0, 1e6, 0.0])
    f = lambda x: np.array([np.sin(x[0]), x[1] / 8, np.exp(x[2]) * x[1]])
    found = dif.pushforward(f, x, tangents=np.ones(3), backend="numpy")
    np.testing.assert_allclose(found, [1.0, 1 / 8, 1e6 + 1], rtol=1e-7)


def test_a_longer_step_may_leave_the_domain():
    """``f`` raises there; what the short step says stands."""

    def f(x):
        if np.any(x < 0):
            raise ValueError("negative")
        return 1e3 + np.sum(np.sqrt(x))

    x = np.array([1e-8, 4.0])
    np.testing.assert_allclose(dif.gradient(f, x, backend="numpy"), [5e3, 0.25], rtol=1e-2)


# Functions that compute in a lower precision


def ramp(p):
    return np.float32(p[0]) * np.linspace(0.0, 1.0, 3)


@every_scheme
@pytest.mark.parametrize(
    "f",
    [
        ramp,
        lambda p: ramp(p).astype(np.float32),
        lambda p: np.float32(p[0]) * np.linspace(0.0, 1.0, 3, dtype=np.float32) + 0.0,
        lambda p: np.asarray((np.float16(p[0]) * np.linspace(0.0, 1.0, 3)), np.float16),
        lambda p: np.array([0.0, np.float32(p[0] / 2), np.float32(p[0])], float),
    ],
    ids=["mixed", "float32", "inside", "float16", "cast"],
)
@pytest.mark.parametrize("p", [1.5, 0.3])
def test_black_boxes_in_float32(scheme, f, p):
    """Never zeros: the step follows the precision of the result."""
    found = dif.jacobian(f, np.array([p]), backend=dif.FiniteDifferences(scheme))
    np.testing.assert_allclose(found[:, 0], [0.0, 0.5, 1.0], atol=0.06)
    assert f is not ramp or np.allclose(found[:, 0], [0.0, 0.5, 1.0], atol=2e-3)


def test_float32_under_every_operator():
    f = lambda x: float(np.sum(x.astype(np.float32) ** 2))
    x = np.array([1.5, 0.3])
    near = {"rtol": 1e-3}
    for backend in map(dif.FiniteDifferences, SCHEMES):
        np.testing.assert_allclose(dif.gradient(f, x, backend=backend), 2 * x, rtol=5e-3)
        np.testing.assert_allclose(
            dif.prepare_gradient(f, x, backend=backend)(x + 1), 2 * (x + 1), rtol=5e-3
        )
    assert dif.pushforward(f, x, tangents=x, backend="numpy") == pytest.approx(4.68, rel=1e-3)
    y, g = dif.value_and_gradient(f, x, backend="numpy")
    assert y == pytest.approx(2.34)
    np.testing.assert_allclose(g, 2 * x, **near)
    np.testing.assert_allclose(dif.hessian(f, x, backend="numpy"), 2 * np.eye(2), atol=0.05)
    np.testing.assert_allclose(dif.hvp(f, x, tangents=x, backend="numpy"), 2 * x, rtol=0.05)
    sparse = dif.jacobian(lambda x: x.astype(np.float32) ** 2, x, backend="numpy",
                          sparsity=np.eye(2))  # fmt: skip
    np.testing.assert_allclose(sparse.toarray(), np.diag(2 * x), **near)


def test_float32_beside_float64():
    """Each leaf of the result in its own precision."""
    f = lambda x: {"low": np.float32(x[0]) * 2.0, "high": np.exp(x[0])}
    found = dif.jacobian(f, np.array([0.3]), backend="numpy")
    assert found["low"][0] == pytest.approx(2.0, rel=1e-4)
    assert found["high"][0] == pytest.approx(np.exp(0.3), rel=1e-9)


@pytest.mark.parametrize(
    ("f", "count"),
    [
        (lambda x: np.sum(x), 6),  # linear, of small integers: no more evaluations
        (lambda x: np.sum(x**2), 6),
        (lambda x: 3.0, 7),  # constant: one more to see that it is
        (lambda x: np.float64(np.float32(x[0])), 13),  # twice, and once to be sure
    ],
)
def test_evaluations_to_learn_the_precision(f, count):
    counted = Counted(f)
    dif.gradient(counted, np.array([1.0, 2.0, 3.0]), backend="numpy")
    assert counted.count == count


def test_steps_of_the_user_are_taken_as_they_are():
    seen = []

    def f(x):
        seen.append(x[0])
        return np.float32(x[0]) * x[0]

    dif.derivative(lambda t: f([t]), 1e-7, backend=dif.FiniteDifferences(step=2.0**-10))
    np.testing.assert_allclose(np.abs(np.array(seen) - 1e-7), 2.0**-10)


# The plain loop, for functions of one vector that return a number


@pytest.mark.parametrize("scheme", ["forward", "central", "central4"])
@pytest.mark.parametrize("step", [None, 1e-5])
@pytest.mark.parametrize("offset", [0.0, 10.0, 1e6])
def test_the_plain_loop_gives_what_the_general_way_does(scheme, step, offset):
    """Where coordinates are small, zero or large, and where the value drowns what they add."""
    x = np.array([1e-3, 0.0, -3e-7, 0.05, 2.0, -4e5, 1e-320])
    backend = dif.FiniteDifferences(scheme, step=step)
    f = lambda x: offset + np.sum(np.sin(x) + np.exp(-(x**2)))
    number, vector = Counted(f), Counted(lambda x: np.array([f(x)]))
    gradient = dif.gradient(number, x, backend=backend)
    (row,) = dif.jacobian(vector, x, backend=backend)
    np.testing.assert_array_equal(gradient, row)
    assert number.count == vector.count


@pytest.mark.parametrize("value", [np.inf, np.nan, 1, 1.0, np.float32(0.5)])
def test_the_plain_loop_takes_constant_values_of_any_kind(value):
    with np.errstate(invalid="ignore"):
        found = dif.gradient(lambda x: value, np.array([0.01, 2.0]), backend="numpy")
    np.testing.assert_array_equal(found, np.zeros(2) if np.isfinite(value) else np.full(2, np.nan))


@every_scheme
@pytest.mark.parametrize("shape", [(), (2,)])
def test_results_in_the_same_buffer_each_time(scheme, shape):
    buffer = np.empty(shape)

    def f(x):
        return np.multiply(x[0] ** 2 + x[1] * x[2], np.ones(shape), out=buffer)

    x = np.array([1.5, 0.7, 2.0])
    backend = dif.FiniteDifferences(scheme)
    expected = np.broadcast_to(np.array([2 * x[0], x[2], x[1]]), (*shape, 3))
    found = dif.jacobian(f, x, backend=backend)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    if shape == ():
        np.testing.assert_allclose(dif.gradient(f, x, backend=backend), expected, rtol=1e-6)
        np.testing.assert_allclose(
            dif.prepare_gradient(f, x, backend=backend)(x), expected, rtol=1e-6
        )
        hessian = [[2, 0, 0], [0, 0, 1], [0, 1, 0]]
        np.testing.assert_allclose(
            dif.hessian(f, x, backend=backend), hessian, rtol=1e-4, atol=1e-4
        )


def test_small_coordinates_that_fail_further_away():
    """One longer step of each leaves the domain, or both do; the others are still better."""
    small = np.array([3e-8, -3e-8, 2e-8, 1e-3])

    def f(x):
        if abs(x[0]) > 1e-7 or x[1] > 0:
            raise ValueError
        return 1e3 + x[2] if x[2] < -1e-7 else 1e3 + np.sum(x)

    found = dif.gradient(f, small, backend="numpy")
    direct = dif.jacobian(lambda x: np.array([f(x)]), small, backend="numpy")[0]
    assert np.array_equal(found, direct)
    np.testing.assert_allclose(found[3], 1.0, rtol=1e-6)


@pytest.mark.parametrize("x", [0.0, 1.0])
@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-3])
def test_richardson_of_functions_that_vary_faster_than_its_first_steps(
    x: float, scale: float
) -> None:
    """They are level over these, or repeat themselves: entries agree by chance, or none does."""
    slopes = {np.tanh: 1.0, np.sin: 1.0, np.arctan: 1.0, lambda t: np.exp(np.minimum(t, 20)): 1.0}
    for f, slope in slopes.items():
        found = dif.derivative(
            lambda t, f=f: f((t - x) / scale), x, backend=dif.FiniteDifferences("richardson")
        )
        np.testing.assert_allclose(found * scale, slope, rtol=1e-6)


def test_infinite_points_have_no_derivative():
    for x in (np.inf, np.array([np.inf, 1.0])):
        v = np.ones_like(x)
        with np.errstate(invalid="ignore"):  # as NumPy says of the difference
            assert np.isnan(dif.pushforward(np.sum, x, tangents=v, backend="numpy"))
