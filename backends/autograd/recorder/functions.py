"""The functions that a program may call: NumPy's that can be recorded, and a few of our own.

A function may be recorded if the shape and dtype of its result follow from the shapes and dtypes of
its *data* arguments and from the values of the others. Anything of NumPy's that is not listed here
(``nonzero``, ``unique``, ``eig``, ``real_if_close``, ``fill_diagonal``, ...) is refused. Functions
from elsewhere (a user's own primitive, SciPy's) are recorded as they are and checked at run time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Function = Callable[..., Any]
Shape = tuple[int, ...]

# Number of leading data arguments -> names. "linalg." and "fft." prefix a submodule.
_RECORDABLE = {
    1: """
    sum prod mean var std max amax min amin ptp cumsum cumprod all any argmax argmin argsort sort
    partition argpartition count_nonzero reshape ravel transpose permute_dims matrix_transpose
    swapaxes moveaxis rollaxis roll squeeze expand_dims broadcast_to trace diag diagonal triu tril
    tile repeat pad flip flipud fliplr rot90 real imag angle round around fix nan_to_num sinc diff
    gradient median nansum nanmean nanmax nanmin nanprod nancumsum nanstd nanvar atleast_1d
    atleast_2d atleast_3d copy asarray asanyarray ascontiguousarray astype split array_split hsplit
    vsplit dsplit isneginf isposinf iscomplex isreal vander diagflat unwrap concatenate stack vstack
    hstack dstack column_stack concat meshgrid i0
    linalg.det linalg.slogdet linalg.inv linalg.pinv linalg.cholesky linalg.eigh linalg.eigvalsh
    linalg.svd linalg.svdvals linalg.qr linalg.norm linalg.matrix_norm linalg.vector_norm
    linalg.matrix_power linalg.multi_dot linalg.trace linalg.diagonal linalg.matrix_transpose
    linalg.cond
    fft.fft fft.ifft fft.fft2 fft.ifft2 fft.fftn fft.ifftn fft.rfft fft.irfft fft.rfft2 fft.irfft2
    fft.rfftn fft.irfftn fft.hfft fft.ihfft fft.fftshift fft.ifftshift
    """,
    2: """
    dot vdot inner outer tensordot kron cross take take_along_axis isclose allclose array_equal
    array_equiv searchsorted linspace full_like percentile quantile nanpercentile nanquantile
    average convolve correlate cov corrcoef polyval digitize append trapezoid select
    linalg.solve linalg.outer linalg.cross linalg.matmul linalg.tensordot linalg.vecdot
    """,
    3: "where clip interp",
    99: "einsum",
}

_METADATA = (
    "shape ndim size iscomplexobj isrealobj result_type isscalar zeros_like ones_like empty_like"
)

_TRUSTED = ("numpy", "autograd", "diffface")


def _find(names: str) -> Iterator[Function]:
    for name in names.split():
        module: Any = np
        for part in name.split("."):
            module = getattr(module, part, None)  # older NumPy lacks a few
        if module is not None:
            yield module


DATA_ARGUMENTS: dict[Function, int] = {
    fn: count for count, names in _RECORDABLE.items() for fn in _find(names)
}
METADATA: set[Function] = set(_find(_METADATA))


def is_ufunc(fn: Function) -> bool:
    """Whether `fn` is a ufunc or a method of one (``np.add.reduce``)."""
    return isinstance(fn, np.ufunc) or isinstance(getattr(fn, "__self__", None), np.ufunc)


def is_elementwise(fn: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call is one of a ufunc that makes one array, of its operands alone."""
    if not isinstance(fn, np.ufunc) or kwargs:
        return False
    return fn.signature is None and fn.nout == 1 and len(args) == fn.nin


def is_numpy(fn: Function) -> bool:
    """Whether `fn` is one of NumPy's own functions."""
    return str(getattr(fn, "__module__", None) or "").split(".")[0] == "numpy"


def allocates(fn: Function) -> bool:
    """Whether `fn` surely returns new memory: ufuncs do, and our own functions."""
    return fn in KERNELS or is_ufunc(fn)


def is_trusted(fn: Function) -> bool:
    """Whether `fn` is known not to keep its arguments, and to return what it did before."""
    module = str(getattr(fn, "__module__", None) or "").split(".")[0]
    return is_ufunc(fn) or module in _TRUSTED


def is_foldable(fn: Function) -> bool:
    """Whether `fn` of constants is a constant."""
    return fn in DATA_ARGUMENTS or fn in KERNELS or is_ufunc(fn)


def implementation(fn: Function) -> Function:
    """Return `fn` without NumPy's ``__array_function__`` dispatch, which arrays do not need."""
    return getattr(fn, "__wrapped__", fn) if is_numpy(fn) else fn


# Our own functions: each returns new memory


def scatter(base: Any, shape: Shape, dtype: Any, index: Any, x: Any) -> Any:
    """Return a copy of `base` (zeros, if None) with `x` added at `index`."""
    result = np.zeros(shape, dtype) if base is None else np.array(base)
    np.add.at(result, index, x)
    return result


def cast(x: Any, dtype: Any) -> Any:
    """Return a copy of `x` of another dtype."""
    return x.astype(dtype)


def product(a: Any, b: Any, shape: Shape, dtype: Any) -> Any:
    """Return ``np.dot`` in an array of our own, which has `shape` and `dtype`."""
    result: Any = a.dot(b, np.empty(shape, dtype))
    return result


def total(x: Any, axes: Any, keepdims: Any) -> Any:
    """Return the sum of `x` over `axes`, as ``np.sum`` does without its detours."""
    return np.add.reduce(x, axes, keepdims=keepdims)


def expand(x: Any, shape: Shape, dtype: Any) -> Any:
    """Return a new array of `shape` filled with `x`: what ``np.broadcast_to`` promises."""
    result = np.empty(shape, dtype)
    result[...] = x
    return result


def joined(parts: Any, shape: Shape, dtype: Any) -> Any:
    """Return `parts`, of `dtype`, one after the other along the first axis."""
    return np.concatenate(parts, 0, np.empty(shape, dtype))


def gathered(x: Any, index: Any) -> Any:
    """Return the elements of a vector at indices that are all within it, without looking."""
    return x.take(index, None, np.empty(index.shape, x.dtype), "clip")


def placed(base: Any, shape: Shape, dtype: Any, *parts: tuple[Any, Any]) -> Any:
    """Return a copy of `base`, overwritten by parts at indices; all of it, if it is None."""
    result = np.empty(shape, dtype) if base is None else base.copy()
    for index, part in parts:
        result[index] = part
    return result


def watched(arrays: tuple[tuple[Any, bool], ...]) -> Any:
    """Return a number that is finite only if all arrays are, and their inverses where so marked."""
    with np.errstate(all="ignore"):
        found = 0.0
        for x, divides in arrays:
            found += np.add.reduce(x, None)
            if divides:
                found += np.add.reduce(np.reciprocal(x), None)
    return found


KERNELS = (scatter, cast, product, total, expand, joined, gathered, placed, watched)
