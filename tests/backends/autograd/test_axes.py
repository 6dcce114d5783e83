"""Axes of autograd's namespace are those of NumPy, also where there are none."""

from typing import Any

import numpy as np
import pytest

import diffface as dif

MATRIX = np.arange(6.0).reshape(2, 3)
PREPARED = pytest.mark.parametrize("prepared", [False, True])
AXIS = [0, -1, None, ()]


def gradient(f: Any, x: Any, prepared: bool) -> Any:
    if prepared:
        return dif.prepare_gradient(f, x, backend="autograd")(x)
    return dif.gradient(f, x, backend="autograd")


@PREPARED
@pytest.mark.parametrize("axis", AXIS)
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod"])
def test_reductions_of_a_number(name: str, axis: Any, prepared: bool) -> None:
    def f(x: Any) -> Any:
        return getattr(dif.namespace(x), name)(x, axis=axis) ** 2

    assert gradient(f, np.array(3.0), prepared) == 6.0


@pytest.mark.parametrize("axis", AXIS)
@pytest.mark.parametrize("name", ["var", "std"])
def test_spreads_of_a_number(name: str, axis: Any) -> None:
    def f(x: Any) -> Any:
        xp = dif.namespace(x)
        return x**2 + getattr(xp, name)(xp.stack([x, x + 1.0]) if name == "std" else x, axis=0)

    assert gradient(f, np.array(3.0), False) == 6.0


@PREPARED
@pytest.mark.parametrize("axis", [2, -3, (0, 2)])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "flip", "var"])
def test_an_axis_that_is_not_there(name: str, axis: Any, prepared: bool) -> None:
    def f(x: Any) -> Any:
        xp = dif.namespace(x)
        return xp.sum(getattr(xp, name)(x, axis=axis))

    with pytest.raises(np.exceptions.AxisError, match="out of bounds for array of dimension 2"):
        gradient(f, MATRIX, prepared)


@pytest.mark.parametrize(
    "call",
    [
        lambda xp, x: xp.take(x, np.array([0]), axis=2),
        lambda xp, x: xp.take_along_axis(x, np.zeros((2, 3), int), axis=-3),
        lambda xp, x: xp.cumulative_sum(x, axis=2),
        lambda xp, x: xp.cumulative_prod(x, axis=2),
        lambda xp, x: xp.unstack(x, axis=2)[0],
        lambda xp, x: xp.diff(x, axis=2),
        lambda xp, x: xp.roll(x, 1, axis=2),
        lambda xp, x: xp.permute_dims(x, (0, 2)),
        lambda xp, x: xp.concat([x, x], axis=2),
        lambda xp, x: xp.linalg.vector_norm(x, axis=2),
        lambda xp, x: xp.fft.fft(x, axis=2).real,
        lambda xp, x: xp.fft.fftshift(x, axes=2),
    ],
)
def test_moving_along_an_axis_that_is_not_there(call: Any) -> None:
    def f(x: Any) -> Any:
        xp = dif.namespace(x)
        return xp.sum(call(xp, x))

    with pytest.raises((np.exceptions.AxisError, IndexError)):
        gradient(f, MATRIX, False)


def test_differences_of_order_0_are_those_of_numpy():
    for x in (np.float64(3.0), np.arange(3.0)):
        f = lambda x: dif.namespace(x).sum(dif.namespace(x).diff(x, n=0) ** 2)
        np.testing.assert_array_equal(dif.gradient(f, x, backend="autograd"), 2 * x)
