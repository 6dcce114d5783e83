"""What the recorder knows about NumPy's functions: which to record, and what their results share.

A function may be recorded if the shape and dtype of its result follow from the shapes and dtypes of
its *data* arguments and from the values of the others. Anything of NumPy's that is not listed here
(``nonzero``, ``unique``, ``eig``, ``real_if_close``, ``fill_diagonal``, ...) is refused. Functions
from elsewhere (a user's own primitive, SciPy's) are recorded as they are and checked at run time.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from diffface.backends.autograd.recorder.kernels import KERNELS

Function = Callable[..., Any]

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

# Results that share no memory with an argument; those of any other function may. (A program calls
# our ``expand`` for ``broadcast_to``.)
_FRESH = """
sum prod mean var std max amax min amin ptp cumsum cumprod all any argmax argmin argsort sort
partition argpartition count_nonzero roll trace tile repeat pad nan_to_num sinc diff nansum nanmean
copy array broadcast_to dot vdot inner outer tensordot kron take take_along_axis where clip interp
concatenate stack vstack hstack dstack column_stack concat
linalg.det linalg.slogdet linalg.inv linalg.pinv linalg.cholesky linalg.eigh linalg.eigvalsh
linalg.svd linalg.solve linalg.norm
fft.fft fft.ifft fft.rfft fft.irfft fft.fftn fft.ifftn fft.fft2 fft.ifft2
"""

_METADATA = (
    "shape ndim size iscomplexobj isrealobj result_type isscalar zeros_like ones_like empty_like"
)


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
FRESH: set[Function] = set(_find(_FRESH))
METADATA: set[Function] = set(_find(_METADATA))


def is_ufunc(fn: Function) -> bool:
    """Whether `fn` is a ufunc or a method of one (``np.add.reduce``)."""
    return isinstance(fn, np.ufunc) or isinstance(getattr(fn, "__self__", None), np.ufunc)


def is_numpy(fn: Function) -> bool:
    """Whether `fn` is one of NumPy's own functions."""
    return str(getattr(fn, "__module__", None) or "").split(".")[0] == "numpy"


def is_fresh(fn: Function) -> bool:
    """Whether the result of `fn` never shares memory with an argument."""
    return fn in FRESH or fn in KERNELS or is_ufunc(fn)


def is_foldable(fn: Function) -> bool:
    """Whether `fn` of constants is a constant."""
    return fn in DATA_ARGUMENTS or fn in KERNELS or is_ufunc(fn)


def implementation(fn: Function) -> Function:
    """Return `fn` without NumPy's ``__array_function__`` dispatch, which arrays do not need."""
    return getattr(fn, "__wrapped__", fn) if is_numpy(fn) else fn
