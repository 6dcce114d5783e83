"""Fourier transforms of the autograd namespace, ``namespace.fft``.

Four one-dimensional primitives with rules of every order, for odd and even lengths; the
n-dimensional and Hermitian transforms are made of them. With the pairing ``Re(g * dy)`` the
transpose of the DFT matrix is the DFT matrix itself, so the cotangent rules need no conjugate.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import autograd.numpy as anp
import numpy as np
from autograd.extend import defjvp, defvjp

from diffface.backends.autograd.namespace.rules import (
    Array,
    Axis,
    along,
    axes_of,
    match_real,
    numpy_primitive,
)
from diffface.backends.autograd.namespace.shapes import concat, roll

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]  # fmt: skip

Norm: TypeAlias = Literal["backward", "ortho", "forward"] | None
Transform: TypeAlias = Callable[[Array, int, int, Norm], Array]


def _fit(x: Array, n: int, axis: int) -> Array:
    """Cut or zero-pad `x` to length `n` along `axis`."""
    shape = anp.shape(x)
    if shape[axis] >= n:
        return x[along(axis, len(shape), slice(None, n))]
    gap = tuple(n - m if i == axis % len(shape) else m for i, m in enumerate(shape))
    return concat([x, np.zeros(gap, anp.result_type(x))], axis=axis)


_fft = numpy_primitive(np.fft.fft)
_ifft = numpy_primitive(np.fft.ifft)
_rfft = numpy_primitive(np.fft.rfft)
_irfft = numpy_primitive(np.fft.irfft)


def _transpose(forward: Transform) -> Callable[..., Callable[[Array], Array]]:
    def rule(_ans: Array, x: Array, n: int, axis: int, norm: Norm) -> Callable[[Array], Array]:
        length = anp.shape(x)[axis]
        return lambda g: match_real(_fit(forward(g, n, axis, norm), length, axis), x)

    return rule


def _irfft_vjp(_ans: Array, x: Array, n: int, axis: int, norm: Norm) -> Callable[[Array], Array]:
    half = n // 2 + 1
    # Every frequency but zero, and n/2 for even n, stands for itself and its conjugate.
    twice = np.full(half, 2.0)
    twice[0] = 1.0
    if n % 2 == 0:
        twice[-1] = 1.0
    weights = twice.reshape(-1, *(1,) * (anp.ndim(x) - 1 - axis % anp.ndim(x)))
    length = anp.shape(x)[axis]
    return lambda g: match_real(
        _fit(weights * _fit(_ifft(g, n, axis, norm), half, axis), length, axis), x
    )


defvjp(_fft, _transpose(_fft))
defvjp(_ifft, _transpose(_ifft))
# The transposed cut to n//2 + 1 frequencies is zero-padding, which `_fft` does by its `n`.
defvjp(_rfft, _transpose(_fft))
defvjp(_irfft, _irfft_vjp)
for _f in (_fft, _ifft, _rfft, _irfft):
    defjvp(_f, "same")


# One dimension


def _length(x: Array, n: int | None, axis: int) -> int:
    return int(anp.shape(x)[axis]) if n is None else n


def fft(x: Array, /, n: int | None = None, axis: int = -1, norm: Norm = None) -> Array:
    """Discrete Fourier transform along `axis`."""
    return _fft(x, _length(x, n, axis), axis, norm)


def ifft(x: Array, /, n: int | None = None, axis: int = -1, norm: Norm = None) -> Array:
    """Inverse of `fft`."""
    return _ifft(x, _length(x, n, axis), axis, norm)


def rfft(x: Array, /, n: int | None = None, axis: int = -1, norm: Norm = None) -> Array:
    """The first ``n//2 + 1`` frequencies of real `x`."""
    return _rfft(x, _length(x, n, axis), axis, norm)


def irfft(x: Array, /, n: int | None = None, axis: int = -1, norm: Norm = None) -> Array:
    """Inverse of `rfft`; `n` defaults to the even length."""
    return _irfft(x, n or 2 * (anp.shape(x)[axis] - 1), axis, norm)


_SWAPPED: dict[Norm, Norm] = {
    None: "forward",
    "backward": "forward",
    "forward": "backward",
    "ortho": "ortho",
}


def hfft(x: Array, /, n: int | None = None, axis: int = -1, norm: Norm = None) -> Array:
    """Transform of a Hermitian signal: real."""
    return irfft(anp.conj(x), n, axis, _SWAPPED[norm])


def ihfft(x: Array, /, n: int | None = None, axis: int = -1, norm: Norm = None) -> Array:
    """Inverse of `hfft`."""
    return anp.conj(rfft(x, n, axis, _SWAPPED[norm]))


# More dimensions


def _axes(x: Array, s: Sequence[int] | None, axes: Axis) -> list[tuple[int, int | None]]:
    """Pair each axis with its length."""
    ndim = anp.ndim(x)
    if axes is None and s is not None:
        axes = tuple(range(ndim - len(s), ndim))
    numbers = axes_of(axes, ndim)
    return list(zip(numbers, s or (None,) * len(numbers), strict=True))


def fftn(x: Array, /, s: Any = None, axes: Axis = None, norm: Norm = None) -> Array:
    """`fft` along several axes, by default all."""
    for axis, n in reversed(_axes(x, s, axes)):
        x = fft(x, n, axis, norm)
    return x


def ifftn(x: Array, /, s: Any = None, axes: Axis = None, norm: Norm = None) -> Array:
    """Inverse of `fftn`."""
    for axis, n in reversed(_axes(x, s, axes)):
        x = ifft(x, n, axis, norm)
    return x


def rfftn(x: Array, /, s: Any = None, axes: Axis = None, norm: Norm = None) -> Array:
    """`rfft` along the last of `axes`, then `fft` along the others."""
    *others, (last, n_last) = _axes(x, s, axes)
    x = rfft(x, n_last, last, norm)
    for axis, n in reversed(others):
        x = fft(x, n, axis, norm)
    return x


def irfftn(x: Array, /, s: Any = None, axes: Axis = None, norm: Norm = None) -> Array:
    """Inverse of `rfftn`."""
    *others, (last, n_last) = _axes(x, s, axes)
    for axis, n in others:
        x = ifft(x, n, axis, norm)
    return irfft(x, n_last, last, norm)


def fft2(x: Array, /, s: Any = None, axes: Axis = (-2, -1), norm: Norm = None) -> Array:
    """`fftn` along two axes."""
    return fftn(x, s, axes, norm)


def ifft2(x: Array, /, s: Any = None, axes: Axis = (-2, -1), norm: Norm = None) -> Array:
    """Inverse of `fft2`."""
    return ifftn(x, s, axes, norm)


def fftshift(x: Array, /, axes: Axis = None) -> Array:
    """Move frequency zero to the middle."""
    numbers = axes_of(axes, anp.ndim(x))
    return roll(x, tuple(anp.shape(x)[a] // 2 for a in numbers), axis=numbers)


def ifftshift(x: Array, /, axes: Axis = None) -> Array:
    """Inverse of `fftshift`."""
    numbers = axes_of(axes, anp.ndim(x))
    return roll(x, tuple(-(anp.shape(x)[a] // 2) for a in numbers), axis=numbers)


def fftfreq(n: int, /, d: float = 1.0, *, dtype: Any = None, device: object = None) -> Array:
    """Frequencies of `fft`."""
    return np.fft.fftfreq(n, d).astype(dtype or float)


def rfftfreq(n: int, /, d: float = 1.0, *, dtype: Any = None, device: object = None) -> Array:
    """Frequencies of `rfft`."""
    return np.fft.rfftfreq(n, d).astype(dtype or float)
