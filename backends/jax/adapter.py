"""JAX."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.core import is_concrete, trace_state_clean  # there is no public way to ask

from diffface.backends.adapter import Adapter, Function, Pull, Where
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.errors import MissingRuleError
from diffface.backends.generic import Some, side_by_side, typed
from diffface.backends.jax.arrays import JAX_ARRAYS, take
from diffface.backends.jax.compile import coarsest_unit, compile_xla
from diffface.backends.jax.elements import merged
from diffface.backends.jax.entries import entries
from diffface.backends.jax.primitive import call_rule
from diffface.backends.jax.synchronous import synchronous
from diffface.backends.jax.writing import updated
from diffface.backends.mutable import Mutable
from diffface.backends.recording.agreement import check_agreement
from diffface.backends.recording.reachable import Belongings, undisturbed
from diffface.backends.recording.user_frame import users_stacklevel
from diffface.backends.rule import Rule

# So many writes of single elements are worth a second look at what is computed for them.
_MANY = 16
# Fewer entries are gathered as fast from a loop over directions, and four times as many from a
# batch: the choice between two programs takes 2 to 3 microseconds.
_FEW = 1 << 11


@final
@dataclass(frozen=True)
class JAX(Adapter):
    """JAX; prepared calls are compiled by XLA.

    float64 arguments are computed in float64 whatever ``jax_enable_x64`` says, by scoping the flag
    to the call. Gradients of complex arguments are conjugated to the convention of diffface (and
    of PyTorch): the direction of steepest ascent.
    """

    arrays = JAX_ARRAYS
    library = "jax"
    batching = "vectorized"
    loops = True

    @property
    def xp(self) -> Any:
        return jnp

    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        with _missing_rules():
            return jax.jvp(f, (x,), (dx,), has_aux=True)

    def pushforwards(
        self, f: Function, x: Arrays, seeds: Arrays, *, chunk_size: int | None = None,
        value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        def push(seed: Arrays) -> tuple[tuple[Arrays, Arrays], Arrays]:
            y, dy, aux = jax.jvp(f, (x,), (seed,), has_aux=True)
            return (y, aux), dy

        with _missing_rules():
            if chunk_size is None:
                (y, aux), dy = jax.vmap(push, out_axes=(None, 0))(seeds)
                return y, dy, aux
            y, aux = f(x) if value else ((), ())
            return y, self.batch(lambda seed: push(seed)[1], seeds, chunk_size), aux

    def pullback(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Pull, Arrays]:
        with _missing_rules():
            y, vjp, aux = jax.vjp(f, x, has_aux=True)

        def pull(dy: Arrays) -> Arrays:
            with _missing_rules():
                return _conj(vjp(_conj(dy))[0])

        return y, pull, aux

    def batch(self, call: Pull, seeds: Arrays, chunk_size: int | None = None) -> Arrays:
        if chunk_size is None or any(0 in seed.shape for seed in seeds):
            return jax.vmap(call)(seeds)
        empty: dict[int, Any] = {}

        def filled(seed: Arrays) -> Arrays:
            found = call(seed)
            empty.update((k, (a.shape, a.dtype)) for k, a in enumerate(found) if not a.size)
            return tuple(a for a in found if a.size)

        # JAX cannot put chunks without elements together.
        results = list(jax.lax.map(filled, seeds, batch_size=chunk_size))
        for k in sorted(empty):
            shape, dtype = empty[k]
            results.insert(k, jnp.zeros((seeds[0].shape[0], *shape), dtype))
        return tuple(results)

    def repeated(self, call: Some) -> Some:
        # What the call holds, such as data, is an argument of what is compiled: no second copy.
        jitted = jax.jit(jax.core.eval_jaxpr, static_argnums=0)

        @cache
        def record(count: int) -> tuple[Any, Any]:
            return jax.make_jaxpr(lambda start: call(start, count), return_shape=True)(0)

        def repeated(start: int, count: int) -> tuple[Arrays, Arrays]:
            closed, shapes = record(count)
            leaves = jitted(closed.jaxpr, closed.consts, start)
            found: tuple[Arrays, Arrays] = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
            return found

        return repeated

    def compressed(
        self, f: Function, x: Arrays, seeds: Arrays, *, value: bool = True, derived: bool = False
    ) -> tuple[Arrays, Arrays, Arrays | None, Arrays]:
        seeds, chunk_size = typed(seeds, x, jnp), _at_a_time(seeds, derived)
        y, dy, aux = self.pushforwards(f, x, seeds, chunk_size=chunk_size, value=value)
        return y, dy, None, aux

    def entries(
        self, f: Function, x: Arrays, seeds: Arrays, index: Array, where: Where, *,
        value: bool = True, derived: bool = False,
    ) -> tuple[Arrays, Array, Arrays | None, Arrays]:  # fmt: skip
        devices = {d for seed in seeds for d in seed.devices()}
        alone = len(devices) == 1 and devices.pop().platform == "cpu"
        least = _FEW if derived else 4 * _FEW
        few = not alone or index.size < least or is_concrete(x[0])

        def push(x: Arrays, dx: Arrays) -> tuple[tuple[Arrays, Arrays], Arrays]:
            y, dy, aux = jax.jvp(f, (x,), (dx,), has_aux=True)
            return (y, aux), dy

        def batch(along: Pull) -> Array:
            dy = self.batch(along, typed(seeds, x, jnp), _at_a_time(seeds, derived))
            return take(side_by_side(dy, jnp), index)

        with _missing_rules():
            found = None if few else entries(push, x, where, seeds[0].shape[0], batch)
        if found is None:
            return super().entries(f, x, seeds, index, where, value=value, derived=derived)
        (y, aux), data = found
        return y, data, None, aux

    def gather(self, flat: Array, index: Array) -> Array:
        return take(flat, index)

    def eye(self, rows: int, columns: int, offset: int, like: Array) -> Array:
        return _eye(rows, columns, -offset, like.dtype)

    def build(self, program: Program, examples: Arrays) -> Compiled:
        # A Python number needs no 64 bits: JAX types those weakly.
        wide = any(_is_wide(a.dtype) for a in examples if hasattr(a, "dtype"))
        with _nothing_left(program):
            return compile_xla(program, examples, wide)

    def awaited(self, program: Program) -> Program:
        return synchronous(program)

    def check_record(self, f: Program, examples: Arrays) -> None:
        # The plain call of a derivative takes seconds: XLA compiles each operation in it by itself.
        with _nothing_left(f):
            recorded = jax.jit(f)
            unit = lambda: coarsest_unit(recorded.trace(*examples).jaxpr)
            check_agreement(recorded, f, examples, JAX_ARRAYS, unit=unit)

    def dependence(self, program: Program, examples: Arrays, primals: int, order: int) -> Any:
        from diffface.backends.jax.dependence import dependence
        from diffface.backends.recording.linear import read_derivative

        return read_derivative(
            self, dependence, program, examples, primals, order, differentiates=True
        )

    def lift(self, value: object, like: Array) -> Array:
        if isinstance(value, jax.Array):
            return value
        if isinstance(value, bool | int | float | complex):
            return jnp.asarray(value, jnp.result_type(like, type(value)))
        if isinstance(value, np.ndarray | np.generic):
            # A copy, which JAX may read when the function has long overwritten its own.
            return jnp.asarray(np.array(value))
        raise TypeError

    def scope(self, dtypes: Sequence[np.dtype[Any]]) -> AbstractContextManager[object]:
        if not any(map(_is_wide, dtypes)):
            return nullcontext()
        if not jax.enable_x64.value and any(map(_may_be_key, dtypes)):
            warn_of_draws()
        wide: AbstractContextManager[object] = jax.enable_x64(True)
        return wide

    def undisturbed(self, f: object) -> AbstractContextManager[object]:
        return _unchanged(f)

    def scratch(self, shape: tuple[int, ...], x: Arrays) -> Any:
        return Mutable(super().scratch(shape, x), updated, jnp)

    def written(self, f: Callable[[], Array], memory: Sequence[Any]) -> Array:
        y = f()
        return merged(f, y) if sum(a.writes for a in memory) > _MANY else y

    def primitive(self, rule: Rule, x: Arrays) -> Arrays:
        return call_rule(rule, x)

    def is_nested(self) -> bool:
        return not trace_state_clean()

    def explain(self, error: Exception) -> str | None:
        if isinstance(error, jax.errors.TracerArrayConversionError) or (
            "setting an array element with a sequence" in str(error)
        ):
            return "a NumPy function was called on a JAX tracer"
        if isinstance(error, jax.errors.ConcretizationTypeError):
            return "a number was taken out of a JAX tracer"
        text = str(error)
        if "Tracer" in text and ("must be Tensor" in text or "__dlpack" in text):
            return "a function of torch was called on a JAX tracer"
        return None


@partial(jax.jit, static_argnums=(0, 1, 3), inline=True)
def _eye(rows: int, columns: int, offset: int, dtype: Any) -> Array:
    """Part of an identity, compiled once for all offsets."""
    along = (jax.lax.iota(jnp.int32, n) for n in (rows, columns))
    down, across = jnp.meshgrid(*along, indexing="ij", sparse=True)
    return (down + jnp.int32(offset) == across).astype(dtype)


@contextmanager
def _unchanged(f: object) -> Iterator[None]:
    """Put back what ``f`` changes, and the flag that JAX's own scopes leave at an interrupt."""
    flag = jax.enable_x64.get_local()
    try:
        with undisturbed(f):
            yield
    finally:
        if jax.enable_x64.get_local() is not flag:
            jax.enable_x64.set_local(flag)


@contextmanager
def _missing_rules() -> Iterator[None]:
    """Say which mode a function has no rule for, where JAX does."""
    try:
        yield
    except (TypeError, ValueError, NotImplementedError) as error:
        text = str(error)
        if "to a custom_vjp function" in text or "'custom_lin' not implemented" in text:
            what, mode, other = "a jax.custom_vjp", "forward", "reverse"
        elif text.startswith("Reverse-mode differentiation does not work"):
            what, mode, other = "a while_loop of jax.lax", "reverse", "forward"
        else:
            raise
        raise MissingRuleError(
            f"`f` calls {what}, which has no {mode} mode; use mode={other!r} or mode='auto'."
        ) from error


def _is_wide(dtype: np.dtype[Any]) -> bool:
    # JAX has dtypes of its own, of keys for random numbers.
    return isinstance(dtype, np.dtype) and dtype.itemsize == (16 if dtype.kind == "c" else 8)


@contextmanager
def _nothing_left(program: Program) -> Iterator[None]:
    """Keeps tracers, which nobody can use afterwards, out of a cache that a function fills."""
    belongings = Belongings(program)
    try:
        yield
    finally:
        belongings.clear_out(lambda x: isinstance(x, jax.core.Tracer))


def _may_be_key(dtype: np.dtype[Any]) -> bool:
    # Keys are described by the name of their dtype; those of the old kind are plain arrays.
    return dtype == np.uint32 or (dtype.names or ("",))[0].startswith("key")


@cache
def warn_of_draws() -> None:
    """Say once that draws under 64 bits are other ones."""
    warnings.warn(
        "a random key (or an array of its dtype) is among the arguments, and others are float64: "
        "`f` runs with jax_enable_x64, under which jax.random draws float64 numbers by default, "
        "other ones than without. Give dtype=jnp.float32 to jax.random, or set jax_enable_x64 "
        "yourself, to have the same draws in your own calls of `f`.",
        UserWarning,
        stacklevel=users_stacklevel(),
    )


def _at_a_time(seeds: Arrays, derived: bool) -> int | None:
    """How many directions of a batch are derived along at a time, if not all."""
    # On a CPU, XLA would compute what a batch shares anew for each of its directions, and all of
    # it once more for each entry that is gathered.
    return 1 if derived and all(d.platform == "cpu" for s in seeds for d in s.devices()) else None


def _conj(arrays: Arrays) -> Arrays:
    return tuple(jnp.conj(a) if jnp.iscomplexobj(a) else a for a in arrays)
