"""A scalar function as SciPy's optimizers want it."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from diffface.backends.adapter import Adapter
from diffface.operators.call import prepare_value, value
from diffface.operators.gradient import (
    gradient,
    prepare_gradient,
    prepare_value_and_gradient,
    value_and_gradient,
)
from diffface.operators.hessian import hessian, prepare_hessian
from diffface.operators.hvp import hvp, prepare_hvp
from diffface.optimize.ipopt import IpoptProblem
from diffface.optimize.options import ProblemOptions, refuse_dense_solvers
from diffface.optimize.vector_function import VectorFunction, called_with_data, same

# What nobody takes.
_NOTHING = ("", b"", (), None)


def objective(
    f: Callable[..., Any], x0: Any, /, *args: Any, **options: Unpack[ProblemOptions]
) -> "Objective":
    """A scalar function and its derivatives, to hand to ``scipy.optimize.minimize``.

    Parameters
    ----------
    f : callable
        ``f(x0, *args)`` returns one real number (shape ``()``; one element, as SciPy allows).
    x0 : array, number, list of numbers, or tree of arrays and numbers
        Where to start. ``f`` gets its parameters in this structure and these shapes, computed in
        the common dtype of the leaves (integers count as float64).
    *args
        Data: constants, in ``Const`` or not, unless ``argnums`` says otherwise. Those that SciPy
        passes at a call (``args=``) take the place of the first of them.
    **options : ProblemOptions
        ``backend``, ``argnums``, ``kwargs``, ``fallback``, ``sparsity``, ``format``, ``check``.

    Returns
    -------
    Objective
        Nothing is prepared before its first use.

    Raises
    ------
    NotDifferentiableError
        If a parameter is not real and floating-point.
    UnknownBackendError, BackendNotAvailableError
        If the backend does not exist, or is not installed.

    Examples
    --------
    >>> import diffface as dif
    >>> from scipy.optimize import minimize
    >>> def f(p):
    ...     return (p["a"] - 1.0) ** 2 + (p["b"] - p["a"]) ** 2
    >>> problem = dif.objective(f, {"a": 3.0, "b": 0.0}, backend="autograd")
    >>> result = minimize(problem.fun, problem.x0, jac=problem.jac)
    >>> {name: round(value, 4) for name, value in problem.unravel(result.x).items()}
    {'a': 1.0, 'b': 1.0}
    """
    return Objective(VectorFunction(f, (x0, *args), options, one_number, "objective"))


class Objective:
    """What :func:`objective` returns; every method takes a flat ``x`` of shape (n,).

    ``fun`` and ``jac`` at the same point cost one evaluation of value and gradient. What one of
    them leaves for the other is used once, so that a later call with changed data is never stale;
    only between the two calls at one point, data must not change in place.

    Of an ``x`` that the backend's framework traces or differentiates, every method returns what may
    be traced further: they may stand inside of ``jax.jit``, for one.

    By finite differences ``fun`` evaluates ``f`` once, and ``jac`` as often as its stencil says,
    at other points.

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
        How many evaluations there were of ``"fun_and_jac"``, ``"hess"`` and ``"hessp"``; by finite
        differences of ``"fun"`` and ``"jac"``, too.
    """

    def __init__(self, function: VectorFunction) -> None:
        self.x0: NDArray[np.float64] = function.x0
        self.unravel = function.unravel
        self.bounds = function.bounded
        self.callback = function.unravel.callback
        self.counts: Counter[str] = Counter()
        self._function = function
        self._value = function.prepared(prepare_value, value)
        self._gradient = function.prepared(prepare_gradient, gradient)
        self._value_and_gradient = function.prepared(prepare_value_and_gradient, value_and_gradient)
        self._hessian = function.prepared_matrix(prepare_hessian, hessian)
        self._hvp = function.prepared(prepare_hvp, hvp)
        # (who is to take it, point, constants, value or gradient)
        self._left: tuple[str, bytes, tuple[Any, ...], Any] = _NOTHING

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_left": _NOTHING}

    def __repr__(self) -> str:
        return f"<objective {self._function!r}>"

    @called_with_data
    def fun(self, x: Any, *args: Any) -> float:
        """``f`` at ``x``."""
        if (y := self._function.carried(x, args)) is not None:
            return y  # type: ignore[no-any-return]
        point = self._function.unravel.checked(x).tobytes()
        value = self._take("fun", point, args)
        if value is None and self._function.costly:
            self.counts["fun"] += 1
            y = self._value(self._function.point(x), self._function.all_constants(args))
            self._left = ("value", point, args, y)
            return float(y)
        if value is None:
            value, gradient = self.fun_and_jac(x, *args)
            self._left = ("jac", point, args, gradient)
        return value  # type: ignore[no-any-return]

    @called_with_data
    def jac(self, x: Any, *args: Any) -> NDArray[np.float64]:
        """Gradient at ``x``, shape (n,), float64."""
        if (found := self._function.carried(x, args, gradient)) is not None:
            return found  # type: ignore[no-any-return]
        point = self._function.unravel.checked(x).tobytes()
        if self._function.costly:
            self.counts["jac"] += 1
            at = self._function.point(x)
            with self._function.known(at, self._take("value", point, args)):
                found = self._gradient(at, self._function.all_constants(args))
            return _float64(found)
        left: NDArray[np.float64] | None = self._take("jac", point, args)
        if left is None:
            value, left = self.fun_and_jac(x, *args)
            self._left = ("fun", point, args, value)
        return left

    @called_with_data
    def fun_and_jac(self, x: Any, *args: Any) -> tuple[float, NDArray[np.float64]]:
        """``(f, gradient)`` at ``x``, for ``minimize(..., jac=True)``."""
        function = self._function
        if (found := function.carried(x, args, value_and_gradient)) is not None:
            return found  # type: ignore[no-any-return]
        self.counts["fun_and_jac"] += 1
        value, gradient = self._value_and_gradient(function.point(x), function.all_constants(args))
        return float(value), _float64(gradient)

    @called_with_data
    def hess(self, x: Any, *args: Any) -> Any:
        """Hessian at ``x``, shape (n, n), float64; a sparse matrix where ``sparsity`` was given."""
        function = self._function
        if function.is_sparse:
            refuse_dense_solvers()
        elif (found := function.carried(x, args, hessian)) is not None:
            return found
        self.counts["hess"] += 1
        matrix = self._hessian(function.point(x), function.all_constants(args))
        return matrix.astype(np.float64, copy=False)

    @called_with_data
    def hessp(self, x: Any, p: Any, *args: Any) -> NDArray[np.float64]:
        """Hessian at ``x`` times the vector ``p`` of shape (n,); float64."""
        function = self._function
        if (found := function.carried(x, args, hvp, tangents=p)) is not None:
            return found  # type: ignore[no-any-return]
        self.counts["hessp"] += 1
        # SciPy's trust-constr probes with a vector of int8.
        product = self._hvp(
            function.point(x), function.all_constants(args), tangents=function.point(p, "p")
        )
        return _float64(product)

    @called_with_data
    def hess_operator(self, x: Any, *args: Any) -> Any:
        """Hessian at ``x`` as a ``scipy.sparse.linalg.LinearOperator``."""
        from scipy.sparse.linalg import LinearOperator

        at = np.array(self._function.unravel.checked(x))

        def product(p: Any) -> Any:
            return self.hessp(at, p.reshape(-1), *args)

        n = self.unravel.size
        return LinearOperator((n, n), matvec=product, rmatvec=product, dtype=np.float64)

    def nlopt(self, x: Any, grad: Any) -> float:
        """``f`` at ``x``, with the gradient written into ``grad``, for ``nlopt``'s objectives."""
        value, gradient = self.fun_and_jac(x)
        if grad.size:
            grad[:] = gradient
        return value

    def ipopt(self, constraints: Any = ()) -> "IpoptProblem":
        """The object that ``cyipopt.Problem`` takes, with sparse derivatives.

        Parameters
        ----------
        constraints : NonlinearConstraint of `diffface.constraint`, or sequence of them
            Their functions, with the objective's, make up the Lagrangian, whose Hessian is one
            derivative.
        """
        return IpoptProblem(self._function, self.x0, constraints)

    def _take(self, who: str, point: bytes, args: tuple[Any, ...]) -> Any:
        """What was left for ``who`` at this point, once."""
        left = self._left
        if left[:2] != (who, point) or not same(left[2], args):
            return None
        self._left = _NOTHING
        return left[3]


def _float64(found: Any) -> NDArray[np.float64]:
    return np.asarray(found, np.float64)


def one_number(y: Any, x: Any, adapter: Adapter) -> Any:
    """SciPy takes one number in an array of any shape; so does an objective."""
    shape, lead = tuple(getattr(y, "shape", ())), tuple(x.shape[:-1])
    own = shape[len(lead) :]
    ones = own and shape[: len(lead)] == lead and all(n == 1 for n in own)
    return y.reshape(lead) if ones else y
