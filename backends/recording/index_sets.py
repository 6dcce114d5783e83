"""An array without values that knows which inputs each of its elements depends on.

NumPy functions that are given one return one: they are dispatched through NumPy's own protocols.
Functions that only move elements about run on arrays of positions, others are known by name, and
what is not known makes everything depend on everything. A look at values is refused.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NoReturn

import numpy as np

from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Maybe, Report
from diffface.backends.recording.user_frame import line_of_call

# Ufuncs whose derivative is zero wherever there is one.
FLAT = dep.words(
    "floor ceil rint trunc sign greater less greater_equal less_equal equal not_equal isnan "
    "isfinite isinf logical_and logical_or logical_not logical_xor signbit floor_divide "
    "bitwise_and bitwise_or bitwise_xor invert left_shift right_shift isnat spacing"
)
# Those of them that return booleans.
TESTS = FLAT - dep.words("floor ceil rint trunc sign floor_divide spacing")
MOVES = dep.words(
    "reshape ravel transpose swapaxes moveaxis rollaxis roll squeeze expand_dims broadcast_to "
    "diag diagonal triu tril tile repeat flip flipud fliplr rot90 atleast_1d atleast_2d "
    "atleast_3d copy concatenate stack vstack hstack dstack column_stack split array_split "
    "hsplit vsplit dsplit take permute_dims matrix_transpose diagflat append resize pad "
    "concat unstack delete asarray ascontiguousarray asanyarray take_along_axis "
    "broadcast_arrays"
)
# Ufuncs that are linear, at least piecewise: they add nothing to second derivatives.
LINEAR = dep.words(
    "add subtract multiply negative positive absolute fabs conjugate maximum minimum fmax "
    "fmin remainder fmod copysign deg2rad rad2deg degrees radians ldexp"
)
SAME = dep.words("real imag angle conj conjugate nan_to_num sinc i0 real_if_close")
REDUCTIONS = dep.words(
    "sum mean max amax min amin prod var std nansum nanmean nanmax nanmin nanprod nanvar nanstd ptp"
)
SUMS = dep.words("add sum mean max amax min amin nansum nanmean nanmax nanmin ptp maximum minimum")
CUMULATIVE = dep.words("cumsum cumprod nancumsum nancumprod cumulative_sum cumulative_prod")
INDICES = dep.words("argsort argmax argmin argpartition")


def here() -> str:
    """The line of the user's that is running."""
    line = line_of_call()
    return f", at {line}" if line else ""


class ValuesNeededError(Exception):
    """A function looked at values, or wrote where no index set can be kept."""


def refuse(what: str) -> Callable[..., NoReturn]:
    """A method that looks at values."""

    def method(*_: Any, **__: Any) -> NoReturn:
        raise ValuesNeededError(what)

    return method


class IndexSets(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of sets of inputs.

    Parameters
    ----------
    shape : tuple of int
    deps : Dependence or None
        What its elements depend on; None for nothing.
    report : Report
        Where operations that are not known are noted.
    dtype : numpy.dtype
        Of the array that it stands for.
    """

    __array_priority__ = 1e6
    # What an adapter that lifts results knows it by.
    is_index_sets = True

    def __init__(self, shape: Any, deps: Maybe, report: Report, dtype: Any = float) -> None:
        self.shape = tuple(shape)
        self.deps = deps
        self.report = report
        self.dtype = np.dtype(dtype)

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: prod(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.dtype.itemsize)
    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))  # noqa: N815 - NumPy's name
    real = property(lambda self: np.real(self))
    imag = property(lambda self: np.imag(self))
    flat = property(lambda self: np.ravel(self))

    __bool__ = refuse("a branch depends on a value")
    __float__ = __complex__ = item = refuse("a value was turned into a Python number")
    __int__ = __index__ = refuse("a value was turned into a Python integer")
    __array__ = refuse("values were written into an array of NumPy, or read by other code")
    tolist = tobytes = refuse("values were turned into Python objects")
    nonzero = refuse("a shape depends on values")
    __hash__ = None  # type: ignore[assignment]  # as that of an array

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        raise ValuesNeededError("an array was turned into text")

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        raise ValuesNeededError("an array was turned into text")

    def new(self, shape: Any, deps: Maybe, dtype: Any = None) -> "IndexSets":
        return IndexSets(shape, deps, self.report, self.dtype if dtype is None else dtype)

    def __getitem__(self, index: Any) -> "IndexSets":
        if hidden(index):
            return _index_by_values(self, index)
        positions = np.arange(self.size).reshape(self.shape)[index]
        return self.new(np.shape(positions), dep.select([(self.deps, self.size)], positions))

    def __setitem__(self, index: Any, value: Any) -> None:
        if hidden(index):
            raise ValuesNeededError("the place that is written to depends on values")
        target = np.arange(self.size).reshape(self.shape)[index]
        deps = value.deps if isinstance(value, IndexSets) else None
        deps = _trimmed(deps, np.shape(target))
        deps = dep.broadcast(deps, np.shape(target))
        self.deps = dep.scatter(self.deps, deps, target, self.shape, overwrite=True)

    def __getattr__(self, name: str) -> Any:
        function = None if name.startswith("_") else getattr(np, name, None)
        if function is None or not hasattr(np.ndarray, name):
            raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    def astype(self, dtype: Any, *_: Any, **__: Any) -> "IndexSets":
        dtype = np.dtype(dtype)
        return self.new(self.shape, self.deps if dtype.kind in "fc" else None, dtype)

    def copy(self, *_: Any) -> "IndexSets":
        return self.new(self.shape, self.deps)

    def flatten(self, *_: Any) -> "IndexSets":
        return np.ravel(self)  # type: ignore[return-value]  # dispatched

    def fill(self, value: Any) -> None:
        self[...] = value

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **kwargs)

    def transpose(self, *axes: Any) -> Any:
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any
    ) -> Any:
        if out is not None:
            result = self.__array_ufunc__(ufunc, method, *inputs, **kwargs)
            if not isinstance(out[0], IndexSets):
                raise ValuesNeededError("values were written into an array of NumPy (`out=`)")
            out[0].deps = dep.broadcast(result.deps, out[0].shape)
            return out[0]
        if kwargs.pop("where", True) is not True:
            raise ValuesNeededError("a ufunc was called with `where=`")
        if method == "reduce":
            axis = kwargs.get("axis", 0)
            return _reduced(inputs[0], axis, bool(kwargs.get("keepdims")), ufunc.__name__)
        if method == "accumulate":
            a = inputs[0]
            return _cumulated(a, kwargs.get("axis", 0), ufunc.__name__)
        if method == "outer":
            a, b = inputs
            return ufunc(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)
        if method == "at":
            raise ValuesNeededError("a ufunc wrote into an array (`.at`)")
        if method != "__call__":
            return _everything(self, ufunc, inputs, kwargs, getattr(ufunc, method))
        if ufunc is np.matmul:
            return _matmul(self, *inputs)
        if ufunc.signature is not None:
            return _everything(self, ufunc, inputs, kwargs, ufunc)
        return _elementwise(self, ufunc, inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.get("out") is not None:
            raise ValuesNeededError("values were written into an array of NumPy (`out=`)")
        name = function.__name__
        handler = _BY_NAME.get(name)
        if handler is not None:
            found = handler(self, function, args, kwargs)
            if found is not NotImplemented:
                return found
        return _everything(self, function, args, kwargs, function)


def hidden(index: Any) -> bool:
    """Whether an index depends on values."""
    parts = index if isinstance(index, tuple | list) else (index,)
    return any(isinstance(p, IndexSets) for p in parts)


def leaves(value: Any) -> Iterator[IndexSets]:
    """The index sets in nested tuples, lists and dicts."""
    if isinstance(value, IndexSets):
        yield value
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)


def _trimmed(deps: Maybe, shape: Any) -> Maybe:
    """Without leading axes of length 1, which assignment ignores."""
    if deps is None or len(deps.shape) <= len(shape):
        return deps
    return deps._replace(shape=deps.shape[len(deps.shape) - len(shape) :])


def _index_by_values(a: IndexSets, index: Any) -> IndexSets:
    parts = index if isinstance(index, tuple) else (index,)
    plain = []
    for p in parts:
        if isinstance(p, IndexSets):
            if p.dtype.kind not in "iu":
                raise ValuesNeededError("a shape depends on values")
            p = np.zeros(p.shape, int)
        plain.append(p)
    shape = np.empty(a.shape)[tuple(plain)].shape
    return a.new(shape, a.report.everything("indexing by values", here, [a.deps], shape))


def _elementwise(like: IndexSets, ufunc: Any, inputs: Any) -> Any:
    shape = np.broadcast_shapes(*map(np.shape, inputs))
    name = ufunc.__name__
    if name in FLAT:
        return like.new(shape, None, bool if name in TESTS else _result_type(inputs))
    deps = [a.deps if isinstance(a, IndexSets) else None for a in inputs]
    found = dep.union(deps, shape)
    if name in ("multiply", "divide"):
        like.report.product(deps[0], deps[1], shape)
    if name == "divide":
        like.report.product(deps[1], deps[1], shape)
    elif name not in LINEAR:
        like.report.product(found, found, shape)
    if name == "multiply" and (deps[0] is None) != (deps[1] is None):
        factor = inputs[0 if deps[0] is None else 1]
        if not isinstance(factor, IndexSets):
            found = dep.drop(found, np.asarray(factor) == 0)
    dtype = _result_type(inputs)
    if dtype.kind not in "fc" and name not in ("add", "subtract", "multiply", "maximum", "minimum"):
        dtype = np.dtype(float)
    if name == "absolute" and dtype.kind == "c":
        dtype = np.empty(0, dtype).real.dtype
    result = like.new(shape, found, dtype)
    return (result,) * ufunc.nout if ufunc.nout > 1 else result


def _result_type(inputs: Any) -> Any:
    kinds = [a.dtype if isinstance(a, IndexSets) else a for a in inputs]
    return np.result_type(*kinds)


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(axis) if isinstance(axis, tuple | list) else (int(axis),)


def _reduced(a: IndexSets, axis: Any, keepdims: bool, name: str) -> IndexSets:
    axes = _axes(axis, a.ndim)
    shape = np.empty(a.shape, bool).any(axis=axes, keepdims=keepdims).shape
    if name in TESTS or name in ("all", "any"):
        return a.new(shape, None, bool)
    deps = dep.reduce(a.deps, axes, keepdims)
    if name not in SUMS:
        a.report.product(deps, deps, shape)
    return a.new(shape, deps)


def _matmul(like: IndexSets, a: Any, b: Any) -> Any:
    ndims = np.ndim(a), np.ndim(b)
    shape = (np.empty(np.shape(a)) @ np.empty(np.shape(b))).shape
    dtype = _result_type((a, b))
    if max(ndims) > 2:
        deps = [x.deps for x in (a, b) if isinstance(x, IndexSets)]
        with like.report.naming("matmul", here):
            found = like.report.everything("matmul", here, deps, shape)
        like.report.product(found, found, shape)
        return like.new(shape, found, dtype)
    if ndims == (1, 1) and isinstance(a, IndexSets) and isinstance(b, IndexSets):
        return np.sum(a * b)
    dims = (((ndims[0] - 1,), (0,)), ((), ()))
    products: list[Any] = []
    for x, other, left in ((a, b, True), (b, a, False)):
        if isinstance(x, IndexSets) and x.deps is not None:
            known = not isinstance(other, IndexSets)
            with like.report.naming("matmul", here):
                product = dep.contract(x.deps, np.asarray(other) if known else other, known,
                                       dims, left)  # fmt: skip
            products.append(product._replace(shape=shape))
    if len(products) == 2:
        like.report.product(products[0], products[1], shape)
    return like.new(shape, dep.union(products, shape), dtype)


def _everything(like: IndexSets, named: Any, args: Any, kwargs: Any, function: Any) -> Any:
    """Any other function: its shape is found by values that are made up."""
    random = np.random.default_rng(0)

    def made_up(value: Any) -> Any:
        if isinstance(value, IndexSets):
            if value.dtype.kind in "iub":
                return np.zeros(value.shape, value.dtype)
            found = random.uniform(1, 2, value.shape)
            square = value.ndim > 1 and value.shape[-1] == value.shape[-2]
            # Definite, so that factorisations exist.
            found = found @ found.mT + np.eye(value.shape[-1]) if square else found
            return found.astype(value.dtype)
        if isinstance(value, tuple | list):
            return type(value)(map(made_up, value))
        return value

    try:
        result = function(*map(made_up, args), **{k: made_up(v) for k, v in kwargs.items()})
    except Exception as error:
        name = named.__name__
        raise ValuesNeededError(f"the shape of what `{name}` returns is not known") from error
    deps = [a.deps for a in leaves([*args, kwargs])]

    def sets(value: Any) -> Any:
        if isinstance(value, tuple | list):
            parts = [sets(v) for v in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        shape, dtype = np.shape(value), np.result_type(value)
        if dtype.kind not in "fc":
            return like.new(shape, None, dtype)
        found = like.report.everything(named.__name__, here, deps, shape)
        like.report.product(found, found, shape)
        return like.new(shape, found, dtype)

    return sets(result)


# Functions that are known by name: `handler(like, function, args, kwargs)`.


def _move(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    parts: list[tuple[Maybe, int]] = []
    start = 0

    def numbered(value: Any) -> Any:
        nonlocal start
        if isinstance(value, IndexSets):
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
    dtype = _result_type(tuple(leaves(args)))

    def sets(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(map(sets, value))
        return like.new(np.shape(value), dep.select(parts, np.asarray(value, int) - 1), dtype)

    return sets(result)


def _pad(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    mode = kwargs.get("mode", args[2] if len(args) > 2 else "constant")
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap", "empty"):
        return NotImplemented
    return _move(like, function, args, kwargs)


def _same(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    a = args[0]
    if not isinstance(a, IndexSets):
        return NotImplemented
    dtype = a.dtype
    if function.__name__ not in ("real", "imag", "conj", "conjugate", "real_if_close"):
        a.report.product(a.deps, a.deps, a.shape)
    if function.__name__ in ("real", "imag", "angle"):
        dtype = np.empty(0, dtype).real.dtype
        if function.__name__ == "imag" and a.dtype.kind != "c":
            return a.new(a.shape, None, dtype)
    return a.new(a.shape, a.deps, dtype)


def _zero(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    return like.new(np.shape(args[0]), None)


def _reduction(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    if not isinstance(args[0], IndexSets) or kwargs.get("where") is not None or len(args) > 2:
        return NotImplemented
    axis = args[1] if len(args) > 1 else kwargs.get("axis")
    keepdims = bool(kwargs.get("keepdims") or 0)
    return _reduced(args[0], axis, keepdims, function.__name__)


def _norm(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    if len(args) > 2:
        return NotImplemented
    axis = kwargs.get("axis")
    return _reduced(args[0], axis, bool(kwargs.get("keepdims")), "norm")


def _cumulative(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    if kwargs.get("include_initial"):
        return NotImplemented
    axis = args[1] if len(args) > 1 else kwargs.get("axis")
    a: Any = np.ravel(args[0]) if axis is None else args[0]
    with like.report.naming(function.__name__, here):
        return _cumulated(a, 0 if axis is None else axis, function.__name__)


def _cumulated(a: IndexSets, axis: int, name: str) -> IndexSets:
    deps = dep.cumulate(a.deps, axis)
    if name not in ("add", "cumsum", "nancumsum", "cumulative_sum"):
        a.report.product(deps, deps, a.shape)
    return a.new(a.shape, deps)


def _where(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    if len(args) != 3:
        raise ValuesNeededError("a shape depends on values")
    condition, *branches = args
    shape = np.broadcast_shapes(*map(np.shape, args))
    deps = [dep.broadcast(b.deps, shape) if isinstance(b, IndexSets) else None for b in branches]
    dtype = _result_type(branches)
    if isinstance(condition, IndexSets):
        return like.new(shape, dep.union(deps, shape), dtype)
    n = prod(shape)
    first = np.arange(n).reshape(shape)
    chosen = np.where(np.broadcast_to(condition, shape), first, first + n)
    return like.new(shape, dep.select([(d, n) for d in deps], chosen), dtype)


def _union(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    given = [*args, *kwargs.values()]
    shape = np.broadcast_shapes(*(np.shape(a) for a in given if a is not None))
    return like.new(shape, dep.union([a.deps for a in leaves(given)], shape))


def _like_another(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    shape = kwargs.get("shape")
    shape = np.shape(args[0]) if shape is None else np.empty(shape).shape
    fill = args[1] if function.__name__ == "full_like" and len(args) > 1 else None
    deps = dep.broadcast(fill.deps, shape) if isinstance(fill, IndexSets) else None
    source = args[0].dtype if hasattr(args[0], "dtype") else np.result_type(args[0])
    return like.new(shape, deps, kwargs.get("dtype") or source)


def _about(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    if not isinstance(args[0], IndexSets):
        return NotImplemented
    return function(np.broadcast_to(np.zeros((), args[0].dtype), args[0].shape), *args[1:])


def _type_of(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    return _result_type(args)


def _diff(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    n, axis = (*args[1:], *(kwargs.get("n", 1), -1)[len(args) - 1 :])[:2]
    axis = kwargs.get("axis", axis)
    if set(kwargs) - {"n", "axis"} or not isinstance(args[0], IndexSets):
        return NotImplemented
    move: Any = np.moveaxis
    a = move(args[0], axis, -1)
    for _ in range(n):
        a = a[..., 1:] - a[..., :-1]
    return move(a, -1, axis)


def _dot(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    a, b = args[:2]
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    if max(np.ndim(a), np.ndim(b)) > 2 and np.ndim(b) > 1:
        return NotImplemented
    return _matmul(like, a, b)


def _inner(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    a, b = args
    return _dot(like, function, (a, np.transpose(b)), {}) if np.ndim(b) < 3 else NotImplemented


def _vdot(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    return _matmul(like, *map(np.ravel, args))


def _outer(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    return np.multiply(np.reshape(args[0], (-1, 1)), np.reshape(args[1], (1, -1)))


def _einsum(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
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
        if isinstance(a, IndexSets) and a.deps is not None:
            with like.report.naming("einsum", here):
                found.append(_einsum_term(a.deps, term, result, sizes, shape))
    for i, one in enumerate(found):
        for other in found[:i]:
            like.report.product(one, other, shape)
    return like.new(shape, dep.union(found, shape), _result_type(operands))


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


def _interp(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    if any(True for _ in leaves(args[1:])):
        return NotImplemented
    args[0].report.product(args[0].deps, args[0].deps, args[0].shape)
    return args[0].new(args[0].shape, args[0].deps)


def _indices(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    if not isinstance(args[0], IndexSets):
        return NotImplemented
    found = function(np.zeros(args[0].shape), *args[1:], **kwargs)
    return like.new(np.shape(found), None, int)


def _search(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    return like.new(np.shape(args[0 if function.__name__ == "digitize" else 1]), None, int)


def _spectral(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    a = args[0]
    if len(args) > 1 or kwargs.get("n") is not None or function.__name__ not in ("fft", "ifft"):
        return NotImplemented
    with like.report.naming(function.__name__, here):
        return a.new(a.shape, dep.along(a.deps, (kwargs.get("axis", -1),)), complex)


def _sorted(like: IndexSets, function: Any, args: Any, kwargs: Any) -> Any:
    axis = args[1] if len(args) > 1 else kwargs.get("axis", -1)
    a: Any = np.ravel(args[0]) if axis is None else args[0]
    with like.report.naming(function.__name__, here):
        return a.new(a.shape, dep.along(a.deps, (-1 if axis is None else axis,)))


_BY_NAME: dict[str, Callable[..., Any]] = {
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
