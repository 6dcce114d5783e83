"""Residuals of a least-squares problem as SciPy wants them: values and Jacobian of one vector."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from diffface.backends.errors import InvalidArgumentError
from diffface.operators.call import prepare_value, value
from diffface.operators.jacobian import (
    jacobian,
    prepare_jacobian,
    prepare_value_and_jacobian,
    value_and_jacobian,
)
from diffface.operators.pullback import prepare_pullback, pullback
from diffface.operators.pushforward import prepare_pushforward, pushforward
from diffface.optimize.options import ProblemOptions, refuse_dense_solvers
from diffface.optimize.vector_function import (
    VectorFunction,
    called_with_data,
    flat,
    float64,
    like,
    same,
)


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
        ``backend``, ``argnums``, ``kwargs``, ``fallback``, ``sparsity``, ``format``, ``check``.

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
    ``solve_bvp``                       ``bvp(t, y, p)``, ``bvp_jac(t, y, p)``
    its boundary conditions             ``bc(ya, yb, p)``, ``bc_jac(ya, yb, p)``
    ==================================  ==============================================

    Of an ``x`` that the backend's framework traces or differentiates, ``fun``, ``jac`` and
    ``fun_and_jac`` return what may be traced further; sparse matrices are not.

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
        self.x0: NDArray[np.float64] = function.x0
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
        self._values = function.prepared_points(prepare_value, own=1)
        self._jacobians = function.prepared_points(prepare_jacobian, own=1)
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

    @called_with_data
    def fun(self, x: Any, *args: Any) -> NDArray[np.float64]:
        """``f`` at ``x``, flat: shape (m,), float64."""
        function = self._function
        if (y := function.carried(x, args)) is not None:
            return y  # type: ignore[no-any-return]  # it is of the framework
        self.counts["fun"] += 1
        point = function.point(x)
        y = self._value(point, function.all_constants(args))
        if function.costly:
            self._left = (point.tobytes(), args, np.array(y))
        found: NDArray[np.float64] = float64(y)
        return found

    @called_with_data
    def jac(self, x: Any, *args: Any) -> Any:
        """Jacobian at ``x``, shape (m, n), float64.

        An array, a ``LinearOperator``, or a sparse matrix where ``sparsity`` was given.
        """
        if self._as_operator:
            return self.jac_operator(x, *args)
        function = self._function
        if function.is_sparse:
            refuse_dense_solvers()
        elif (found := function.carried(x, args, jacobian)) is not None:
            return found
        self.counts["jac"] += 1
        point = function.point(x)
        with function.known(point, self._take(point.tobytes(), args)):
            return float64(self._jacobian(point, function.all_constants(args)))

    @called_with_data
    def fun_and_jac(self, x: Any, *args: Any) -> tuple[NDArray[np.float64], Any]:
        """``fun`` and ``jac`` at ``x``, by one evaluation of both."""
        function = self._function
        found = None if function.is_sparse else function.carried(x, args, value_and_jacobian)
        if found is not None:
            return found  # type: ignore[no-any-return]
        self.counts["fun_and_jac"] += 1
        y, matrix = self._both(function.point(x), function.all_constants(args))
        return float64(y), float64(matrix)

    def nlopt(self, result: Any, x: Any, grad: Any) -> None:
        """``f`` at ``x`` into ``result``, the Jacobian into ``grad``: a constraint for ``nlopt``.

        ``optimizer.add_inequality_mconstraint(fit.nlopt, tolerances)`` keeps ``f`` below 0.
        """
        if not grad.size:
            result[:] = self.fun(x)
            return
        result[:], grad[:] = self.fun_and_jac(x)

    @called_with_data
    def jac_operator(self, x: Any, *args: Any) -> Any:
        """Jacobian at ``x`` as a ``scipy.sparse.linalg.LinearOperator`` of shape (m, n)."""
        from scipy.sparse.linalg import LinearOperator

        function, constants = self._function, self._function.all_constants(args)
        at = np.array(function.point(x))
        y = self._value(at, constants)

        def push(dx: Any) -> Any:
            self.counts["jvp"] += 1
            return float64(
                self._pushforward(at, constants, tangents=dx.reshape(-1).astype(at.dtype))
            )

        def pull(dy: Any) -> Any:
            self.counts["vjp"] += 1
            dy = like(dy.reshape(-1), y)
            return float64(self._pullback(at, constants, cotangents=dy))

        shape = (*y.shape, self.unravel.size)
        return LinearOperator(shape, matvec=push, rmatvec=pull, dtype=np.float64)

    def _take(self, point: bytes, args: tuple[Any, ...]) -> Any:
        """The value that was left for a derivative at this point, once."""
        left, self._left = self._left, (b"", (), None)
        return left[2] if left[0] == point and same(left[1], args) else None

    def curve(self, t: Any, /, *p: float) -> NDArray[np.float64]:
        """``f`` with the parameters ``p`` and the data ``t``, as ``curve_fit`` calls it."""
        return self.fun(np.array(p), t)

    def curve_jac(self, t: Any, /, *p: float) -> Any:
        """Jacobian of :meth:`curve` with respect to ``p``, shape (m, n)."""
        return self.jac(np.array(p), t)

    def rhs(self, t: float, y: Any, /, *args: Any) -> NDArray[np.float64]:
        """``f(t, y, *args)``, made with ``argnums=1``, as ``solve_ivp`` calls it."""
        return self.fun(y, float(t), *args)

    def rhs_jac(self, t: float, y: Any, /, *args: Any) -> Any:
        """Jacobian of :meth:`rhs` with respect to ``y``, shape (n, n)."""
        return self.jac(y, float(t), *args)

    def bvp(self, t: Any, y: Any, p: Any = None, /) -> NDArray[np.float64]:
        """``f(t, y)``, made with ``argnums=1``, at m points, as ``solve_bvp`` calls it.

        With parameters it is ``f(t, y, p)``, made with ``argnums=(1, 2)``.

        Parameters
        ----------
        t : array of shape (m,)
            Points of the mesh.
        y : array of shape (n, m)
            The solution there.
        p : array of shape (k,), optional
            Unknown parameters.

        Returns
        -------
        ndarray of shape (n, m), float64
        """
        self.counts["fun"] += 1
        found: NDArray[np.float64] = self._at_mesh(self._values, t, y, p).T
        return found

    def bvp_jac(self, t: Any, y: Any, p: Any = None, /) -> Any:
        """Jacobian of :meth:`bvp` with respect to ``y``, shape (n, n, m).

        With parameters it is a pair with that with respect to ``p``, shape (n, k, m).
        """
        self.counts["jac"] += 1
        jacobians = np.moveaxis(self._at_mesh(self._jacobians, t, y, p), 0, -1)
        n = len(y)
        return jacobians if p is None else (jacobians[:, :n], jacobians[:, n:])

    def bc(self, *ends: Any) -> NDArray[np.float64]:
        """``f(ya, yb)`` or ``f(ya, yb, p)``, made with all ``argnums``, as ``solve_bvp`` does."""
        return self.fun(np.concatenate(ends))

    def bc_jac(self, *ends: Any) -> tuple[Any, ...]:
        """Jacobians of :meth:`bc` with respect to each of its arguments."""
        jacobian = self.jac(np.concatenate(ends))
        return tuple(np.split(jacobian, np.cumsum([len(end) for end in ends])[:-1], axis=1))

    def _at_mesh(self, prepared: Any, t: Any, y: Any, p: Any) -> Any:
        """What is prepared for many points, at those of a mesh; they come first in the result."""
        more = () if p is None else p
        shape = self.x0.size - len(more), np.size(t)
        if not self._function.constants:
            raise InvalidArgumentError(
                "`f` has no argument for `t`: make it `residuals(f, t, y, argnums=1)`."
            )
        if np.ndim(t) != 1 or np.shape(y) != shape:
            raise InvalidArgumentError(
                f"`y` must be of shape {shape}, one column for each of `t`, got {np.shape(y)}; "
                "make the residuals with `argnums=1`, or `argnums=(1, 2)` if there are parameters."
            )
        m = len(t)
        x = np.vstack([y, *(np.full(m, value) for value in more)]).T
        # SciPy refines its mesh: its sizes are rounded up, not to prepare for each of them anew.
        spare = 0 if self._function.costly else (1 << (m - 1).bit_length()) - m
        x, t = np.pad(x, ((0, spare), (0, 0)), mode="edge"), np.pad(t, (0, spare), mode="edge")
        constants = (np.asarray(t, x.dtype), *self._function.constants[1:])
        return float64(prepared(self._function.points(x), constants))[:m]
