"""What the results of NumPy's functions depend on, by name."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Maybe
from diffface.backends.recording.index_sets.hidden import ValuesNeededError, here, is_sets, leaves
from diffface.backends.recording.index_sets.ufuncs import cumulated, matmul, reduced, result_type

MOVES = dep.words(
    "reshape ravel transpose swapaxes moveaxis rollaxis roll squeeze expand_dims broadcast_to "
    "diag diagonal triu tril tile repeat flip flipud fliplr rot90 atleast_1d atleast_2d "
    "atleast_3d copy concatenate stack vstack hstack dstack column_stack split array_split "
    "hsplit vsplit dsplit take permute_dims matrix_transpose diagflat append resize pad "
    "concat unstack delete asarray ascontiguousarray asanyarray take_along_axis "
    "broadcast_arrays"
)
# Those of them that may return views.
VIEWS = dep.words(
    "reshape ravel transpose swapaxes moveaxis rollaxis squeeze expand_dims broadcast_to diagonal "
    "flip flipud fliplr rot90 atleast_1d atleast_2d atleast_3d split array_split hsplit vsplit "
    "dsplit permute_dims matrix_transpose unstack asarray asanyarray ascontiguousarray"
)
SAME = dep.words("real imag angle conj conjugate nan_to_num sinc i0 real_if_close")
REDUCTIONS = dep.words(
    "sum mean max amax min amin prod var std nansum nanmean nanmax nanmin nanprod nanvar nanstd ptp"
)
CUMULATIVE = dep.words("cumsum cumprod nancumsum nancumprod cumulative_sum cumulative_prod")
INDICES = dep.words("argsort argmax argmin argpartition")
# An array of index sets.
Sets = Any


# Each is `handler(like, function, args, kwargs)`.


def _move(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    parts: list[tuple[Maybe, int]] = []
    start = 0

    def numbered(value: Any) -> Any:
        nonlocal start
        if is_sets(value):
            (found,) = dep.positions_of([value.shape], start + 1)
            parts.append((value.deps, value.size))
            start += value.size
            return found
        if isinstance(value, tuple | list) and any(True for _ in leaves(value)):
            return type(value)(
                numbered(v) if any(True for _ in leaves(v)) else np.zeros(np.shape(v), int)
                for v in value
            )
        return value

    # Constants among the data have no position; other arguments say where elements go.
    data = 2 if function.__name__ == "append" else 1
    if any(True for _ in leaves(args[data:])):
        return NotImplemented
    chosen = [
        np.zeros(np.shape(a), int) if i < data and not any(True for _ in leaves(a)) else a
        for i, a in enumerate(args)
    ]
    keywords = {k: v for k, v in kwargs.items() if k not in ("dtype", "constant_values", "copy")}
    if any(True for _ in leaves(list(keywords.values()))):
        return NotImplemented
    result = function(*map(numbered, chosen), **keywords)
    dtype = result_type(tuple(leaves(args)))

    def sets(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(map(sets, value))
        positions = np.asarray(value, int) - 1
        if function.__name__ in VIEWS and len(parts) == 1:
            return next(leaves(args)).view(positions)
        return like.new(np.shape(value), dep.select(parts, positions), dtype)

    return sets(result)


def _pad(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    mode = kwargs.get("mode", args[2] if len(args) > 2 else "constant")
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap", "empty"):
        return NotImplemented
    return _move(like, function, args, kwargs)


def _same(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    a = args[0]
    if not is_sets(a):
        return NotImplemented
    dtype = a.dtype
    if function.__name__ not in ("real", "imag", "conj", "conjugate", "real_if_close"):
        a.report.product(a.deps, a.deps, a.shape)
    if function.__name__ in ("real", "imag", "angle"):
        dtype = np.empty(0, dtype).real.dtype
        if function.__name__ == "imag" and a.dtype.kind != "c":
            return a.new(a.shape, None, dtype)
        if function.__name__ != "angle":
            return a.view(np.arange(a.size).reshape(a.shape), dtype)
    return a.new(a.shape, a.deps, dtype)


def _zero(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    return like.new(np.shape(args[0]), None)


def _reduction(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    if not is_sets(args[0]) or kwargs.get("where") is not None or len(args) > 2:
        return NotImplemented
    axis = args[1] if len(args) > 1 else kwargs.get("axis")
    keepdims = bool(kwargs.get("keepdims") or 0)
    return reduced(args[0], axis, keepdims, function.__name__)


def _norm(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    if len(args) > 2:
        return NotImplemented
    axis = kwargs.get("axis")
    return reduced(args[0], axis, bool(kwargs.get("keepdims")), "norm")


def _cumulative(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    if kwargs.get("include_initial"):
        return NotImplemented
    axis = args[1] if len(args) > 1 else kwargs.get("axis")
    a: Any = np.ravel(args[0]) if axis is None else args[0]
    with like.report.naming(function.__name__, here):
        return cumulated(a, 0 if axis is None else axis, function.__name__)


def _where(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    if len(args) != 3:
        raise ValuesNeededError("a shape depends on values")
    condition, *branches = args
    shape = np.broadcast_shapes(*map(np.shape, args))
    deps = [dep.broadcast(b.deps, shape) if is_sets(b) else None for b in branches]
    dtype = result_type(branches)
    if is_sets(condition):
        return like.new(shape, dep.union(deps, shape), dtype)
    n = prod(shape)
    first = np.arange(n).reshape(shape)
    chosen = np.where(np.broadcast_to(condition, shape), first, first + n)
    return like.new(shape, dep.select([(d, n) for d in deps], chosen), dtype)


def _union(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    given = [*args, *kwargs.values()]
    shape = np.broadcast_shapes(*(np.shape(a) for a in given if a is not None))
    return like.new(shape, dep.union([a.deps for a in leaves(given)], shape))


def _like_another(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    shape = kwargs.get("shape")
    shape = np.shape(args[0]) if shape is None else np.empty(shape).shape
    fill: Any = None
    if function.__name__ == "full_like":
        fill = args[1] if len(args) > 1 else kwargs["fill_value"]
    deps = dep.broadcast(fill.deps, shape) if is_sets(fill) else None
    source = args[0].dtype if hasattr(args[0], "dtype") else np.result_type(args[0])
    return like.new(shape, deps, kwargs.get("dtype") or source)


def _about(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    if not is_sets(args[0]):
        return NotImplemented
    return function(np.broadcast_to(np.zeros((), args[0].dtype), args[0].shape), *args[1:])


def _type_of(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    return result_type(args)


def _diff(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    n, axis = (*args[1:], *(kwargs.get("n", 1), -1)[len(args) - 1 :])[:2]
    axis = kwargs.get("axis", axis)
    if set(kwargs) - {"n", "axis"} or not is_sets(args[0]):
        return NotImplemented
    move: Any = np.moveaxis
    a = move(args[0], axis, -1)
    for _ in range(n):
        a = a[..., 1:] - a[..., :-1]
    return move(a, -1, axis)


def _dot(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    a, b = args[:2]
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    if max(np.ndim(a), np.ndim(b)) > 2 and np.ndim(b) > 1:
        return NotImplemented
    return matmul(like, a, b)


def _inner(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    a, b = args
    return _dot(like, function, (a, np.transpose(b)), {}) if np.ndim(b) < 3 else NotImplemented


def _vdot(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    return matmul(like, *map(np.ravel, args))


def _outer(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    return np.multiply(np.reshape(args[0], (-1, 1)), np.reshape(args[1], (1, -1)))


def _einsum(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    """Elements of the result depend on those elements of an operand that share its letters."""
    spec, *operands = args
    if not isinstance(spec, str) or "." in spec:
        return NotImplemented
    terms, _, result = spec.replace(" ", "").partition("->")
    names = terms.split(",")
    if "->" not in spec:
        letters = sorted(set(terms) - {","})
        result = "".join(c for c in letters if terms.count(c) == 1)
    sizes = {c: n for t, a in zip(names, operands, strict=True)
             for c, n in zip(t, np.shape(a), strict=True)}  # fmt: skip
    shape = tuple(sizes[c] for c in result)
    found = []
    for term, a in zip(names, operands, strict=True):
        if is_sets(a) and a.deps is not None:
            with like.report.naming("einsum", here):
                found.append(_einsum_term(a.deps, term, result, sizes, shape))
    for i, one in enumerate(found):
        for other in found[:i]:
            like.report.product(one, other, shape)
    return like.new(shape, dep.union(found, shape), result_type(operands))


def _einsum_term(d: Any, term: str, result: str, sizes: dict[str, int], shape: Any) -> Maybe:
    letters = sorted(set(term))
    # The places in the operand for each setting of its letters (a diagonal, where one repeats).
    grid = np.meshgrid(*[np.arange(sizes[c]) for c in letters], indexing="ij")
    at = dict(zip(letters, grid, strict=True))
    places = np.ravel_multi_index([at[c] for c in term], d.shape) if term else np.zeros((), int)
    kept = [c for c in letters if c in result]
    inner = tuple(sizes[c] for c in kept)
    group = np.ravel_multi_index([at[c] for c in kept], inner) if kept else np.zeros_like(places)
    merged = dep.mapped(d, np.ravel(group), np.ravel(places), inner)
    (numbers,) = dep.positions_of([inner])
    order = [kept.index(c) for c in result if c in kept]
    numbers = numbers.transpose(order)
    numbers = numbers.reshape([sizes[c] if c in kept else 1 for c in result])
    return dep.select([(merged, merged.size)], np.broadcast_to(numbers, shape))


def _interp(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    if any(True for _ in leaves(args[1:])):
        return NotImplemented
    args[0].report.product(args[0].deps, args[0].deps, args[0].shape)
    return args[0].new(args[0].shape, args[0].deps)


def _indices(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    if not is_sets(args[0]):
        return NotImplemented
    found = function(np.zeros(args[0].shape), *args[1:], **kwargs)
    return like.new(np.shape(found), None, int)


def _search(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    return like.new(np.shape(args[0 if function.__name__ == "digitize" else 1]), None, int)


def _spectral(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    a = args[0]
    if len(args) > 1 or kwargs.get("n") is not None or function.__name__ not in ("fft", "ifft"):
        return NotImplemented
    with like.report.naming(function.__name__, here):
        return a.new(a.shape, dep.along(a.deps, (kwargs.get("axis", -1),)), complex)


def _sorted(like: Sets, function: Any, args: Any, kwargs: Any) -> Any:
    axis = args[1] if len(args) > 1 else kwargs.get("axis", -1)
    a: Any = np.ravel(args[0]) if axis is None else args[0]
    with like.report.naming(function.__name__, here):
        return a.new(a.shape, dep.along(a.deps, (-1 if axis is None else axis,)))


# Those that know what to do with index sets among their keywords.
KEYWORDS = ("clip", "full_like")

BY_NAME: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(MOVES, _move), **dict.fromkeys(SAME, _same),
    **dict.fromkeys(REDUCTIONS, _reduction), **dict.fromkeys(CUMULATIVE, _cumulative),
    **dict.fromkeys(INDICES, _indices), **dict.fromkeys(("searchsorted", "digitize"), _search),
    **dict.fromkeys(("zeros_like", "ones_like", "empty_like", "full_like"), _like_another),
    **dict.fromkeys(("shape", "ndim", "size", "iscomplexobj", "isrealobj"), _about),
    **dict.fromkeys(("fft", "ifft"), _spectral), **dict.fromkeys(("around", "round", "fix"), _zero),
    **dict.fromkeys(("all", "any"), _reduction), "pad": _pad, "norm": _norm, "where": _where,
    "clip": _union, "result_type": _type_of, "diff": _diff, "dot": _dot, "inner": _inner,
    "vdot": _vdot, "outer": _outer, "einsum": _einsum, "interp": _interp, "sort": _sorted,
}  # fmt: skip
