"""What the results of ufuncs, and of sums and products, depend on."""

from functools import reduce
from typing import Any

import numpy as np

from diffface.backends.recording import dependence as dep
from diffface.backends.recording.index_sets.elements import NOTHING, united
from diffface.backends.recording.index_sets.hidden import here, is_sets

# Ufuncs whose derivative is zero wherever there is one.
FLAT = dep.words(
    "floor ceil rint trunc sign greater less greater_equal less_equal equal not_equal isnan "
    "isfinite isinf logical_and logical_or logical_not logical_xor signbit floor_divide "
    "bitwise_and bitwise_or bitwise_xor invert left_shift right_shift isnat spacing"
)
# Those of them that return booleans.
TESTS = FLAT - dep.words("floor ceil rint trunc sign floor_divide spacing")
# Ufuncs that are linear, at least piecewise: they add nothing to second derivatives.
LINEAR = dep.words(
    "add subtract multiply negative positive absolute fabs conjugate maximum minimum fmax "
    "fmin remainder fmod copysign deg2rad rad2deg degrees radians ldexp"
)
SUMS = dep.words("add sum mean max amax min amin nansum nanmean nanmax nanmin ptp maximum minimum")
# An array of index sets.
Sets = Any


def elementwise(like: Sets, ufunc: Any, inputs: Any) -> Any:
    """What a ufunc returns."""
    shape = np.broadcast_shapes(*map(np.shape, inputs))
    name = ufunc.__name__
    if shape == () and name not in FLAT and ufunc.nout == 1:
        return _of_numbers(like, name, inputs)
    if name in FLAT:
        return like.new(shape, None, bool if name in TESTS else result_type(inputs))
    deps = [a.deps if is_sets(a) else None for a in inputs]
    found = dep.union(deps, shape)
    if name in ("multiply", "divide"):
        like.report.product(deps[0], deps[1], shape)
    if name == "divide":
        like.report.product(deps[1], deps[1], shape)
    elif name not in LINEAR:
        like.report.product(found, found, shape)
    if name == "multiply" and (deps[0] is None) != (deps[1] is None):
        factor = inputs[0 if deps[0] is None else 1]
        if not is_sets(factor):
            found = dep.drop(found, np.asarray(factor) == 0)
    result = like.new(shape, found, _dtype(name, inputs))
    return (result,) * ufunc.nout if ufunc.nout > 1 else result


def _of_numbers(like: Sets, name: str, inputs: Any) -> Any:
    """The same of arrays of shape (), without a matrix for each of them."""
    columns = [a.element() if is_sets(a) else NOTHING for a in inputs]
    found = reduce(united, columns)
    if name in ("multiply", "divide"):
        like.report.product_of_numbers(*columns)
    if name == "divide":
        like.report.product_of_numbers(columns[1], columns[1])
    elif name not in LINEAR:
        like.report.product_of_numbers(found, found)
    if name == "multiply" and any(not is_sets(a) and a == 0 for a in inputs):
        found = NOTHING
    return like.of_columns(found, _dtype(name, inputs))


def _dtype(name: str, inputs: Any) -> Any:
    dtype = result_type(inputs)
    if dtype.kind not in "fc" and name not in ("add", "subtract", "multiply", "maximum", "minimum"):
        dtype = np.dtype(float)
    if name == "absolute" and dtype.kind == "c":
        dtype = np.empty(0, dtype).real.dtype
    return dtype


def result_type(inputs: Any) -> Any:
    """The dtype of a result."""
    kinds = [a.dtype if is_sets(a) else a for a in inputs]
    return np.result_type(*kinds)


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(axis) if isinstance(axis, tuple | list) else (int(axis),)


def reduced(a: Sets, axis: Any, keepdims: bool, name: str) -> Sets:
    """A sum, or another reduction."""
    axes = _axes(axis, a.ndim)
    shape = np.empty(a.shape, bool).any(axis=axes, keepdims=keepdims).shape
    if name in TESTS or name in ("all", "any"):
        return a.new(shape, None, bool)
    deps = dep.reduce(a.deps, axes, keepdims)
    if name not in SUMS:
        a.report.product(deps, deps, shape)
    return a.new(shape, deps)


def matmul(like: Sets, a: Any, b: Any) -> Any:
    """A matrix product."""
    ndims = np.ndim(a), np.ndim(b)
    shape = (np.empty(np.shape(a)) @ np.empty(np.shape(b))).shape
    dtype = result_type((a, b))
    if max(ndims) > 2:
        deps = [x.deps for x in (a, b) if is_sets(x)]
        with like.report.naming("matmul", here):
            found = like.report.everything("matmul", here, deps, shape)
        like.report.product(found, found, shape)
        return like.new(shape, found, dtype)
    if ndims == (1, 1) and is_sets(a) and is_sets(b):
        return np.sum(a * b)
    dims = (((ndims[0] - 1,), (0,)), ((), ()))
    products: list[Any] = []
    for x, other, left in ((a, b, True), (b, a, False)):
        if is_sets(x) and x.deps is not None:
            known = not is_sets(other)
            with like.report.naming("matmul", here):
                product = dep.contract(x.deps, np.asarray(other) if known else other, known,
                                       dims, left)  # fmt: skip
            products.append(product._replace(shape=shape))
    if len(products) == 2:
        like.report.product(products[0], products[1], shape)
    return like.new(shape, dep.union(products, shape), dtype)


def cumulated(a: Sets, axis: int, name: str) -> Sets:
    """A cumulative sum or product."""
    deps = dep.cumulate(a.deps, axis)
    if name not in ("add", "cumsum", "nancumsum", "cumulative_sum"):
        a.report.product(deps, deps, a.shape)
    return a.new(a.shape, deps)
