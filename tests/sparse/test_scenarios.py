"""Every scenario that has a Jacobian or a Hessian: the sparse one is the dense one."""

import numpy as np
import pytest

import diffface as dif
from diffface.backends.registry import ROWS, missing, resolve
from diffface.testing import scenarios
from diffface.testing.case import Case, known_limits
from diffface.testing.point import arguments, points, shape_class, supported
from diffface.testing.trees import leaves

INSTALLED = [name for name in ROWS if not missing(name)]
ASKED = [
    (scenario, operator)
    for scenario in scenarios()
    for operator in supported(scenario)
    if operator in ("jacobian", "hessian")
]
FIRST = {(shape_class(s), operator): s for s, operator in reversed(ASKED)}


# One of each shape where that takes no time, and one of all else on each backend.
QUICK = ("autograd", "numpy")


def parameters():
    for backend in INSTALLED:
        for scenario, operator in ASKED:
            limits = [x for x in known_limits(backend) if x.covers(scenario.name, operator)]
            marks = [pytest.mark.xfail(strict=True, raises=x.raises) for x in limits[:1]]
            first = FIRST[shape_class(scenario), operator] is scenario
            if not (first and backend in QUICK) and scenario.name != "tree to tree":
                marks.append(pytest.mark.slow)
                # JAX compiles each for seconds.
                marks += [pytest.mark.exhaustive] * (backend == "jax" and not first)
            name = f"{backend}-{operator}-{scenario.name.replace(' ', '_')}"
            yield pytest.param(backend, scenario, operator, id=name, marks=marks)


@pytest.mark.parametrize(("backend", "scenario", "operator"), list(parameters()))
def test_the_sparse_derivative_is_the_dense_one(backend, scenario, operator):
    adapter = resolve(backend).first_order()
    options = Case(scenario, operator, "unprepared", adapter.arrays).options()
    options["backend"] = backend
    dense, prepare = getattr(dif, operator), getattr(dif, f"prepare_{operator}")
    here, there = points(scenario)
    example = arguments(here, adapter.arrays)
    sparse = prepare(scenario.f, *example, kwargs=here.kwargs, sparsity="trace", **options)
    for at in (here, there):
        args = arguments(at, adapter.arrays)
        found = sparse(*args, kwargs=at.kwargs)
        expected = dense(scenario.f, *args, kwargs=at.kwargs, **options)
        if scenario.has_aux:
            found, expected = found[0], expected[0]
        for matrix, block in zip(leaves(found), leaves(expected), strict=True):
            check(
                array_of(matrix),
                np.asarray(block),
                differences=not adapter.reverse and operator == "hessian",
            )


def check(found, expected, differences):
    assert found.dtype == expected.dtype
    # Second differences are rounded otherwise where two variables move at a time.
    single = np.finfo(expected.dtype).eps > 1e-10
    rtol = (1e-4 if single else 1e-8) if differences else (1e-5 if single else 1e-12)
    scale = np.max(abs(expected), initial=1.0 if differences else 1e-3)
    np.testing.assert_allclose(
        found.reshape(expected.shape), expected, rtol=rtol, atol=rtol * scale
    )


def array_of(matrix):
    if hasattr(matrix, "toarray"):
        return matrix.toarray()
    if hasattr(matrix, "to_dense"):
        return matrix.to_dense().numpy()
    # Whether JAX's own `todense` keeps 64 bits is a matter of its flag.
    found = np.zeros(matrix.shape, matrix.data.dtype)
    rows, columns = np.asarray(matrix.indices).T
    found[rows, columns] = matrix.data
    return found
