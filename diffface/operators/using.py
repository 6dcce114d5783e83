"""The backend of calls that name none."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from diffface.backends.arrays import library_of
from diffface.backends.registry import Backend, resolve
from diffface.prep.arguments.signature import Call
from diffface.prep.arguments.tree import leaves_of

_default: ContextVar[Backend | None] = ContextVar("diffface_backend", default=None)


@contextmanager
def using(backend: str | Backend) -> Iterator[None]:
    """Make ``backend`` the default of this thread (or task) within a ``with`` block.

    Parameters
    ----------
    backend : str or backend object
        What ``backend=None`` means inside; the innermost block wins.

    Raises
    ------
    UnknownBackendError, BackendNotAvailableError
        At once, if there is no such backend.

    Examples
    --------
    >>> import diffface as dif
    >>> with dif.using("autograd"):
    ...     dif.derivative(lambda t: t**2, 3.0)
    6.0
    """
    token = _default.set(resolve(backend))
    try:
        yield
    finally:
        _default.reset(token)


def backend_for(backend: str | Backend | None, call: Call) -> Backend:
    """The backend of a call: named, or in use, or the framework of its first active array."""
    return named_or_in_use(backend) or of_arrays(call)


def named_or_in_use(backend: str | Backend | None) -> Backend | None:
    """The backend that ``backend`` names, or the innermost ``using``, if there is either."""
    return _default.get() if backend is None else resolve(backend)


def of_arrays(call: Call) -> Backend:
    """The backend of the framework of the first active array."""
    for i in call.active:
        for leaf in leaves_of(call.values[i]):
            if (kind := library_of(leaf)) is not None and kind.backend:
                return resolve(kind.backend)
    return resolve("numpy")
