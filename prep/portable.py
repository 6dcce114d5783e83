"""Prepared callables in pickles: functions by name or by value, descriptions for arrays."""

import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from copy import deepcopy
from functools import partial
from io import BytesIO
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.libraries import library_of
from diffface.prep.arguments.const import Const
from diffface.prep.arguments.signature import Argument, Described, Leaf, Signature
from diffface.prep.arguments.static import Static
from diffface.prep.arguments.tree import flatten, unflatten

T = TypeVar("T")

# Functions that are being pickled by value: one that refers to itself is met again inside.
_under_way: ContextVar[frozenset[int]] = ContextVar("under_way", default=frozenset())


class Portable:
    """A function on its way into a pickle, out of which comes the function itself.

    ``pickle`` knows functions by name alone. Lambdas, and those defined inside of others, are
    pickled by value, with the package cloudpickle.
    """

    __slots__ = ("_f",)

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = f

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        nameless, under_way = _nameless(self._f), _under_way.get()
        if nameless is None or id(self._f) in under_way:
            if type(self._f) is not partial:
                return _itself, (self._f,)
            args = [_Held(a) for a in self._f.args]
            keywords = {name: _Held(a) for name, a in self._f.keywords.items()}
            return _bound, (Portable(self._f.func), args, keywords)
        token = _under_way.set(under_way | {id(self._f)})
        try:
            return pickle.loads, (_by_value(self._f, nameless),)
        finally:
            _under_way.reset(token)

    def __deepcopy__(self, memo: dict[int, object]) -> Callable[..., Any]:
        return deepcopy(self._f, memo)


def _itself(f: T) -> T:
    return f


def _bound(f: Callable[..., Any], args: Iterable[Any], keywords: Mapping[str, Any]) -> Any:
    return partial(f, *args, **keywords)


class _Held:
    """What a function holds, on its way into a pickle, where arrays keep their precision."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _reduced(self._value) or (_itself, (self._value,))


def _reduced(value: Any) -> tuple[Any, ...] | None:
    library = library_of(value)
    return None if library is None else library.reduced(value)


def has_name(f: Any) -> bool:
    """Whether another process can import ``f`` by its name."""
    found: Any = sys.modules.get(getattr(f, "__module__", ""))
    for name in getattr(f, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is f


def _nameless(f: Any) -> FunctionType | None:
    """The function in ``f`` that cannot be imported by name, if there is one."""
    if isinstance(f, partial):
        return _nameless(f.func)
    if has_name(f):
        return None
    # Functions with rules are objects around one.
    inner = getattr(f, "__wrapped__", f)
    return inner if isinstance(inner, FunctionType) else None


def _by_value(f: Callable[..., Any], nameless: FunctionType) -> bytes:
    code = nameless.__code__
    which = f"`{nameless.__qualname__}` ({code.co_filename}, line {code.co_firstlineno})"
    try:
        import cloudpickle
    except ImportError:
        raise pickle.PicklingError(
            f"{which} cannot be pickled: it has no name that another process could import it by; "
            "define it at the top of a module, or install cloudpickle."
        ) from None

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # not typed
        def reducer_override(self, obj: Any) -> Any:
            return _reduced(obj) or super().reducer_override(obj)

    data = BytesIO()
    try:
        Pickler(data).dump(f)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise pickle.PicklingError(
            f"{which} cannot be pickled, for what it refers to: {error}. Pass that as an argument."
        ) from error
    return data.getvalue()


class Shape:
    """A leaf of a signature, in the place of an array.

    Modules ask for its dtype, and whether a derivative is of it.
    """

    __slots__ = ("__weakref__", "dtype", "leaf", "requires_grad", "shape")

    def __init__(self, leaf: Leaf, active: bool = True) -> None:
        self.leaf = leaf
        self.shape, self.dtype = leaf.shape, leaf.dtype
        self.requires_grad = active

    def __reduce__(self) -> tuple[Any, ...]:
        library, shape, dtype, device = self.leaf
        try:
            pickle.dumps(device)
        except (TypeError, pickle.PicklingError):  # JAX's belong to a process
            device = None
        return _shape, (library, shape, dtype, device, self.requires_grad)


def _shape(
    library: ArrayLibrary, shape: tuple[int, ...], dtype: Any, device: Any, active: bool
) -> Shape:
    if device is None:
        # Where that library puts its arrays here, if it has devices.
        device = library.describe(library.from_numpy(np.zeros(()), None))[2]
    return Shape(Leaf(library, shape, dtype, device), active)


def pack(signature: Signature) -> tuple[Any, ...]:
    """What `unpack` makes the signature of. optree's structures go by what a process has met."""
    return tuple(map(_tree, signature.arguments)), *signature[1:4]


def unpack(
    trees: Iterable[Any], keywords: tuple[str, ...], active: tuple[int, ...], bare: bool
) -> Signature:
    """The signature again, with structures and static constants of this process."""
    return Signature.of(tuple(map(_argument, trees)), keywords, active, bare)


def _tree(argument: Argument, active: bool = True) -> Any:
    leaves = [_packed(leaf, active) for leaf in argument.leaves]
    return leaves[0] if argument.spec is None else unflatten(argument.spec, leaves)


def _packed(leaf: Described, active: bool) -> Any:
    if isinstance(leaf, Argument):
        return Const(_tree(leaf, active=False))
    return leaf.value if isinstance(leaf, Static) else Shape(leaf, active)


def _argument(tree: Any) -> Argument:
    if isinstance(tree, Shape):
        return Argument(None, (tree.leaf,))
    # Integers and flags are numbers, though static.
    leaves, spec = ([tree], None) if library_of(tree) is not None else flatten(tree)
    return Argument(spec, tuple(map(_described, leaves)))


def _described(leaf: Any) -> Described:
    if isinstance(leaf, Const):
        return _argument(leaf.value)
    return leaf.leaf if isinstance(leaf, Shape) else Static(leaf)
