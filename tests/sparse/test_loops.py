"""NumPy functions that go over their elements in a loop: the pattern, and what tracing it costs."""

import numpy as np
import pytest

import diffface as dif
from diffface.backends.recording import dependence

X = np.linspace(0.5, 1.5, 12)


def written(x):
    y = np.zeros_like(x)
    for i in range(1, len(x)):
        y[i] = x[i] * x[i - 1]
    return y


def added_to(x):
    y = 2 * x
    for i in range(1, len(x) - 1):
        y[i] += x[i - 1] ** 2 - x[i + 1]
    return y


def recurrence(x):
    y = np.zeros_like(x)
    for i in range(len(x)):
        y[i] = y[i - 1] / 2 + x[i] if i % 5 else x[i]
    return y


def short_slices(x):
    y = np.zeros_like(x)
    for i in range(0, len(x) - 2, 2):
        y[i : i + 2] = x[i : i + 2] * x[i + 1 : i + 3]
    return y


def rows(x):
    y = np.zeros_like(x.reshape(-1, 2))
    for i, row in enumerate(y):
        row[0] = x[2 * i + 1] ** 2
        y[i - 1, 1] = x[i]
    return y


def overwritten(x):
    y = x[::-1] * 1
    for i in range(3):
        y[i] = 1.0
    y[-1] = y[0] * x[0]
    return y


def stacked(x):
    return np.stack([x[i] * x[i - 1] for i in range(len(x))])


def numbers_that_others_hold(x):
    a = x[0]
    b = a
    a *= 0
    s = x[1]
    t = s
    s += x[2]
    return np.stack([a, b, s, t])


FUNCTIONS = [
    written, added_to, recurrence, short_slices, rows, overwritten, stacked,
    numbers_that_others_hold,
]  # fmt: skip


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_the_pattern_of_a_loop(f):
    found = dif.jacobian_sparsity(f, X, backend="numpy").toarray()
    dense = dif.jacobian(f, X, backend="numpy").reshape(found.shape) != 0
    if f is numbers_that_others_hold:
        # Of a number that is changed in place, what it depended on is kept.
        assert (found >= dense).all()
        assert found[1, 0]
        return
    np.testing.assert_array_equal(found, dense)


def products(x):
    return sum(x[i] * x[i - 1] for i in range(1, len(x)))


def of_quotients(x):
    s = 0.0
    for i in range(1, len(x)):
        s += np.sin(x[i] / x[i - 1])
    return s


def of_short_sums(x):
    s = 0.0
    for i in range(2, len(x)):
        s = s + np.sum(x[i - 2 : i + 1] ** 3) ** 2
    return s


@pytest.mark.parametrize("f", [products, of_quotients, of_short_sums], ids=lambda f: f.__name__)
def test_the_pattern_of_a_hessian_of_a_loop(f, monkeypatch):
    from diffface.backends.recording import report

    monkeypatch.setattr(report, "MERGED", 8)
    found = dif.hessian_sparsity(f, X, backend="numpy").toarray()
    np.testing.assert_array_equal(found, dif.hessian_sparsity(f, X, backend="autograd").toarray())


@pytest.mark.parametrize("f", [written, added_to, recurrence, short_slices, rows])
def test_no_element_costs_a_pass_over_the_array(f, monkeypatch):
    calls = []
    scatter = dependence.scatter
    monkeypatch.setattr(
        dependence, "scatter", lambda *args, **kwargs: calls.append(0) or scatter(*args, **kwargs)
    )
    x = np.linspace(0.5, 1.5, 100)
    dif.jacobian_sparsity(f, x, backend="numpy")
    assert len(calls) < 4
