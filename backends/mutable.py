"""Arrays that cannot be written to, as arrays that can: writes become new arrays.

What functions need that write into an argument, on backends whose arrays are immutable.
"""

import operator
from collections.abc import Callable
from copy import copy
from typing import Any, NoReturn

import numpy as np

from diffface.backends.compiled import Array
from diffface.backends.errors import NotDifferentiableError

# ``(a, index, value) -> a`` with ``value`` at ``index``.
Update = Callable[[Array, Any, Array], Array]


class Mutable:
    """An array, or a view of a part of another one, that takes writes.

    Reading elements gives plain arrays; reading slices gives views, as in NumPy, so that writing
    to them writes to the whole.
    """

    __array_priority__ = 1e6

    def __init__(self, array: Array, update: Update, xp: Any) -> None:
        self._array = array
        self._update = update
        self._xp = xp
        self._base: Mutable | None = None
        self._index: Any = None
        # Where each element is in the root, in C order; once there are views.
        self._positions: Any = None
        # Elements that were written one by one, by their places: one update does for all of them.
        self._written: dict[tuple[int, ...], Array] = {}
        self.writes = 0  # of single elements
        self._shape: tuple[int, ...] = tuple(array.shape)
        self._dtype = array.dtype

    def _part(self, index: Any, shape: tuple[int, ...]) -> "Mutable":
        view = copy(self)
        view._base, view._index, view._shape = self, index, shape
        view._array, view._written = None, {}
        if self._positions is None:
            self._positions = np.arange(self.size).reshape(self.shape)
        view._positions = self._positions[index]
        return view

    @property
    def _root(self) -> "Mutable":
        return self if self._base is None else self._base._root

    @property
    def value(self) -> Array:
        """The array as it is now."""
        if self._base is not None:
            return self._base.value[self._index]
        if self._written:
            values = self._xp.stack(list(self._written.values()))
            self._array = self._update(self._array, _index_of(list(self._written)), values)
            self._written = {}
        return self._array

    def _place(self, index: Any) -> tuple[int, ...] | None:
        """Where in the root one element is that can be written by itself; None for all else."""
        parts = _parts(index)
        if len(parts) != len(self.shape) or not parts:
            return None
        if not all(type(p) is int or isinstance(p, np.integer) for p in parts):
            return None
        if self._base is None:
            return tuple(int(p) % n for p, n in zip(parts, self.shape, strict=True))
        return tuple(map(int, np.unravel_index(self._positions[parts], self._root.shape)))

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return self._shape

    @property
    def dtype(self) -> Any:
        """As of an array."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """As of an array."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """As of an array."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        at = _with_arrays(index)
        shape = _shape_at(self.shape, at)
        if shape and _is_basic(at):
            return self._part(index, shape)
        place = self._place(at)
        if place is None:
            return self.value[at]
        root = self._root
        return root._written[place] if place in root._written else root._array[place]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, Mutable):
            if value._base is self and value._index is index:
                return  # of `out[index] += ...`, which has been written already
            value = value.value
        elif type(value) is np.ndarray:
            value = value.copy()[()]  # of which somebody may write to the memory
        index = _with_arrays(index)
        shape = _shape_at(self.shape, index)
        found = np.shape(value) if np.isscalar(value) or isinstance(value, list) else value.shape
        if shape is not None and np.broadcast_shapes(tuple(found), shape) != shape:
            raise ValueError(f"could not broadcast input from shape {found} into shape {shape}")
        if not _is_basic(index) and found and _repeats(self.shape, index):
            raise NotDifferentiableError(
                "An index names an element twice, and what is written there is not defined; write "
                "to each element once."
            )
        if np.iscomplexobj(value) and not np.iscomplexobj(self):
            raise TypeError("complex numbers do not fit into an array of real numbers")
        place = self._place(index)
        if place is not None and not found:
            self._root._written[place] = self._cast(value)
            self._root.writes += 1
            return
        whole = self._update(self.value, index, value)
        if self._base is None:
            self._array = whole
        else:
            self._base[self._index] = whole

    def _cast(self, value: Any) -> Array:
        if np.isscalar(value):
            return self._xp.asarray(value, dtype=self.dtype)[()]
        return value if value.dtype == self.dtype else self._xp.astype(value, self.dtype)

    def fill(self, value: Any) -> None:
        """Write ``value`` everywhere."""
        self[...] = value

    def copy(self) -> Array:
        """The array as it is now."""
        return self.value

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        function = getattr(self._xp, ufunc.__name__)
        if method != "__call__" or options:
            return NotImplemented
        return function(*map(_plain, inputs))

    def __array_function__(self, f: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return plain_arguments(getattr(self._xp, f.__name__))(*args, **kwargs)

    def __jax_array__(self) -> Array:
        return self.value

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("A plain NumPy function was called on an array that is written to.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.value, name)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))


def plain_arguments(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` of what the arrays are that are written to when it is called."""

    def of_values(*args: Any, **kwargs: Any) -> Any:
        return f(*map(_deep, args), **{name: _deep(value) for name, value in kwargs.items()})

    return of_values


def _plain(value: Any) -> Any:
    if not isinstance(value, Mutable):
        return value
    value = value.value
    if type(value) is np.ndarray:  # nothing has been recorded yet; a write to a view would be lost
        value = value.view()
        value.flags.writeable = False
    return value


def _deep(value: Any) -> Any:
    return list(map(_plain, value)) if isinstance(value, list | tuple) else _plain(value)


def _repeats(shape: tuple[int, ...], index: Any) -> bool:
    try:
        chosen = np.arange(int(np.prod(shape))).reshape(shape)[index]
    except (IndexError, TypeError):  # values are hidden
        return False
    return bool(len(np.unique(chosen)) != chosen.size)


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _with_arrays(index: Any) -> Any:
    """``index`` with arrays for lists, which some libraries do not take."""
    if not any(isinstance(p, list) for p in _parts(index)):
        return index
    found = tuple(
        np.array(p, None if p else int) if isinstance(p, list) else p for p in _parts(index)
    )
    return found if isinstance(index, tuple) else found[0]


def _index_of(places: list[tuple[int, ...]]) -> Any:
    """An index of all these places."""
    first, *others = places
    if len(first) == 1 and others == [(first[0] + k,) for k in range(1, len(places))]:
        return slice(first[0], first[0] + len(places))
    return tuple(np.array(axis) for axis in zip(*places, strict=True))


def _is_basic(index: Any) -> bool:
    return all(
        p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in _parts(index)
    )


def _shape_at(shape: tuple[int, ...], index: Any) -> tuple[int, ...] | None:
    """The shape of what is at ``index``, which must be inside; None where values are hidden."""
    if not all(
        p is None or p is Ellipsis or isinstance(p, slice | int | np.ndarray | np.integer)
        for p in _parts(index)
    ):
        return None
    found: tuple[int, ...] = np.broadcast_to(np.empty(()), shape)[index].shape
    return found


def _binary(name: str) -> None:
    op = getattr(operator, name)
    setattr(Mutable, f"__{name}__", lambda self, other: op(self.value, _plain(other)))
    setattr(Mutable, f"__r{name}__", lambda self, other: op(_plain(other), self.value))

    def in_place(self: Mutable, other: Any) -> Mutable:
        self[...] = op(self.value, _plain(other))
        return self

    setattr(Mutable, f"__i{name}__", in_place)


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul", "mod", "floordiv"):
    _binary(_name)
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _op = getattr(operator, _name)
    setattr(Mutable, f"__{_name}__", lambda self, other, op=_op: op(self.value, _plain(other)))
for _name in ("neg", "abs", "pos"):
    _op = getattr(operator, _name)
    setattr(Mutable, f"__{_name}__", lambda self, op=_op: op(self.value))


def _refused(name: str) -> property:
    def refuse(self: Mutable) -> NoReturn:
        raise NotDifferentiableError(
            f"`{name}` of an array that a function writes to would be no view of it here, as it is "
            f"with NumPy; take slices, or `(out * 1.0).{name}`."
        )

    return property(refuse)


# Read later, these would still show what was there when they were taken.
for _name in (
    "T", "diagonal", "flat", "imag", "mT", "ravel", "real", "reshape", "squeeze", "swapaxes",
    "transpose", "view",
):  # fmt: skip
    setattr(Mutable, _name, _refused(_name))
