"""Constant arrays are merged in recorded programs, where that rounds nothing otherwise."""

import numpy as np
import pytest

from diffface.operators.call import prepare_value

X = np.array([0.7, -3.0, np.inf, np.nan, 1e-300])
MASK = np.array([0.0, 1.0, 0.0, -1.0, 1.0])
OTHERS = np.array([5.0, 0.0, -2.0, 0.0, 0.0])
LARGE = np.array([1e200, 1e-200, 3.0, 1.0, 7.0])

CASES = {
    "factors": (lambda x: x * MASK * 4.0 * 2.0, "multiply", 1),
    "factors before": (lambda x: 3.0 * (x * MASK) * x, "multiply", 2),
    "large factors": (lambda x: x * LARGE * LARGE, "multiply", 2),
    "sum": (lambda x: x + MASK + OTHERS, "add", 1),
    "sum after": (lambda x: OTHERS + (MASK + x), "add", 1),
    "difference": (lambda x: MASK - x + OTHERS, "subtract", 1),
    "differences": (lambda x: x - MASK - OTHERS, "subtract", 1),
    "sum and difference": (lambda x: x + MASK - OTHERS, "add", 1),
    "sum that would round otherwise": (lambda x: x + LARGE + -LARGE, "add", 2),
}


@pytest.mark.parametrize("name", CASES)
def test_constant_arrays(name):
    f, operation, count = CASES[name]
    with np.errstate(all="ignore"):
        prepared = prepare_value(f, X, backend="autograd")
        assert prepared.strategy == "program"
        source = prepared.native.source
        assert source.count(f"{operation}(") == count, source
        np.testing.assert_array_equal(prepared(X), f(X))
        np.testing.assert_array_equal(prepared(-2 * X), f(-2 * X))
