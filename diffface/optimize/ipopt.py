"""An optimization problem as Ipopt wants it: callbacks with sparse structures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffface.backends.errors import InvalidArgumentError
from diffface.operators.call import prepare_value
from diffface.operators.gradient import prepare_gradient
from diffface.operators.hessian import prepare_hessian
from diffface.operators.jacobian import prepare_jacobian
from diffface.optimize.constraint import multipliers
from diffface.optimize.vector_function import VectorFunction
from diffface.prep.arguments.const import Const


class IpoptProblem:
    """What :meth:`Objective.ipopt` returns: the ``problem_obj`` of ``cyipopt.Problem``.

    ::

        nlp = cyipopt.Problem(
            n=problem.n, m=problem.m, problem_obj=problem,
            lb=lb, ub=ub, cl=problem.cl, cu=problem.cu,
        )
        x, info = nlp.solve(problem.x0)

    Attributes
    ----------
    x0 : numpy.ndarray of shape (n,)
        The start.
    n, m : int
        How many variables and constraints there are.
    cl, cu : numpy.ndarray of shape (m,)
        Bounds of the constraints.
    """

    def __init__(self, function: VectorFunction, x0: Any, constraints: Any) -> None:
        given = constraints if isinstance(constraints, Sequence) else [constraints]
        functions = [_function_of(c) for c in given]
        self._all = [function, *functions]
        self.x0, self.n = x0, function.unravel.size
        backend = function.backend
        x = function.point(x0)
        self._constants = tuple(f.constants for f in self._all)
        arguments = (x, Const(self._constants))
        self._value = prepare_value(self._objective, *arguments, backend=backend)
        self._gradient = prepare_gradient(self._objective, *arguments, backend=backend)
        self._stacked = self._jacobian = None
        # One of them may be a black box whose pattern only a probe finds.
        sparsity = "probe" if any(f.is_probed for f in self._all) else "trace"
        sizes = [0]
        if functions:
            self._stacked = prepare_value(self._concatenated, *arguments, backend=backend)
            self._jacobian = prepare_jacobian(
                self._concatenated, *arguments, backend=backend, sparsity=sparsity
            )
            sizes = [np.size(c.fun(x0)) for c in given]
        self.m = int(sum(sizes))
        self.cl = _bounds([c.lb for c in given], sizes)
        self.cu = _bounds([c.ub for c in given], sizes)
        weights = (Const(np.ones((), x.dtype)), Const(multipliers(self.m, x.dtype)))
        self._hessian = prepare_hessian(
            self._lagrangian, *arguments, *weights, backend=backend, sparsity=sparsity
        )

    def __repr__(self) -> str:
        return f"<problem for Ipopt, {self.n} variables, {self.m} constraints>"

    def objective(self, x: Any) -> float:
        """The value of the objective."""
        return float(self._value(*self._at(x)))

    def gradient(self, x: Any) -> Any:
        """Its gradient, shape (n,)."""
        return np.asarray(self._gradient(*self._at(x)), float)

    def constraints(self, x: Any) -> Any:
        """The values of the constraints, shape (m,)."""
        return np.zeros(0) if self._stacked is None else _plain(self._stacked(*self._at(x)))

    def jacobianstructure(self) -> tuple[Any, Any]:
        """Rows and columns of the entries of the constraints' Jacobian."""
        if self._jacobian is None:
            return np.zeros(0, int), np.zeros(0, int)
        rows, cols = self._jacobian.structure()
        return rows, cols

    def jacobian(self, x: Any) -> Any:
        """Its values, in the order of :meth:`jacobianstructure`."""
        if self._jacobian is None:
            return np.zeros(0)
        return _plain(self._jacobian.data(*self._at(x)))

    def hessianstructure(self) -> tuple[Any, Any]:
        """Rows and columns of the lower triangle of the Hessian of the Lagrangian."""
        rows, cols = self._hessian.structure()
        return rows, cols

    def hessian(self, x: Any, lagrange: Any, obj_factor: float) -> Any:
        """Values of ``obj_factor`` times the Hessian of the objective plus those of constraints.

        ``lagrange``, of shape (m,), has the multipliers of the constraints. It is one derivative,
        that of the Lagrangian.
        """
        point, constants = self._at(x)
        factor = np.asarray(obj_factor, point.dtype)
        weights = np.asarray(lagrange, point.dtype)
        values = self._hessian.data(point, constants, factor, weights)
        return _plain(values)

    def _at(self, x: Any) -> tuple[Any, Any]:
        return self._all[0].point(x), self._constants

    def _objective(self, x: Any, constants: Any) -> Any:
        return self._all[0](x, *constants[0], **self._all[0].kwargs)

    def _concatenated(self, x: Any, constants: Any) -> Any:
        adapter = self._all[0].backend.first_order()
        parts = [f(x, *c, **f.kwargs) for f, c in zip(self._all[1:], constants[1:], strict=True)]
        return parts[0] if len(parts) == 1 else adapter.xp.concat(parts, axis=-1)

    def _lagrangian(self, x: Any, constants: Any, factor: Any, weights: Any) -> Any:
        value = factor * self._objective(x, constants)
        if len(self._all) == 1:
            return value
        return value + (weights * self._concatenated(x, constants)).sum(-1)


def _function_of(constraint: Any) -> VectorFunction:
    parts = getattr(getattr(constraint, "fun", None), "__self__", None)
    function = getattr(parts, "function", None)
    if not isinstance(function, VectorFunction):
        raise InvalidArgumentError(
            f"`constraints` must come from `diffface.constraint`, got {type(constraint).__name__}."
        )
    return function


def _bounds(given: Sequence[Any], sizes: Sequence[int]) -> Any:
    parts = [np.broadcast_to(np.asarray(b, float), n) for b, n in zip(given, sizes, strict=False)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _plain(values: Any) -> Any:
    return np.asarray(values, float)
