"""ADBench's bundle adjustment: the sparse Jacobian is the dense one, and the large one runs."""

import numpy as np
import pytest
from sparse_cases import compiled

import diffface as dif
from diffface.benchmark.problems.bundle_adjustment import BA1, bundle_adjustment, replicate

# github.com/microsoft/ADBench 38cb7931 (MIT), data/ba/test.txt: one
# camera, point, weight and feature, which all observations share.
SMALL = (
    np.array([
        1.797201, 0.590697, -0.635786, 90.859550, 29.361415, 28.777534, 211.628116, -0.284531,
        -14.762924, 0.058931, 0.069976,
    ]),
    np.array([4.173048, 5.586898, 1.403869]), 0.417022, np.array([-525.672849, 161.811929]),
    (2, 10, 10),
)  # fmt: skip
EXACT = ["jax", "torch", "autograd"]


def problem(file):
    *active, cameras, points, features = replicate(*file)
    seen = cameras.value, points.value, features.value

    def f(*x):
        # Which camera sees which point is captured: in `Const` it could differ at the next call.
        return bundle_adjustment(*x, *map(dif.namespace(x[0]).asarray, seen))

    return f, active


# Errors depend on the camera but for the other coordinate of the principal point, on a point and
# on a weight; the weight's own error on itself.
ENTRIES = 2 * (10 + 3 + 1) + 1


@pytest.mark.slow
@pytest.mark.parametrize("backend", EXACT)
def test_the_sparse_jacobian_is_the_dense_one(backend):
    f, active = problem(SMALL)
    f = compiled(f, backend)
    found = dif.prepare_jacobian(f, *active, backend=backend, sparsity="trace")
    assert found.sparsity.shape == (30, 62)
    assert found.sparsity.nnz == 10 * ENTRIES
    dense = dif.jacobian(f, *active, backend=backend)
    for sparse, expected in zip(found(*active), dense, strict=True):
        np.testing.assert_allclose(sparse.toarray(), expected.reshape(sparse.shape), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("backend", EXACT)
def test_the_large_jacobian_runs(backend):
    f, active = problem(BA1)
    found = dif.prepare_jacobian(f, *active, backend=backend, sparsity="trace")
    assert found.sparsity.nnz == 31_843 * ENTRIES
    few, start = problem((*BA1[:-1], (1, 1, 1)))
    expected = dif.jacobian(few, *start, backend="autograd")
    # All observations are alike.
    for sparse, one in zip(found(*active), expected, strict=True):
        for row in (0, 1, 2 * 31_843 - 1, 3 * 31_843 - 1):
            kind = row % 2 if row < 2 * 31_843 else 2
            own = one[kind].ravel()
            np.testing.assert_allclose(
                sparse[[row]].data, own[own != 0], rtol=1e-10, err_msg=f"row {row}"
            )
