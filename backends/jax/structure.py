"""What the results of one operation of JAX depend on, and those that are constant."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Maybe

# Operations that act on each element alone, and those whose results depend on both operands.
SAME = dep.words(
    "neg copy copy_p convert_element_type real imag conj reduce_precision stop_gradient"
)
UNION = dep.words("add sub add_any complex mul div")
# The same of those that are not linear.
NONLINEAR = dep.words(
    "acos acosh asin asinh atan atan2 atanh cbrt cos cosh digamma erf erf_inv erfc exp exp2 expm1 "
    "lgamma log log1p logistic max min pow rsqrt sin sinh sqrt square tan tanh"
)
# Operations that move elements: JAX runs them on positions.
MOVES = dep.words(
    "reshape transpose squeeze expand_dims rev slice broadcast_in_dim concatenate pad split "
    "tile stack unstack"
)
# Constants are computed up to this size.
FOLD = 1 << 22


def folded(e: Any, values: list[Any], shapes: list[Any]) -> list[Any] | None:
    """Results that are constants, where they are small and may be computed now."""
    name = e.primitive.name
    if any(v is None for v in values) or "random" in name or "callback" in name or e.effects:
        return None
    if sum(map(prod, shapes)) > FOLD:
        return None
    plain = [np.asarray(v) for v in values if not isinstance(v, jax.Array)]
    if len(plain) == len(values) and (moved := by_numpy(e, plain)) is not None:
        return [a.astype(v.aval.dtype) for a, v in zip(moved, e.outvars, strict=True)]
    results = e.primitive.bind(*map(jnp.asarray, values), **e.params)
    # What follows may move elements, which NumPy does at once and JAX after compiling.
    found = list(results) if e.primitive.multiple_results else [results]
    return [np.asarray(r) if r.dtype.kind in "biufc" else r for r in found]


def structure(
    e: Any, deps: list[Maybe], values: list[Any], shapes: list[Any]
) -> list[Maybe] | None:
    """What the results of a known operation depend on; None where it is not known."""
    name, params, shape = e.primitive.name, e.params, shapes[0]
    if name == "optimization_barrier":
        return deps
    if name in SAME:
        return deps[:1]
    if name in UNION:
        return [_product(name, deps, values, shape)]
    if name in MOVES:
        return _moved(e, deps)
    if name in ("reduce_sum", "reduce_max", "reduce_min"):
        return [dep.reduce(deps[0], params["axes"])]
    if name == "cumsum":
        return [dep.cumulate(deps[0], params["axis"], params["reverse"])]
    if name == "fft" and deps[0] is not None and deps[0].shape == shape:
        return [dep.along(deps[0], range(-len(params["fft_lengths"]), 0))]
    if name == "select_n" and deps[0] is None:
        return [_selected(deps[1:], values[0], shape)]
    if name == "dot_general" and (deps[0] is None or deps[1] is None):
        left = deps[0] is not None
        d, other = (deps[0], 1) if left else (deps[1], 0)
        assert d is not None
        known = values[other] is not None
        factor = values[other] if known else e.invars[other].aval
        return [dep.contract(d, factor, known, params["dimension_numbers"], left)]
    if name in ("gather", "dynamic_slice") and all(d is None for d in deps[1:]):
        return _gathered(e, deps, values, shape)
    if name == "dynamic_update_slice" and all(d is None for d in deps[2:]):
        return _updated(e, deps, values)
    if name in ("scatter", "scatter-add", "scatter_add", "scatter-sub") and deps[1] is None:
        return _scattered(e, deps, values, shape)
    return None


def derivative(
    e: Any, deps: list[Maybe], values: list[Any], shapes: list[Any]
) -> list[Maybe] | None:
    """What the tangents of the results of a known operation depend on, which may be not linear."""
    name = e.primitive.name
    if name in NONLINEAR or (name == "integer_pow" and e.params["y"] != 0):
        return [dep.union(deps, shapes[0])]
    # The first has no derivative; of the second, which of two updates stays is settled by JAX.
    if name == "stop_gradient" or (name == "scatter" and not e.params["unique_indices"]):
        return None
    return structure(e, deps, values, shapes)


def _product(name: str, deps: list[Maybe], values: list[Any], shape: Any) -> Maybe:
    found = dep.union(deps, shape)
    # Of quotients the numerator.
    known = [values[i] for i in ((0, 1) if name == "mul" else (0,)) if deps[i] is None]
    if name in ("mul", "div") and len(known) == 1:
        (factor,) = known
        if factor is not None:
            return dep.drop(found, np.asarray(factor) == 0)
    return found


def _selected(deps: list[Maybe], which: Any, shape: Any) -> Maybe:
    if which is None:
        return dep.union(deps, shape)
    n = prod(shape)
    case = np.broadcast_to(np.asarray(which).astype(int), shape)
    return dep.select([(d, n) for d in deps], case * n + np.arange(n).reshape(shape))


def _sizes(e: Any, deps: list[Maybe]) -> list[tuple[Maybe, int]]:
    return [(d, prod(v.aval.shape)) for d, v in zip(deps, e.invars, strict=False)]


def _numbered(variables: Sequence[Any]) -> list[Any]:
    shapes = [tuple(v.aval.shape) for v in variables]
    return [jnp.asarray(p) for p in dep.positions_of(shapes)]


def _moved(e: Any, deps: list[Maybe]) -> list[Maybe]:
    positions = dep.positions_of([tuple(v.aval.shape) for v in e.invars])
    many = by_numpy(e, positions)
    if many is None:
        results = e.primitive.bind(*map(jnp.asarray, positions), **e.params)
        many = results if e.primitive.multiple_results else [results]
    return [dep.select(_sizes(e, deps), np.asarray(r)) for r in many]


def by_numpy(e: Any, arrays: Sequence[Any]) -> Sequence[Any] | None:
    """Results of an operation that moves elements; None where JAX has to say.

    JAX compiles each slice of a loop over elements by itself, for a tenth of a second.
    """
    name, params = e.primitive.name, e.params
    if name == "split":
        return np.split(arrays[0], np.cumsum(params["sizes"])[:-1], params["axis"])
    if name == "unstack":
        return [*np.moveaxis(arrays[0], params["axis"], 0)]
    backwards = name == "pad" and any(min(config) < 0 for config in params["padding_config"])
    # A reshape that names dimensions transposes before.
    if name not in _BY_NUMPY or backwards or (name == "reshape" and params["dimensions"]):
        return None
    return [_BY_NUMPY[name](params, tuple(e.outvars[0].aval.shape), *arrays)]


def _sliced(params: Any, shape: Any, a: Any) -> Any:
    steps = params["strides"] or (1,) * len(shape)
    limits = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
    return a[tuple(slice(*limit) for limit in limits)]


def _spread(params: Any, shape: Any, a: Any, *sizes: Any) -> Any:
    own = [1] * len(shape)
    for axis, size in zip(params["broadcast_dimensions"], a.shape, strict=True):
        own[axis] = size
    return np.broadcast_to(a.reshape(own), shape)


def _padded(params: Any, shape: Any, a: Any, around: Any) -> Any:
    found = np.full(shape, around, a.dtype)
    config = zip(params["padding_config"], a.shape, strict=True)
    # The elements, with `k` between each two of them.
    found[tuple(slice(lo, lo + max(0, n * (k + 1) - k), k + 1) for (lo, _, k), n in config)] = a
    return found


_BY_NUMPY: dict[str, Callable[..., Any]] = {
    "reshape": lambda _, shape, a: a.reshape(shape),
    "squeeze": lambda _, shape, a: a.reshape(shape),
    "expand_dims": lambda _, shape, a: a.reshape(shape),
    "transpose": lambda params, _, a: a.transpose(params["permutation"]),
    "rev": lambda params, _, a: np.flip(a, params["dimensions"]),
    "concatenate": lambda params, _, *arrays: np.concatenate(arrays, params["dimension"]),
    "stack": lambda params, _, *arrays: np.stack(arrays, params["axis"]),
    "tile": lambda params, _, a: np.tile(a, params["reps"]),
    "slice": _sliced, "broadcast_in_dim": _spread, "pad": _padded,
}  # fmt: skip


def _gathered(e: Any, deps: list[Maybe], values: list[Any], shape: Any) -> list[Maybe] | None:
    if any(v is None for v in values[1:]):
        if e.primitive.name == "gather":
            return None
        # An unknown start: anything along the axes that are cut.
        source = e.invars[0].aval.shape
        axes = [a for a, (m, n) in enumerate(zip(source, shape, strict=True)) if m != n]
        return [dep.broadcast(dep.reduce(deps[0], axes, keepdims=True), shape)]
    params = dict(e.params)
    if "fill_value" in params:
        params["fill_value"] = -1
    (numbers,) = _numbered(e.invars[:1])
    found = e.primitive.bind(numbers, *map(jnp.asarray, values[1:]), **params)
    return [dep.select(_sizes(e, deps[:1]), np.asarray(found))]


def _updated(e: Any, deps: list[Maybe], values: list[Any]) -> list[Maybe] | None:
    if any(v is None for v in values[2:]):
        return None
    found = e.primitive.bind(*_numbered(e.invars[:2]), *map(jnp.asarray, values[2:]), **e.params)
    return [dep.select(_sizes(e, deps[:2]), np.asarray(found))]


def _scattered(e: Any, deps: list[Maybe], values: list[Any], shape: Any) -> list[Maybe] | None:
    if values[1] is None:
        return None
    params = e.params
    update = jax.ShapeDtypeStruct(e.invars[2].aval.shape, jnp.float64)

    def add(u: Any) -> Any:
        return jax.lax.scatter_add(
            jnp.zeros(shape), jnp.asarray(values[1]), u, params["dimension_numbers"],
            indices_are_sorted=params["indices_are_sorted"],
            unique_indices=params["unique_indices"], mode=params["mode"],
        )  # fmt: skip

    # Where each update goes is where the transposed operation takes it from; 0 where it is lost.
    # Numbers of 32 bits would tell no more than 2^24 elements apart.
    with jax.enable_x64(True):
        numbers = jnp.arange(1.0, prod(shape) + 1).reshape(shape)
        (places,) = jax.linear_transpose(add, update)(numbers)
    targets = np.asarray(places).astype(np.int64) - 1
    overwrite = e.primitive.name == "scatter"
    return [dep.scatter(deps[0], deps[2], targets, shape, overwrite)]
