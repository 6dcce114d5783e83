"""Backends by name: which there are, what each can do, and which one owns a value."""

import difflib
import importlib
import importlib.util
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any, Protocol, runtime_checkable

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Array
from diffface.backends.errors import (
    BackendNotAvailableError,
    InvalidArgumentError,
    NotDifferentiableError,
    UnknownBackendError,
)
from diffface.backends.libraries import registered
from diffface.backends.table import ROWS

__all__ = ["ROWS", "Backend", "adapter_class", "missing", "names", "register_backend", "resolve"]


@runtime_checkable
class Backend(Protocol):
    """What differentiates: an adapter, or one over another."""

    def __hash__(self) -> int:
        """Backends are keys of caches."""

    def first_order(self) -> Adapter:
        """Who computes first derivatives."""

    def second_order(self) -> tuple[Adapter, Adapter]:
        """Who computes second derivatives: the outer one, and the inner one."""

    def within(self, lower: Array, upper: Array) -> "Backend":
        """The same, with no evaluation outside of bounds of shape (n,)."""


_registered: dict[str, Callable[[], Backend]] = {}
# Those that were asked for before.
loaded: dict[str, Backend] = {}


def resolve(backend: str | Backend) -> Backend:
    """The backend that ``backend`` names, or itself if it is one.

    Raises
    ------
    UnknownBackendError
        If nothing has that name.
    BackendNotAvailableError
        If its library is not installed.
    """
    if not isinstance(backend, str):
        if isinstance(backend, Backend) and not isinstance(backend, type):
            return backend
        found = type(backend).__name__
        if isinstance(backend, type):
            found = f"the class {backend.__name__}; write {backend.__name__}()"
        raise UnknownBackendError(
            f"`backend` must be a name or a backend object, got {found}. {_installed_names()}."
        )
    known = loaded.get(backend)
    if known is None:
        known = loaded[backend] = _load(backend)
    return known


def register_backend(name: str, factory: Callable[[], Backend]) -> None:
    """Make ``backend=name`` mean ``factory()``.

    Packages can do the same without being imported first, by an entry point of the group
    ``diffface.backends`` that names the factory.

    Parameters
    ----------
    name : str
        The name; it replaces a backend registered before under the same name.
    factory : callable
        Takes nothing and returns the backend; called when the backend is first used.

    Raises
    ------
    InvalidArgumentError
        If ``name`` is no string, or one of diffface's own backends, or ``factory`` not callable.
    """
    if not isinstance(name, str):
        raise InvalidArgumentError(f"`name` must be a string, got {type(name).__name__}.")
    if name in ROWS:
        raise InvalidArgumentError(
            f"`name` {name!r} is one of diffface's own backends; choose another name."
        )
    if not callable(factory):
        raise InvalidArgumentError(f"`factory` must be callable, got {type(factory).__name__}.")
    _registered[name] = factory
    loaded.pop(name, None)


def names() -> tuple[str, ...]:
    """Every name that ``resolve`` knows, installed or not."""
    plugins = entry_points(group="diffface.backends").names
    return tuple(dict.fromkeys((*ROWS, *_registered, *sorted(plugins))))


def missing(name: str) -> tuple[str, ...]:
    """The modules that ``name`` needs and that cannot be found."""
    row = ROWS.get(name)
    return tuple(m for m in row.needs if importlib.util.find_spec(m) is None) if row else ()


def adapter_class(name: str) -> type[Adapter]:
    """The class of one of diffface's own backends."""
    row = ROWS[name]
    if absent := missing(name):
        raise BackendNotAvailableError(
            f"Backend {name!r} needs {' and '.join(absent)}, which cannot be found; "
            f"run: pip install 'diffface[{row.extra}]'. {_installed_names()}."
        )
    try:
        found: type[Adapter] = getattr(importlib.import_module(row.module), row.cls)
    except ImportError as error:
        raise BackendNotAvailableError(
            f"Backend {name!r} is installed but cannot be imported ({error}); "
            f"run: pip install --upgrade 'diffface[{row.extra}]'. {_installed_names()}."
        ) from error
    return found


def _load(name: str) -> Backend:
    if name in ROWS:
        return adapter_class(name)()
    factory = _registered.get(name)
    for plugin in entry_points(group="diffface.backends", name=name):
        try:
            factory = factory or plugin.load()
        except ImportError as error:
            raise BackendNotAvailableError(
                f"Backend {name!r} is installed but cannot be imported ({error}). "
                f"{_installed_names()}."
            ) from error
    if factory is not None:
        backend = factory()
        if not isinstance(backend, Backend):
            raise UnknownBackendError(
                f"The factory of backend {name!r} must return a backend object, got "
                f"{type(backend).__name__}."
            )
        return backend
    close = difflib.get_close_matches(name.lower(), names(), n=1)
    nearest = f" Did you mean {close[0]!r}?" if close else ""
    raise UnknownBackendError(f"There is no backend {name!r}.{nearest} {_installed_names()}.")


def _installed_names() -> str:
    return "Installed: " + ", ".join(repr(n) for n in names() if not missing(n))


# A backend that evaluates functions at NumPy arrays of its own choice, and wants to see their
# rules. It is set while it does so.
evaluating: ContextVar[Adapter | None] = ContextVar("evaluating", default=None)

# The backend for which a rule computes: it may hand it plain NumPy arrays, as autograd does.
computing: ContextVar[Adapter | None] = ContextVar("computing", default=None)

_PLAIN = (float, int, bool, complex, str, type(None), np.ndarray)
_names: dict[type, str] = dict.fromkeys(_PLAIN, "")


def owner_of(values: Iterable[object]) -> Adapter | None:
    """The backend that ``values`` belong to; None where they are NumPy's and nobody watches.

    Raises
    ------
    NotDifferentiableError
        If they belong to two.
    """
    found = {name for value in values if (name := _name(value))}
    if len(found) > 1:
        first, second = sorted(found)
        raise NotDifferentiableError(
            f"One call got arrays of both {first} and {second}; convert one of them, or make the "
            "function one of a single framework by `diffface.bridge`."
        )
    if not found:
        return evaluating.get()
    adapter: Any = resolve(found.pop())
    return adapter  # type: ignore[no-any-return]  # no SecondOrder has arrays of its own


def belongs_to_a_backend(value: object) -> bool:
    """Whether ``value`` is an array of a framework, or stands for one."""
    return bool(_name(value))


def _name(value: object) -> str:
    kind = type(value)
    known = _names.get(kind)
    if known is not None:
        return known
    name = next((name for name, row in ROWS.items() if row.has(value)), "")
    if not name and (row := registered(value)) is not None:
        name = row[0].backend
    if name:
        # Types that are not known yet may be registered later.
        _names[kind] = name
    return name


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """A backend as :func:`list_backends` lists it.

    Attributes
    ----------
    name : str
        What to pass as ``backend=``.
    backend : Adapter, SecondOrder or None
        The default object of that name; None if it is not installed.
    version : str
        Version of the library it needs; empty if it is not installed.
    forward, reverse : bool
        Its modes.
    problem : str
        Why it cannot be used, and what to install; empty if it can.
    """

    name: str
    backend: Backend | None
    version: str = ""
    forward: bool = False
    reverse: bool = False
    problem: str = ""

    @property
    def available(self) -> bool:
        """Whether it can be used."""
        return self.backend is not None


def list_backends() -> tuple[BackendInfo, ...]:
    """All backends that diffface knows, installed or not: its own, registered ones, plug-ins.

    Imports the library of every installed backend.

    Returns
    -------
    tuple of BackendInfo
        Own backends first, in a fixed order.

    Examples
    --------
    >>> import diffface as dif
    >>> [b.name for b in dif.list_backends()][:5]
    ['jax', 'torch', 'autograd', 'numpy', 'complex-step']
    """
    return tuple(map(_describe, names()))


def _describe(name: str) -> BackendInfo:
    try:
        backend = resolve(name)
    except BackendNotAvailableError as error:
        return BackendInfo(name, None, problem=str(error))
    adapter = backend.first_order()
    try:
        found = version(adapter.library)
    except PackageNotFoundError:
        found = ""
    return BackendInfo(name, backend, found, adapter.forward, adapter.reverse)


def backend_class(name: str) -> Any:
    """``diffface.JAX`` and its like, whose library is imported when they are first asked for."""
    for backend, row in ROWS.items():
        if row.cls == name:
            return adapter_class(backend)
    raise AttributeError(f"module 'diffface' has no attribute {name!r}")
