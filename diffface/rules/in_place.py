"""Functions that write their result into an argument, as functions that return it."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffface.backends.errors import InvalidArgumentError, NotDifferentiableError
from diffface.backends.mutable import Mutable
from diffface.backends.registry import belongs_to_a_backend, evaluating, owner_of
from diffface.prep.arguments.const import Const
from diffface.prep.arguments.tree import flatten, leaves_of, unflatten
from diffface.rules.arguments import is_array
from diffface.rules.operation import copied

# An argument's number, a shape, or a function of the arguments that returns a shape or an array.
Like = int | tuple[int, ...] | Callable[..., Any]


class Buffer:
    """What a function of `in_place` gets new memory for; no dataclass, which would be a tree."""

    __slots__ = ("shape",)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Buffer) and self.shape == other.shape

    def __hash__(self) -> int:
        return hash(self.shape)


class Cache(Const[Buffer]):
    """An argument of a function made by `in_place` that the function may scribble into.

    It gets new memory of that shape at every call, full of zeros, of the precision of the other
    arguments, and on each backend an array that derivatives pass through.

    Parameters
    ----------
    like : array or tuple of int
        An array of that shape, or the shape.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> def f(out, x, work):
    ...     work[:] = x * x
    ...     out[:] = work[::-1]
    >>> g = dif.in_place(f)
    >>> dif.jacobian(g, np.array([1.0, 2.0]), dif.Cache((2,)), backend="jax")
    array([[0., 4.],
           [2., 0.]])
    """

    def __init__(self, like: Any) -> None:
        Const.__init__(self, Buffer(like if isinstance(like, tuple) else tuple(np.shape(like))))

    def __repr__(self) -> str:
        return f"Cache({self.value.shape})"


def in_place(f: Callable[..., Any], /, like: Like = 0) -> Callable[..., Any]:
    """Make ``y = g(*args)`` of ``f(out, *args)``, which writes its result into ``out``.

    With NumPy and torch, ``out`` is real memory. With JAX and autograd it is an array that records
    what is written: ``out[i] = v``, ``out[i] += v``, ``out[...] *= v``, also by slices of slices.

    Parameters
    ----------
    f : callable
        Writes into its first argument, which is full of zeros, and returns nothing.
    like : int, tuple of int, or callable
        The shape of ``out``: that of the argument with this number, a shape, or a function of the
        arguments that returns a shape or an array. Its dtype is that of all arguments together.

    Returns
    -------
    callable
        The function ``g``, for every operator and backend.

    Raises
    ------
    NotDifferentiableError
        At a call, if ``f`` returns something else, writes into another argument (that would be a
        `Cache`), or writes twice into one element by one index.
    IndexError, ValueError
        At a call, where NumPy raises them.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> def heat(dx, x, p):
    ...     dx[0] = dx[-1] = 0.0
    ...     dx[1:-1] = p * (x[:-2] - 2 * x[1:-1] + x[2:])
    >>> g = dif.in_place(heat)
    >>> dif.jacobian(g, dif.Const(np.array([0.0, 1.0, 0.0])), 2.0, backend="autograd")
    array([ 0., -2.,  0.])
    """

    @functools.wraps(f)
    def g(*args: Any, **kwargs: Any) -> Any:
        return _called(f, like, args, kwargs)

    with contextlib.suppress(TypeError, ValueError):  # as of C functions that tell no parameters
        parameters = list(inspect.signature(f).parameters.values())
        if parameters and parameters[0].kind is not parameters[0].VAR_POSITIONAL:
            del parameters[0]
        g.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect
    return g


def _called(
    f: Callable[..., Any], like: Like, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What ``f`` writes into new memory."""
    if not kwargs and _SINGLE.issuperset(map(type, args)):
        return _on_numpy(f, _shape(like, args), args)
    leaves = [leaf for a in (*args, *kwargs.values()) for leaf in leaves_of(a)]
    adapter = owner_of(leaves)
    shape = _shape(like, args)
    arrays = [a for a in leaves if is_array(a)]
    if adapter is None or adapter is evaluating.get():
        make = functools.partial(np.zeros, dtype=_common(arrays, leaves))
        return _written(f, make(shape), _guarded(args, make), kwargs)
    own = next(a for a in arrays if belongs_to_a_backend(a))
    lifted = tuple(adapter.lift(a, own) for a in arrays)
    made: list[Any] = []

    def memory(shape: tuple[int, ...]) -> Any:
        made.append(adapter.scratch(shape, lifted))
        return made[-1]

    def written() -> Any:
        return _written(f, memory(shape), _guarded(args, memory), kwargs)

    return adapter.written(written, made)


# Arguments that are no trees and carry no derivative. Differences call a function often.
_SINGLE = {np.ndarray, float, complex, int, bool, np.float64, np.float32}
_DOUBLE, _COMPLEX = np.dtype(np.float64), np.dtype(np.complex128)


def _on_numpy(f: Callable[..., Any], shape: tuple[int, ...], args: tuple[Any, ...]) -> Any:
    guarded: list[Any] = []
    dtype: np.dtype[Any] | None = _DOUBLE  # None where it is not so simple
    for a in args:
        if type(a) is np.ndarray:
            if a.dtype is _COMPLEX:
                dtype = dtype and _COMPLEX
            elif a.dtype is not _DOUBLE:
                dtype = None
            guarded.append(_read_only(a))
        else:
            if type(a) not in (float, int):
                dtype = None
            guarded.append(a)
    if dtype is None:
        dtype = _common([a for a in args if is_array(a)], args)
    return _written(f, np.zeros(shape, dtype), (guarded, []), {})


def _common(arrays: Sequence[Any], leaves: Sequence[Any]) -> np.dtype[Any]:
    """The dtype of arrays and of Python's numbers together, the precision of which is weak."""
    numbers = [a for a in leaves if isinstance(a, float | complex)]
    least = np.float16 if arrays else np.float64
    return np.result_type(least, *arrays, *numbers)


def _read_only(array: Any) -> Any:
    view = array.view()
    view.setflags(write=False)
    return view


def _guarded(
    args: tuple[Any, ...], make: Callable[[tuple[int, ...]], Any]
) -> tuple[list[Any], list[Any]]:
    """``args`` with memory for caches and all else out of reach, and the copies to watch."""
    watched: list[Any] = []

    def guard(leaf: Any) -> Any:
        if isinstance(leaf, Buffer):
            return make(leaf.shape)
        if type(leaf) is not np.ndarray:
            if not is_array(leaf):
                return leaf
            # Nobody's memory is written to before it is noticed.
            watched.append(copied(leaf))
            return watched[-1]
        return _read_only(leaf)

    guarded = []
    for a in args:
        leaves, spec = flatten(a.value if isinstance(a, Const) else a)
        guarded.append(unflatten(spec, map(guard, leaves)))
    return guarded, watched


def _written(
    f: Callable[..., Any], out: Any, guarded: tuple[list[Any], list[Any]], kwargs: dict[str, Any]
) -> Any:
    args, watched = guarded
    versions = [getattr(a, "_version", None) for a in watched] if watched else watched
    try:
        returned = f(out, *args, **kwargs)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise NotDifferentiableError(_MUST_NOT) from error
    if watched and versions != [getattr(a, "_version", None) for a in watched]:
        raise NotDifferentiableError(_MUST_NOT)
    if returned is not None and returned is not out:
        raise NotDifferentiableError(
            "`f` must write its result into its first argument and return nothing; a function that "
            "returns its result needs no `in_place`."
        )
    return out.value if isinstance(out, Mutable) else out


_MUST_NOT = (
    "`f` writes into an argument other than its first; pass that one as `diffface.Cache(like)`, or "
    "copy it in `f`."
)


def _shape(like: Like, args: tuple[Any, ...]) -> tuple[int, ...]:
    found: Any = like
    if isinstance(like, int):
        if not -len(args) <= like < len(args):
            raise InvalidArgumentError(
                f"`like` is the number of an argument, got {like} where there are {len(args)}."
            )
        found = args[like]
    elif callable(like):
        found = like(*args)
    if isinstance(found, tuple) and all(isinstance(n, int) for n in found):
        return found
    return tuple(found.shape) if hasattr(found, "shape") else tuple(np.shape(found))
