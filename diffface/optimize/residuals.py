"""Residuals of a least-squares problem as SciPy wants them: values and Jacobian of one vector."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypedDict, Unpack

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import library_of
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.registry import Backend
from diffface.operators.call import backend_for, refuse
from diffface.operators.jacobian import (
    jacobian,
    prepare_jacobian,
    prepare_value_and_jacobian,
    value_and_jacobian,
)
from diffface.operators.options import BackendName, check_choice, settings
from diffface.operators.pullback import prepare_pullback, pullback
from diffface.operators.pushforward import prepare_pushforward, pushforward
from diffface.operators.value import prepare_value, value
from diffface.optimize.dense_solvers import refuse_dense_solvers
from diffface.optimize.ravel import floating, ravel_with
from diffface.prep.arguments.bind import bind
from diffface.prep.arguments.tree import SORTED, flatten
from diffface.prep.portable import Portable
from diffface.prep.traced import check_carried

# (result of f, x, adapter) -> result as the optimizer needs it; runs inside the prepared program.
Finish = Callable[[Any, Any, Adapter], Any]


# A point, and the result of a function there, which need not be evaluated again.
_known: ContextVar[tuple[Any, Any, Any]] = ContextVar("known", default=(None, None, None))


class ProblemOptions(TypedDict, total=False):
    """Keywords of everything that hands a function to an optimizer.

    Attributes
    ----------
    backend : str or backend object, optional
        Who differentiates; see :func:`diffface.gradient`.
    argnums : int or sequence of int, default 0
        Which arguments are the parameters; the others are constants, in ``Const`` or not.
    kwargs : mapping, optional
        Constants passed to ``f`` by name.
    fallback : {"eager", "error"}
        What to do with a function that depends on values and so cannot be recorded.
    sparsity : {"trace", "probe"} or matrix, optional
        Jacobians and Hessians are sparse matrices with this pattern; see :func:`diffface.jacobian`.
    check : {"once", "always"}
        Whether a sparse matrix is compared with a derivative at every evaluation.
    """

    backend: BackendName | Backend | None
    argnums: int | Sequence[int] | None
    kwargs: Mapping[str, Any] | None
    fallback: Literal["eager", "error"]
    sparsity: Any
    check: Literal["once", "always"]


# What gives no matrix that could be sparse.
_WITHOUT_MATRIX = ("closure", "log_density")


def check(f: Callable[..., Any], options: ProblemOptions, name: str) -> None:
    """Refuse what is no function, and options that there are not, of the function ``name``."""
    if not callable(f):
        refuse(f)
    allowed = ProblemOptions.__optional_keys__
    if name in _WITHOUT_MATRIX:
        allowed = allowed - {"sparsity", "check"}
    settings(options, allowed, name)
    check_choice(options, "fallback", ("eager", "error"))


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
        options: ProblemOptions,
        finish: Finish,
        name: str,
    ) -> None:
        check(f, options, name)
        argnums = options.get("argnums")
        call = bind(args, 0 if argnums is None else argnums, options.get("kwargs"))
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self.backend = backend_for(options.get("backend"), call)
        self._f = f
        self._finish = finish
        self._active, self._bare = call.active, call.bare
        self._adapter = self.backend.first_order()
        self.options: dict[str, Any] = {
            "backend": self.backend, "argnums": 0, "on_mismatch": "reprepare",
            "kwargs": options.get("kwargs"), "fallback": options.get("fallback", "eager"),
        }  # fmt: skip
        self.kwargs: dict[str, Any] = dict(options.get("kwargs") or {})
        self._sparse = {k: v for k, v in options.items() if k in ("sparsity", "check")}
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
        return self._adapter.black_box

    @contextmanager
    def known(self, x: Any, y: Any) -> Iterator[None]:
        """Takes ``y``, unless it is None, for the result at ``x``."""
        token = _known.set((self if y is not None else None, x, y))
        try:
            yield
        finally:
            _known.reset(token)

    def bounded(self, lower: Any, upper: Any) -> Any:
        """`Unravel.bounds`, which no evaluation for a derivative leaves from now on."""
        bounds = self.unravel.bounds(lower, upper)
        self.backend = self.backend.within(bounds.lb, bounds.ub)
        self._adapter = self.backend.first_order()
        self.options["backend"] = self.backend
        return bounds

    def carried(self, x: Any, constants: tuple[Any, ...]) -> Any:
        """The result at an ``x`` that a framework traces or differentiates; None at any other.

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
        return self(x, *self.all_constants(constants), **self.kwargs)

    def point(self, x: Any) -> Any:
        """``x`` checked, in the dtype that the parameters have in common."""
        return self.unravel.checked(x).astype(self.unravel.dtype, copy=False)

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

    @property
    def is_sparse(self) -> bool:
        """Whether Jacobians and Hessians are sparse matrices."""
        return self._sparse.get("sparsity") is not None


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
            options = {k: function.options[k] for k in ("backend", "argnums", "kwargs")}
            return self._eager(function, x, *constants, **options, **seeds)
        if self.prepared is None or self._backend is not function.backend:
            self._backend = function.backend
            options = {**function.options, **self._special}
            self.prepared = self._prepare(function, x, *constants, **options)
        return self.prepared(x, *constants, **seeds)


def residuals(
    f: Callable[..., Any],
    x0: Any,
    /,
    *args: Any,
    as_operator: bool = False,
    **options: Unpack[ProblemOptions],
) -> "Residuals":
    """A function with many results and its Jacobian, to hand to SciPy's solvers.

    Parameters
    ----------
    f : callable
        ``f(x0, *args)`` returns an array, a list of numbers, or a tree of arrays.
    x0 : array, number, list of numbers, or tree of arrays and numbers
        Where to start; see :func:`objective`.
    *args
        Data: constants, in ``Const`` or not, unless ``argnums`` says otherwise. Those that SciPy
        passes at a call (``args=``) take the place of the first of them.
    as_operator : bool, default False
        Whether ``jac`` returns a ``LinearOperator`` (for ``tr_solver="lsmr"``) instead of an array.
    **options : ProblemOptions
        ``backend``, ``argnums``, ``kwargs``, ``fallback``, ``sparsity``, ``check``.

    Returns
    -------
    Residuals
        Nothing is prepared before its first use.

    Raises
    ------
    NotDifferentiableError
        If a parameter is not real and floating-point.
    UnknownBackendError, BackendNotAvailableError
        If the backend does not exist, or is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> from scipy.optimize import least_squares
    >>> def f(p, t, y):
    ...     return p[0] * np.exp(-p[1] * t) - y
    >>> t = np.array([0.0, 1.0, 2.0])
    >>> fit = dif.residuals(f, [1.0, 1.0], t, 2.0 * np.exp(-0.5 * t), backend="complex-step")
    >>> least_squares(fit.fun, fit.x0, jac=fit.jac).x.round(6)
    array([2. , 0.5])
    """
    return Residuals(VectorFunction(f, (x0, *args), options, flat, "residuals"), as_operator)


class Residuals:
    """What :func:`residuals` returns, as each of SciPy's solvers calls it.

    ==================================  ==============================================
    ``least_squares``, ``root``         ``fun(x, *args)``, ``jac(x, *args)``
    ``root(..., jac=True)``             ``fun_and_jac(x, *args)``
    ``nlopt``'s vector constraints      ``nlopt(result, x, grad)``
    ``curve_fit``                       ``curve(t, *p)``, ``curve_jac(t, *p)``
    ``solve_ivp``                       ``rhs(t, y, *args)``, ``rhs_jac(t, y, *args)``
    ==================================  ==============================================

    Attributes
    ----------
    x0 : numpy.ndarray of shape (n,), float64
        The start.
    unravel : Unravel
        ``unravel(x)`` is the tree of parameters at ``x``.
    bounds, callback : callable
        Bounds and callbacks in the structure of the parameters; see :class:`Unravel`. Finite
        differences stay within these bounds, too, once they have been made.
    counts : Counter
        How many evaluations there were of ``"fun"``, ``"jac"``, and of products with the Jacobian
        and its transpose, ``"jvp"`` and ``"vjp"``.
    """

    def __init__(self, function: VectorFunction, as_operator: bool = False) -> None:
        self.x0 = function.x0
        self.unravel = function.unravel
        self.bounds = function.bounded
        self.callback = function.unravel.callback
        self.counts: Counter[str] = Counter()
        self._as_operator = as_operator
        self._function = function
        self._value = function.prepared(prepare_value, value)
        self._jacobian = function.prepared_matrix(prepare_jacobian, jacobian)
        self._both = function.prepared_matrix(prepare_value_and_jacobian, value_and_jacobian)
        self._pushforward = function.prepared(prepare_pushforward, pushforward)
        self._pullback = function.prepared(prepare_pullback, pullback)
        # (point, constants, value) of the last evaluation, for a derivative there.
        self._left: tuple[bytes, tuple[Any, ...], Any] = (b"", (), None)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_left": (b"", (), None)}

    @property
    def function(self) -> VectorFunction:
        """The function of one flat vector that this is made of."""
        return self._function

    def __repr__(self) -> str:
        return f"<residuals {self._function!r}>"

    def fun(self, x: Any, *args: Any) -> Any:
        """``f`` at ``x``, flat: shape (m,), float64.

        Of an ``x`` that the backend's framework traces, it is what may be traced further.
        """
        function = self._function
        if (y := function.carried(x, args)) is not None:
            return y
        self.counts["fun"] += 1
        point = function.point(x)
        y = self._value(point, function.all_constants(args))
        if function.costly:
            self._left = (point.tobytes(), args, np.array(y))
        return _float64(y)

    def jac(self, x: Any, *args: Any) -> Any:
        """Jacobian at ``x``, shape (m, n), float64.

        An array, a ``LinearOperator``, or a sparse matrix where ``sparsity`` was given.
        """
        if self._as_operator:
            return self.jac_operator(x, *args)
        function = self._function
        if function.is_sparse:
            refuse_dense_solvers()
        self.counts["jac"] += 1
        point = function.point(x)
        with function.known(point, self._take(point.tobytes(), args)):
            return _float64(self._jacobian(point, function.all_constants(args)))

    def fun_and_jac(self, x: Any, *args: Any) -> tuple[Any, Any]:
        """``fun`` and ``jac`` at ``x``, by one evaluation of both."""
        function = self._function
        self.counts["fun_and_jac"] += 1
        value, jacobian = self._both(function.point(x), function.all_constants(args))
        return _float64(value), _float64(jacobian)

    def nlopt(self, result: Any, x: Any, grad: Any) -> None:
        """``f`` at ``x`` into ``result``, the Jacobian into ``grad``: a constraint for ``nlopt``.

        ``optimizer.add_inequality_mconstraint(fit.nlopt, tolerances)`` keeps all of ``f`` at most 0.
        """
        if not grad.size:
            result[:] = self.fun(x)
            return
        result[:], grad[:] = self.fun_and_jac(x)

    def jac_operator(self, x: Any, *args: Any) -> Any:
        """Jacobian at ``x`` as a ``scipy.sparse.linalg.LinearOperator`` of shape (m, n)."""
        from scipy.sparse.linalg import LinearOperator

        function, constants = self._function, self._function.all_constants(args)
        at = np.array(function.point(x))
        y = self._value(at, constants)

        def push(dx: Any) -> Any:
            self.counts["jvp"] += 1
            return _float64(
                self._pushforward(at, constants, tangents=dx.reshape(-1).astype(at.dtype))
            )

        def pull(dy: Any) -> Any:
            self.counts["vjp"] += 1
            dy = _like(dy.reshape(-1), y)
            return _float64(self._pullback(at, constants, cotangents=dy))

        shape = (*y.shape, self.unravel.size)
        return LinearOperator(shape, matvec=push, rmatvec=pull, dtype=np.float64)

    def _take(self, point: bytes, args: tuple[Any, ...]) -> Any:
        """The value that was left for a derivative at this point, once."""
        left, self._left = self._left, (b"", (), None)
        return left[2] if left[0] == point and same(left[1], args) else None

    def curve(self, t: Any, /, *p: float) -> Any:
        """``f`` with the parameters ``p`` and the data ``t``, as ``curve_fit`` calls it."""
        return self.fun(np.array(p), t)

    def curve_jac(self, t: Any, /, *p: float) -> Any:
        """Jacobian of :meth:`curve` with respect to ``p``, shape (m, n)."""
        return self.jac(np.array(p), t)

    def rhs(self, t: float, y: Any, /, *args: Any) -> Any:
        """``f(t, y, *args)``, made with ``argnums=1``, as ``solve_ivp`` calls it."""
        return self.fun(y, float(t), *args)

    def rhs_jac(self, t: float, y: Any, /, *args: Any) -> Any:
        """Jacobian of :meth:`rhs` with respect to ``y``, shape (n, n)."""
        return self.jac(y, float(t), *args)


def same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Whether arguments are the same objects."""
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def flat(y: Any, x: Any, adapter: Adapter) -> Any:
    """Results of any shape or tree as one vector."""
    shape = getattr(y, "shape", None)
    if shape is not None:
        return y if len(shape) == 1 else y.reshape((-1,))
    try:
        leaves = [adapter.lift(leaf, x).reshape((-1,)) for leaf in flatten(y, SORTED)[0]]
    except TypeError:
        return y  # no numbers: the operators say so
    if len(leaves) > 1:
        return adapter.xp.concat(leaves)
    return leaves[0] if leaves else y


def _float64(result: Any) -> Any:
    """A result, which data in tensors make a tensor, as a NumPy array."""
    if hasattr(result, "tocsr"):
        return result.astype(np.float64, copy=False)
    kind = library_of(result)
    return result if kind is None else kind.to_numpy(result).astype(np.float64, copy=False)


def _like(dy: Any, y: Any) -> Any:
    kind = library_of(y)
    assert kind is not None
    _, dtype, device = kind.describe(y)
    return kind.from_numpy(dy.astype(dtype), device)
