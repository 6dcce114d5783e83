"""An operator called, or prepared: its backend, and the way from arguments to a result."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from functools import partial
from typing import Any, NoReturn, Unpack

from diffface.backends import registry
from diffface.backends.compiled import Arrays
from diffface.backends.errors import InvalidArgumentError, NotDifferentiableError
from diffface.backends.libraries import library_of
from diffface.backends.registry import Backend, resolve
from diffface.operators.options import (
    NO_SETTINGS,
    PREPARATION,
    Options,
    PrepareOptions,
    check_choice,
    settings,
)
from diffface.prep.arguments.bind import Call, bind
from diffface.prep.arguments.tree import leaves_of
from diffface.prep.derivation import evaluate
from diffface.prep.operator import Operator, Part, Point, Recipe, Settings
from diffface.prep.plan import plan_for
from diffface.prep.prepared import Prepared
from diffface.sparse import prepared as sparse

_in_use: ContextVar[Backend | None] = ContextVar("diffface_backend", default=None)
_DEFAULT = Settings()


class _Using(ContextDecorator):
    """A backend that is the default within a block, or within each call of a function."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._tokens: list[Token[Backend | None]] = []

    def __repr__(self) -> str:
        return f"using({self._backend!r})"

    def _recreate_cm(self) -> "_Using":
        # Calls of a decorated function may be nested, or come from several threads.
        return _Using(self._backend)

    def __enter__(self) -> None:
        self._tokens.append(_in_use.set(self._backend))

    def __exit__(self, *_: object) -> None:
        _in_use.reset(self._tokens.pop())


def using(backend: str | Backend) -> _Using:
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
    return _Using(resolve(backend))


def call(
    operator: Operator, wanted: tuple[int, ...], f: Callable[..., Any], args: Sequence[object],
    options: Mapping[str, Any], seeds: object = None,
) -> Any:  # fmt: skip
    """Evaluate ``operator`` once, eagerly."""
    if not callable(f):
        refuse(f)
    if options.get("sparsity") is not None:
        return sparse.call(operator, wanted, f, args, options, backend_for)
    if not args and "argnums" not in options:
        name = operator.names[wanted]
        raise InvalidArgumentError(
            f"There is no active argument: `f` was given none. Call `{name}(f, *args)`, or "
            f"`prepare_{name}(f)` for a callable that takes them."
        )
    bound = bind(args, options.get("argnums"), options.get("kwargs"))
    chosen = _DEFAULT
    if not options.keys() <= NO_SETTINGS:
        chosen = settings(options, operator.keywords, operator.names[wanted])
    backend = backend_for(options.get("backend"), bound)
    recipe = Recipe(operator, wanted, f, chosen, options.get("in_axes"))
    plan, primals, constants = plan_for(recipe, backend, bound)
    return evaluate(plan, f, primals, constants, seeds, options.get("out"))


def prepare(
    operator: Operator, wanted: tuple[int, ...], f: Callable[..., Any], args: Sequence[object],
    options: Mapping[str, Any],
) -> Prepared[Any]:  # fmt: skip
    """Make ``operator`` ready for many calls."""
    if not callable(f):
        refuse(f)
    allowed = (operator.keywords - {"out"}) | PREPARATION
    chosen = settings(options, allowed, f"prepare_{operator.names[wanted]}")
    on_mismatch = check_choice(options, "on_mismatch", ("error", "reprepare"))
    fallback = check_choice(options, "fallback", ("eager", "error"))
    settle = partial(_settled, _named_or_in_use(options.get("backend")))
    return Prepared(
        Recipe(operator, wanted, f, chosen, options.get("in_axes")), settle, args,
        options.get("argnums"), options.get("kwargs"), on_mismatch, fallback,
    )  # fmt: skip


def prepare_matrix(
    operator: Operator, wanted: tuple[int, ...], f: Callable[..., Any], args: Sequence[object],
    options: Mapping[str, Any],
) -> Prepared[Any] | sparse.SparsePrepared:  # fmt: skip
    """Make an operator whose results are matrices ready for many calls: sparse, if asked for."""
    if options.get("sparsity") is None or not callable(f):
        return prepare(operator, wanted, f, args, options)
    settle = partial(_settled, _named_or_in_use(options.get("backend")))
    return sparse.SparsePrepared(operator, wanted, f, args, options, settle)


def backend_for(backend: str | Backend | None, call: Call) -> Backend:
    """The backend of a call: named, or in use, or the framework of its first active array."""
    known = registry.loaded.get(backend) if isinstance(backend, str) else None
    return known or _named_or_in_use(backend) or _of_arrays(call)


def _settled(backend: Backend | None) -> Callable[[Call], Backend]:
    """How a preparation chooses the backend of each call; it can be pickled."""
    fixed = _named_or_in_use(backend)
    return _of_arrays if fixed is None else partial(_fixed, fixed)


def _fixed(backend: Backend, call: Call) -> Backend:
    return backend


def _named_or_in_use(backend: str | Backend | None) -> Backend | None:
    """The backend that ``backend`` names, or the innermost ``using``, if there is either."""
    return _in_use.get() if backend is None else resolve(backend)


def _of_arrays(call: Call) -> Backend:
    """The backend of the framework of the first active array."""
    for i in call.active:
        for leaf in leaves_of(call.values[i]):
            if (library := library_of(leaf)) is not None and library.backend:
                return resolve(library.backend)
    return resolve("numpy")


def refuse(f: object) -> NoReturn:
    """Say that ``f`` is no function."""
    raise NotDifferentiableError(
        f"`f` must be callable, got {type(f).__name__}; the function comes first, then its "
        "arguments."
    )


def _derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
    y, aux = at.f(at.x)
    return (y,), aux


# Internal: not exported.
VALUE = Operator({(0,): "value"}, _derive, (Part.VALUE,), keywords=Options.__optional_keys__)


def value(f: Callable[..., Any], /, *args: Any, **options: Unpack[Options]) -> Any:
    """``f(*args)`` as a backend computes it, on arrays of its own."""
    return call(VALUE, (0,), f, args, options)


def prepare_value(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared[Any]:
    """Prepare ``f`` itself for repeated calls: compiled as its derivatives are."""
    return prepare(VALUE, (0,), f, example_args, options)
