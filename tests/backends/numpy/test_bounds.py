"""No evaluation leaves the bounds; differences to one side are of the same order."""

import pickle

import numpy as np
import pytest
from helpers import Counted
from scipy.optimize import Bounds

import diffface as dif

SCHEMES = ("forward", "central", "central4", "richardson")
every_scheme = pytest.mark.parametrize("scheme", SCHEMES)
RTOL = {"forward": 1e-5, "central": 1e-7, "central4": 1e-8, "richardson": 1e-9}
LOWER, UPPER = np.array([0.0, -1.0, 2.0, 1e-7, -2.0]), np.array([1.0, 1.0, 2.5, 1.0, 3e-12])
# At a lower and an upper bound, between them, close to one, in a narrow gap.
X = np.array([0.0, 1.0, 2.2, 1e-7, 1e-12])


def watched(f):
    """``f``, which refuses points outside of the bounds."""

    def inside(x):
        assert np.all(x >= LOWER - 0.0)
        assert np.all(x <= UPPER)
        return f(x)

    return inside


def waves(x):
    return np.sin(2 * x + 0.3) * np.arange(1.0, 6.0)


EXACT = 2 * np.cos(2 * X + 0.3) * np.arange(1.0, 6.0)


@every_scheme
@pytest.mark.parametrize("bounds", [(LOWER, UPPER), Bounds(LOWER, UPPER)], ids=["pair", "scipy"])
def test_every_operator_stays_within(scheme, bounds):
    backend = dif.FiniteDifferences(scheme, bounds=bounds)
    f = watched(waves)
    close = {"rtol": RTOL[scheme], "atol": 10 * RTOL[scheme]}
    np.testing.assert_allclose(dif.jacobian(f, X, backend=backend), np.diag(EXACT), **close)
    total = lambda x: np.sum(f(x))
    np.testing.assert_allclose(dif.gradient(total, X, backend=backend), EXACT, **close)
    found = dif.jacobian(f, X, backend=backend, sparsity=np.eye(5))
    np.testing.assert_allclose(found.toarray(), np.diag(EXACT), **close)
    probed = dif.jacobian(f, X, backend=backend, sparsity="probe")
    np.testing.assert_allclose(probed.toarray(), np.diag(EXACT), **close)
    for v in (np.ones(5), -np.ones(5), np.array([1.0, -1.0, 1e-3, 0.0, 1.0])):
        found = dif.pushforward(f, X, tangents=v, backend=backend)
        np.testing.assert_allclose(found, EXACT * v, **close)
    prepared = dif.prepare_gradient(total, X, backend=backend)
    x = np.array([0.5, 0.0, 2.5, 0.5, -2.0])
    exact = 2 * np.cos(2 * x + 0.3) * np.arange(1.0, 6.0)
    np.testing.assert_allclose(prepared(x), exact, **close)


def test_second_derivatives_stay_within():
    x = np.array([0.0, 1.0, 2.2, 0.5, -1.0])
    total = watched(lambda x: np.sum(waves(x)))
    backend = dif.FiniteDifferences(bounds=(LOWER, UPPER))
    exact = -4 * np.sin(2 * x + 0.3) * np.arange(1.0, 6.0)
    found = dif.hessian(total, x, backend=backend)
    np.testing.assert_allclose(found, np.diag(exact), atol=2e-5)
    product = dif.hvp(total, x, tangents=np.ones(5), backend=backend)
    np.testing.assert_allclose(product, exact, atol=2e-5)


@pytest.mark.parametrize(("scheme", "order"), [("forward", 1), ("central", 2), ("central4", 4)])
def test_the_order_at_a_bound(scheme, order):
    """The error falls by ``2**order`` when the step is halved, as without bounds."""
    errors = []
    for step in (2.0**-4, 2.0**-5):
        backend = dif.FiniteDifferences(scheme, step=step, bounds=(0.8, np.inf))
        errors.append(dif.derivative(np.sin, 0.8, backend=backend) - np.cos(0.8))
    assert errors[0] / errors[1] == pytest.approx(2.0**order, rel=0.2)


@pytest.mark.parametrize(("scheme", "count"), [("forward", 6), ("central", 11), ("central4", 21)])
def test_evaluations_at_a_bound(scheme, count):
    """Central differences to one side need ``f(x)``, once."""
    f = Counted(lambda x: np.sum(np.exp(x)))
    dif.gradient(f, np.ones(5), backend=dif.FiniteDifferences(scheme, bounds=(1.0, 2.0)))
    assert f.count == count


def test_a_point_outside_goes_no_further_out():
    seen = []

    def f(x):
        seen.append(float(x[0]))
        return x[0] ** 2

    backend = dif.FiniteDifferences(bounds=(0.0, 1.0))
    np.testing.assert_allclose(dif.gradient(f, np.array([1.5]), backend=backend), [3.0], rtol=1e-8)
    assert max(seen) <= 1.5


def test_vectorized_functions_and_trees():
    def f(p):
        assert np.all(p["a"] >= 0)
        assert np.all(p["b"] <= 1)
        return np.sum(p["a"] ** 2, axis=(-1, -2)) + 3 * p["b"]

    backend = dif.FiniteDifferences(
        vectorized=True, bounds=([0, 0, 0, 0, -np.inf], [np.inf] * 4 + [1])
    )
    found = dif.gradient(f, {"a": np.array([[0.0, 1.0], [2.0, 0.0]]), "b": 1.0}, backend=backend)
    np.testing.assert_allclose(found["a"], [[0.0, 2.0], [4.0, 0.0]], atol=1e-8)
    assert found["b"] == pytest.approx(3.0)


def test_float32_stays_within_bounds_that_are_none_of_its_numbers():
    def f(x):
        assert np.all(x.astype(float) <= 0.1)
        return np.sum(x**2)

    x = np.array([np.nextafter(np.float32(0.1), np.float32(0))], np.float32)
    backend = dif.FiniteDifferences(bounds=(0.0, 0.1))
    np.testing.assert_allclose(dif.gradient(f, x, backend=backend), 2 * x, rtol=1e-3)


def test_a_step_for_each_coordinate():
    seen = []

    def f(x):
        seen.append(x.copy())
        return np.sum(x**2)

    steps = np.array([2.0**-10, 2.0**-20, 2.0**-14])
    x = np.array([1.0, 2.0, 0.25])
    backend = dif.FiniteDifferences(step=steps)
    np.testing.assert_allclose(dif.gradient(f, x, backend=backend), 2 * x, rtol=1e-7)
    moved = np.max(np.abs(np.array(seen) - x), axis=0)
    np.testing.assert_array_equal(moved, steps * np.maximum(1, x))
    for v in (np.ones(3), np.array([0.0, 1.0, 0.0])):
        found = dif.pushforward(f, x, tangents=v, backend=backend)
        assert found == pytest.approx(2 * x @ v, rel=1e-7)
    found = dif.jacobian(lambda x: x**2, x, backend=backend, sparsity=np.eye(3))
    np.testing.assert_allclose(found.toarray(), np.diag(2 * x), rtol=1e-7)


def test_options_are_compared_by_value():
    one, other = (
        dif.FiniteDifferences(step=np.array([1e-3, 1e-4]), bounds=(np.zeros(2), np.ones(2)))
        for _ in range(2)
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one != dif.FiniteDifferences(step=np.array([1e-3, 2e-4]), bounds=(0, 1))
    assert pickle.loads(pickle.dumps(one)) == one
    assert repr(dif.FiniteDifferences()) == (
        "FiniteDifferences(scheme='central', step=None, vectorized=False)"
    )


WRONG = "`bounds` must be a pair (lower, upper) of numbers or arrays with one number for each coord"


@pytest.mark.parametrize(
    "bounds", [1.0, (1.0,), (1.0, 0.0), ("a", 1), (np.zeros(2), np.ones(3)), (np.nan, 1.0)]
)
def test_wrong_bounds(bounds):
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.FiniteDifferences(bounds=bounds)
    assert str(caught.value) == (
        f"{WRONG}inate, the lower ones below the upper ones, got {bounds!r}."
    )


def test_bounds_and_steps_of_another_size():
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.gradient(np.sum, np.ones(3), backend=dif.FiniteDifferences(bounds=([0, 0], 2)))
    assert str(caught.value) == (
        "`bounds` must be numbers, or have one for each of the 3 coordinates of the active "
        "arguments; the lower ones are 2."
    )
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.gradient(np.sum, np.ones(3), backend=dif.FiniteDifferences(step=[1e-3, 1e-3]))
    assert str(caught.value) == (
        "`step` must have one number for each of the 3 coordinates of the active arguments, got 2."
    )


def test_what_is_fixed_has_no_derivative():
    backend = dif.FiniteDifferences(bounds=([0.0, 2.0], [1.0, 2.0]))
    for operator, options in (("gradient", {}), ("pushforward", {"tangents": np.ones(2)})):
        with pytest.raises(dif.InvalidArgumentError) as caught:
            getattr(dif, operator)(np.sum, np.array([0.5, 2.0]), backend=backend, **options)
        assert str(caught.value) == (
            "Coordinate 1 is fixed by equal bounds at 2.0, so that there is no derivative without "
            "leaving them; hold it constant with `Const`, or widen its bounds."
        )


def test_complex_arguments_have_no_bounds():
    with pytest.raises(dif.InvalidArgumentError, match="`bounds` are for real arguments"):
        dif.gradient(lambda z: abs(z) ** 2, 1j, backend=dif.FiniteDifferences(bounds=(0, 1)))


# The errors that Richardson extrapolation estimates


def test_estimates_of_errors():
    backend = dif.FiniteDifferences("richardson")
    x = np.array([0.3, 2.0, 1e-7])
    f = lambda x: np.exp(x) * np.array([1.0, 10.0, 100.0])
    found = dif.jacobian(f, x, backend=backend)
    error = dif.jacobian(f, x, backend=backend.errors())
    assert np.all(np.abs(found - np.diag(f(x))) <= 10 * error + 1e-15)
    assert np.all(error < 1e-9)
    rough = lambda x: float(np.sum(np.exp(x.astype(np.float32))))
    found = dif.gradient(rough, x, backend=backend)
    error = dif.gradient(rough, x, backend=backend.errors())
    assert np.all(np.abs(found - np.exp(x)) <= 10 * error)
    assert np.all(error > 1e-8)


def test_estimates_are_for_richardson_and_first_derivatives():
    with pytest.raises(dif.InvalidArgumentError) as caught:
        dif.FiniteDifferences().errors()
    assert str(caught.value) == (
        "Errors are estimated by the scheme 'richardson', not by 'central'."
    )
    backend = dif.FiniteDifferences("richardson").errors()
    with pytest.raises(dif.UnsupportedOperatorError):
        dif.hessian(np.sum, np.ones(2), backend=backend)
