"""What backends there are, and what each can do."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from diffface.backends.errors import BackendNotAvailableError
from diffface.backends.registry import ROWS, Backend, adapter_class, names, resolve


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
