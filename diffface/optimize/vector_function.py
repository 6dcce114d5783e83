"""A function of one flat vector, made of a function of trees."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.libraries import library_of
from diffface.operators.call import backend_for
from diffface.optimize.options import ProblemOptions, check
from diffface.optimize.ravel import floating, ravel_with
from diffface.optimize.structure import copied
from diffface.prep.arguments.bind import bind
from diffface.prep.arguments.tree import SORTED, flatten
from diffface.prep.carry import check_carried
from diffface.prep.portable import Portable

# (result of f, x, adapter) -> result as the optimizer needs it; runs inside the prepared program.
Finish = Callable[[Any, Any, Adapter], Any]
F = TypeVar("F", bound=Any)  # a method


# A point, and the result of a function there, which need not be evaluated again.
_known: ContextVar[tuple[Any, Any, Any]] = ContextVar("known", default=(None, None, None))


class VectorFunction:
    """``(x, *constants, **kwargs) -> f(...)`` with ``x`` of shape (n,) in place of the parameters.

    Flattening happens inside the prepared program, where it is recorded and costs nothing.

    Attributes
    ----------
    x0 : numpy.ndarray of shape (n,), float64
        The parameters it was made with.
    unravel : Unravel
        From ``x`` to the parameters: a tree, or a tuple of trees for several arguments.
    constants : tuple
        The other arguments it was made with.
    kwargs : dict
        Those by name.
    options : dict
        Options of the operators.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        args: Sequence[Any],
        options: Mapping[str, Any],
        finish: Finish,
        name: str,
        typed: Any = ProblemOptions,
    ) -> None:
        check(f, options, typed, name)
        argnums = options.get("argnums")
        call = bind(args, 0 if argnums is None else argnums, options.get("kwargs"))
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self.backend = backend_for(options.get("backend"), call)
        self._f = f
        self._finish = finish
        self._active, self._bare = call.active, call.bare
        self._adapter = self.backend.first_order()
        # One mapping for all that is prepared and evaluated, whenever that is.
        self.kwargs: dict[str, Any] = dict(options.get("kwargs") or {})
        self.options: dict[str, Any] = {
            "backend": self.backend, "argnums": 0, "on_mismatch": "reprepare",
            "kwargs": self.kwargs, "fallback": options.get("fallback", "eager"),
        }  # fmt: skip
        self._sparse = {k: v for k, v in options.items() if k in ("sparsity", "format", "check")}
        values = call.values[: len(args)]
        entries = tuple(floating(values[i]) for i in call.active)
        tree = entries[0] if call.bare else entries
        self.x0, self.unravel = ravel_with(tree, self._adapter, "x0")
        self.constants = tuple(v for i, v in enumerate(values) if i not in call.active)

    def __call__(self, x: Any, /, *constants: Any, **kwargs: Any) -> Any:
        function, at, y = _known.get()
        if function is self and np.array_equal(x, at):
            return y
        tree = self.unravel.split(x)
        args = list(constants)
        for i, entry in sorted(zip(self._active, (tree,) if self._bare else tree, strict=True),
                               key=lambda pair: pair[0]):  # fmt: skip
            args.insert(i, entry)
        return self._finish(self._f(*args, **kwargs), x, self._adapter)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_f": Portable(self._f)}

    def __repr__(self) -> str:
        return f"{self.__name__}, {self.unravel.size} parameters, by {self.backend!r}"

    @property
    def evaluation(self) -> "VectorFunction":
        """The same function for other processes, without what evaluates it here."""
        other = object.__new__(VectorFunction)
        vars(other).update(vars(self))
        other._adapter = other.backend = self._adapter.outside()
        other.unravel = self.unravel.by(other._adapter)
        other.options = {}
        return other

    @property
    def costly(self) -> bool:
        """Whether a derivative takes many evaluations, and preparing it spares none."""
        return self._adapter.black_box and self._adapter.batching == "loop"

    @contextmanager
    def known(self, x: Any, y: Any) -> Iterator[None]:
        """Takes ``y``, unless it is None, for the result at ``x``."""
        token = _known.set((self if y is not None else None, x, y))
        try:
            yield
        finally:
            _known.reset(token)

    def bounded(self, lower: Any = None, upper: Any = None) -> Any:
        """`Unravel.bounds`, which no evaluation for a derivative leaves from now on."""
        bounds = self.unravel.bounds(lower, upper)
        self.backend = self.backend.within(bounds.lb, bounds.ub)
        self._adapter = self.backend.first_order()
        self.options["backend"] = self.backend
        return bounds

    def carried(
        self, x: Any, constants: tuple[Any, ...], operator: Any = None, **seeds: Any
    ) -> Any:
        """The result at an ``x`` that a framework traces or differentiates; None at any other.

        Or what an ``operator`` makes of this function there, which may be traced further, too.

        Raises
        ------
        NotDifferentiableError
            If it is another framework's than the backend's.
        """
        library = library_of(x)
        if library is None or not library.is_traced(x):
            return None
        check_carried(library, self._adapter)
        if x.shape != self.x0.shape:
            raise InvalidArgumentError(
                f"`x` must be a vector of shape {self.x0.shape}, got shape {tuple(x.shape)}."
            )
        # JAX remembers, as long as a NumPy array lives, what it made of it, and if that was float32
        # it takes it where 64 bits are on, and fails.
        copies = map(copied, self.all_constants(constants))
        if operator is None:
            return self(x, *copies, **self.kwargs)
        return operator(self, x, *copies, **self.unprepared, **seeds)

    @property
    def unprepared(self) -> dict[str, Any]:
        """Options of operators that are called once."""
        return {name: self.options[name] for name in ("backend", "argnums", "kwargs")}

    def point(self, x: Any, name: str = "x") -> Any:
        """``x`` checked, in the dtype that the parameters have in common."""
        return self.unravel.checked(x, name).astype(self.unravel.dtype, copy=False)

    def points(self, x: Any) -> Any:
        """Many of them, shape (k, n), likewise."""
        return self.unravel.checked_points(x).astype(self.unravel.dtype, copy=False)

    def all_constants(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """The constants of a call: those given with it, then those it was made with."""
        return given + self.constants[len(given) :]

    def prepared(
        self, prepare: Callable[..., Any], eager: Callable[..., Any] | None = None
    ) -> "AtFirstCall":
        """``prepare`` of this function, done when it is first called; ``eager`` if it is costly."""
        return AtFirstCall(self, prepare, eager, {})

    def prepared_matrix(
        self, prepare: Callable[..., Any], eager: Callable[..., Any] | None = None
    ) -> "AtFirstCall":
        """The same of a Jacobian or Hessian, which is sparse where that is asked for."""
        return AtFirstCall(self, prepare, None if self.is_sparse else eager, self._sparse)

    def prepared_points(self, prepare: Callable[..., Any], own: int = 0) -> "AtFirstCall":
        """The same at many points, ``x`` of shape (k, n), with constants that they share.

        The first ``own`` constants they do not share: these have an axis of length k, too.
        """
        in_axes = (0, *(0 if i < own else None for i in range(len(self.constants))))
        return AtFirstCall(self, prepare, None, {"in_axes": in_axes})

    @property
    def is_sparse(self) -> bool:
        """Whether Jacobians and Hessians are sparse matrices."""
        return self._sparse.get("sparsity") is not None

    @property
    def is_probed(self) -> bool:
        """Whether their pattern is to be found numerically."""
        given = self._sparse.get("sparsity")
        return isinstance(given, str) and given == "probe"


class AtFirstCall:
    """An operator that is prepared when it is first called: optimizers need few of them."""

    __slots__ = ("_backend", "_eager", "_function", "_prepare", "_special", "prepared")

    def __init__(
        self, function: VectorFunction, prepare: Callable[..., Any],
        eager: Callable[..., Any] | None, special: dict[str, Any],
    ) -> None:  # fmt: skip
        self._function = function
        self._prepare = prepare
        self._eager = eager
        self._special = special
        self._backend: Any = None
        self.prepared: Any = None

    def __call__(self, x: Any, constants: tuple[Any, ...], **seeds: Any) -> Any:
        function = self._function
        if self._eager is not None and function.costly:
            return self._eager(function, x, *constants, **function.unprepared, **seeds)
        if self.prepared is None or self._backend is not function.backend:
            self._backend = function.backend
            options = {**function.options, **self._special}
            self.prepared = self._prepare(function, x, *constants, **options)
        return self.prepared(x, *constants, **seeds)


def called_with_data(method: F) -> F:
    """A method ``(self, x, *args)`` whose signature says ``(x)``, for tools that read it.

    Data come from SciPy alone, which does not look; optimagic would ask for ``args``.
    """
    own = inspect.signature(method)
    parameters = [p for p in own.parameters.values() if p.kind is not p.VAR_POSITIONAL]
    shown = FunctionType(method.__code__, method.__globals__, method.__name__)
    shown.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by inspect
    # An attribute `__signature__` of the method itself would get to its wrappers, with `self`.
    method.__wrapped__ = shown
    return method


def same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Whether arguments are the same objects."""
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def flat(y: Any, x: Any, adapter: Adapter) -> Any:
    """Results of any shape or tree as one vector, or one at each of many points ``x``."""
    lead = tuple(x.shape[:-1])
    shape = getattr(y, "shape", None)
    if shape is not None:
        return y if len(shape) == 1 + len(lead) else _rows(y, lead)
    try:
        leaves = [_rows(adapter.lift(leaf, x), lead) for leaf in flatten(y, SORTED)[0]]
    except TypeError:
        return y  # no numbers: the operators say so
    if len(leaves) > 1 and len({leaf.shape[:-1] for leaf in leaves}) == 1:
        return adapter.xp.concat(leaves, axis=-1)
    return leaves[0] if leaves else y


def _rows(y: Any, lead: tuple[int, ...]) -> Any:
    """An array with all axes after those of ``lead`` as one."""
    if tuple(y.shape[: len(lead)]) != lead:
        return y  # no result for each point: differences say so
    size = prod(y.shape[len(lead) :])
    return y.reshape((*lead, size))


def float64(result: Any) -> Any:
    """A result, which data in tensors make a tensor, as a NumPy array."""
    if hasattr(result, "tocsr"):
        return result.astype(np.float64, copy=False)
    kind = library_of(result)
    return result if kind is None else kind.to_numpy(result).astype(np.float64, copy=False)


def like(dy: Any, y: Any) -> Any:
    """A NumPy array in the library, dtype and device of ``y``."""
    kind = library_of(y)
    assert kind is not None
    _, dtype, device = kind.describe(y)
    return kind.from_numpy(dy.astype(dtype), device)
