"""Sparse preparations called with other arguments: the right matrices, or a clear error."""

import pickle

import numpy as np
import pytest

import diffface as dif

BACKENDS = ["jax", "torch", "autograd", "numpy", "complex-step"]
X = np.array([1.0, 2.0])
Y = np.array([3.0, 4.0])


def squares(p):
    return p["a"] ** 2 + 3 * p["b"]


def weighted(x, w):
    return x * w


@pytest.mark.parametrize("backend", BACKENDS)
def test_keys_may_come_in_another_order(backend):
    prepared = dif.prepare_jacobian(squares, {"a": X, "b": Y}, backend=backend, sparsity="trace")
    found = prepared({"b": Y, "a": X})
    assert list(found) == ["b", "a"]
    np.testing.assert_allclose(found["a"].toarray(), np.diag(2 * X), rtol=1e-8)
    np.testing.assert_allclose(found["b"].toarray(), 3 * np.eye(2), rtol=1e-8)
    for _ in range(2):
        np.testing.assert_allclose(
            prepared({"a": Y, "b": X})["a"].toarray(), np.diag(2 * Y), rtol=1e-8
        )


def test_numbers_and_arrays_of_no_axes_stand_for_one_another():
    f = lambda t, x: t * x**2
    for number in (2.0, np.float64(2.0), np.array(2.0)):
        prepared = dif.prepare_jacobian(f, number, X, backend="autograd", sparsity="trace")
        for other in (3.0, np.float64(3.0), np.array(3.0)):
            by_t, by_x = prepared(other, X)
            np.testing.assert_allclose(by_t.toarray(), (X**2)[:, None])
            np.testing.assert_allclose(by_x.toarray(), np.diag(6 * X))


def test_constants_stay_constant_where_the_shape_changes():
    prepared = dif.prepare_jacobian(
        weighted, X, dif.Const(Y), backend="autograd", sparsity="trace", on_mismatch="reprepare"
    )
    found = prepared(np.ones(3), np.array([5.0, 6.0, 7.0]))
    np.testing.assert_array_equal(found.toarray(), np.diag([5.0, 6.0, 7.0]))


def test_without_examples_each_call_says_what_is_constant():
    prepared = dif.prepare_jacobian(weighted, backend="autograd", sparsity="trace")
    assert prepared.strategy == "lazy"
    np.testing.assert_array_equal(prepared(X, dif.Const(Y)).toarray(), np.diag(Y))
    by_x, by_w = prepared(X, Y)
    np.testing.assert_array_equal(by_x.toarray(), np.diag(Y))
    np.testing.assert_array_equal(by_w.toarray(), np.diag(X))
    np.testing.assert_array_equal(prepared(dif.Const(X), Y).toarray(), np.diag(X))


def test_another_shape_is_refused_before_any_work():
    calls = []

    def f(x):
        calls.append(0)
        return x**2

    prepared = dif.prepare_jacobian(f, X, backend="autograd", sparsity="trace")
    before = len(calls)
    with pytest.raises(dif.PreparationMismatchError, match=r"called with numpy float64\[3\]"):
        prepared(np.ones(3))
    assert len(calls) == before


def test_a_preparation_that_failed_fails_again():
    prepared = dif.prepare_jacobian(lambda x: x[::-1] * x, backend="autograd", sparsity=np.eye(2))
    for _ in range(2):
        with pytest.raises(dif.SparsityError, match="lacks an entry"):
            prepared(X)


def test_the_backend_in_use_at_the_preparation_stays():
    with dif.using("torch"):
        prepared = dif.prepare_jacobian(weighted, X, dif.Const(Y), sparsity="trace")
        lazy = dif.prepare_jacobian(weighted, sparsity="trace", on_mismatch="reprepare")
        lazy(X, dif.Const(Y))
    lazy(np.ones(3), dif.Const(np.ones(3)))
    assert "Torch" in repr(prepared)
    assert "Torch" in repr(lazy)
    again = pickle.loads(pickle.dumps(prepared))
    again(X, Y)
    assert "Torch" in repr(again)


def test_a_copy_takes_keys_in_another_order():
    prepared = dif.prepare_jacobian(squares, {"a": X, "b": Y}, backend="autograd", sparsity="trace")
    again = pickle.loads(pickle.dumps(prepared))
    for each in ({"b": Y, "a": X}, {"a": X, "b": Y}):
        np.testing.assert_array_equal(again(each)["a"].toarray(), np.diag(2 * X))
    with pytest.raises(dif.PreparationMismatchError):
        again({"a": np.ones(3), "b": np.ones(3)})


def test_a_constant_leaf_stays_constant():
    f = lambda p: p["w"] ** p["n"]
    prepared = dif.prepare_jacobian(
        f, {"w": X, "n": dif.Const(3)}, backend="autograd", sparsity="trace"
    )
    for p in ({"w": X, "n": dif.Const(3)}, {"w": X, "n": 3}, {"n": 3, "w": X}):
        found = prepared(p)
        assert found["n"] is None
        np.testing.assert_allclose(found["w"].toarray(), np.diag(3 * X**2))
