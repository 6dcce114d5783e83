"""Calls of NumPy functions from JAX programs, compiled ones as well.

``jax.pure_callback`` will not do: it puts arguments on a device, where threads wait for each other,
and its results lose 64-bit precision when the thread that runs it does not have the x64 flag set.
Here XLA hands NumPy arrays to the function, and 64-bit results travel as pairs of 32 bits.
"""

import itertools
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from diffface.backends.compiled import Arrays
from diffface.backends.rule import Output, Rule

_host = Primitive("diffface_host")
_host.multiple_results = True

# Errors that functions raised inside compiled programs, by the number in the message that XLA
# makes of them. A few are kept, in case nobody asks.
_errors: dict[int, BaseException] = {}
_numbers = itertools.count()
_KEPT = 16
_here = threading.local()


def host_call(rule: Rule, x: Arrays) -> Arrays:
    """``rule.evaluate(x)`` on NumPy arrays, as an operation that JAX knows nothing about."""
    if not any(isinstance(a, jax.core.Tracer) for a in x):
        return tuple(map(_to_jax, rule.evaluate(tuple(map(np.asarray, x)))))
    _here.used = True
    outputs = rule.outputs(x)

    def packed(*arrays: Any) -> Arrays:
        y = rule.evaluate(tuple(map(np.asarray, arrays)))
        return tuple(part for a, o in zip(y, outputs, strict=True) for part in _pack(a, o))

    avals = tuple(aval for o in outputs for aval in _packed_aval(o))
    parts = iter(_host.bind(*x, f=packed, avals=avals, whole=rule.elementwise))
    return tuple(_unpack(parts, o) for o in outputs)


def _to_jax(array: Any) -> Any:
    # A copy, which JAX may read when the function has long overwritten its own.
    with jax.enable_x64(_is_wide(array.dtype)):
        return jnp.asarray(np.array(array))


def _is_wide(dtype: Any) -> bool:
    return bool(dtype.itemsize // (1 + (dtype.kind == "c")) == 8)


def _packed_aval(output: Output) -> list[tuple[tuple[int, ...], Any]]:
    if not _is_wide(output.dtype):
        return [(output.shape, output.dtype)]
    halves = ((*output.shape, 2), np.dtype(np.uint32))
    return [halves, halves] if output.dtype.kind == "c" else [halves]


def _pack(array: Any, output: Output) -> list[Any]:
    array = np.asarray(array, output.dtype)
    if not _is_wide(output.dtype):
        return [array]
    parts = [array.real, array.imag] if output.dtype.kind == "c" else [array]
    return [np.array(p, order="C").reshape(*p.shape, 1).view(np.uint32) for p in parts]


def _unpack(parts: Iterator[Any], output: Output) -> Any:
    if not _is_wide(output.dtype):
        return next(parts)
    convert = jax.lax.bitcast_convert_type
    if output.dtype.kind == "c":
        real, imag = convert(next(parts), np.float64), convert(next(parts), np.float64)
        return jax.lax.complex(real, imag)
    return convert(next(parts), output.dtype)


def _evaluate(*x: Any, f: Callable[..., Arrays], avals: Any, whole: bool) -> list[Any]:
    return [jnp.asarray(y) for y in f(*map(np.asarray, x))]


def _abstract(*x: Any, f: Callable[..., Arrays], avals: Any, whole: bool) -> list[Any]:
    return [jax.core.ShapedArray(shape, dtype) for shape, dtype in avals]


def _lower(ctx: Any, *x: Any, f: Callable[..., Arrays], avals: Any, whole: bool) -> Any:
    def guarded(*arrays: Any) -> Arrays:
        try:
            return f(*arrays)
        except BaseException as error:
            raise RuntimeError(_noted(error)) from error

    results, _, _ = mlir.emit_python_callback(
        ctx, guarded, None, list(x), ctx.avals_in, ctx.avals_out, has_side_effect=False,
        returns_token=False,
    )  # fmt: skip
    return results


def _batch(
    x: Sequence[Any], dims: Sequence[Any], *, f: Callable[..., Arrays], avals: Any, whole: bool
) -> Any:
    size = next(a.shape[d] for a, d in zip(x, dims, strict=True) if d is not None)
    batched = tuple(((size, *shape), dtype) for shape, dtype in avals)
    if whole:
        x = _aligned(x, dims)
        return _host.bind(*x, f=f, avals=batched, whole=True), [0] * len(avals)
    x = [a if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(x, dims, strict=True)]
    mapped = [d is not None for d in dims]

    def each(*arrays: Any) -> Arrays:
        if not size:
            return tuple(np.zeros((0, *shape), dtype) for shape, dtype in avals)
        pairs = list(zip(arrays, mapped, strict=True))
        rows = [f(*(a[i] if m else a for a, m in pairs)) for i in range(size)]
        return tuple(np.stack(column) for column in zip(*rows, strict=True))

    return _host.bind(*x, f=each, avals=batched, whole=False), [0] * len(avals)


def _aligned(x: Sequence[Any], dims: Sequence[Any]) -> list[Any]:
    """``x`` with the batch as leading axis where there is one, and as many axes each."""
    rank = max(a.ndim - (d is not None) for a, d in zip(x, dims, strict=True))
    aligned = []
    for a, d in zip(x, dims, strict=True):
        if d is not None:
            a = jnp.moveaxis(a, d, 0)
            a = a.reshape(a.shape[0], *(1,) * (rank - a.ndim + 1), *a.shape[1:])
        aligned.append(a)
    return aligned


def _noted(error: BaseException) -> str:
    number = next(_numbers)
    _errors[number] = error
    while len(_errors) > _KEPT:
        _errors.pop(min(_errors), None)
    return f"diffface error <{number}>: {type(error).__name__}: {error}"


@contextmanager
def original_errors() -> Iterator[None]:
    """Raise what a function on the host raised, instead of what XLA makes of it."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # either, by version
        found = re.search(r"diffface error <(\d+)>", str(error))
        original = _errors.pop(int(found[1]), None) if found else None
        if original is None:
            raise
        raise original from None


@contextmanager
def watched_for_calls() -> Iterator[Callable[[], bool]]:
    """Whether a program that is traced inside calls the host."""
    before, _here.used = getattr(_here, "used", False), False
    try:
        yield lambda: _here.used
    finally:
        _here.used = before or _here.used


_host.def_impl(_evaluate)
_host.def_abstract_eval(_abstract)
mlir.register_lowering(_host, _lower)
batching.primitive_batchers[_host] = _batch
