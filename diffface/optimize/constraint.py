"""A nonlinear constraint of SciPy's optimizers, with its derivatives."""

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.libraries import library_of
from diffface.operators.hessian import prepare_hessian
from diffface.optimize.options import ProblemOptions
from diffface.optimize.ravel import ravel_with
from diffface.optimize.residuals import Residuals
from diffface.optimize.vector_function import AtFirstCall, VectorFunction, flat


def constraint(
    f: Callable[..., Any],
    lb: Any,
    ub: Any,
    x0: Any,
    /,
    *args: Any,
    keep_feasible: Any = False,
    hess: bool = True,
    **options: Unpack[ProblemOptions],
) -> Any:
    """``lb <= f(x, *args) <= ub`` as a ``scipy.optimize.NonlinearConstraint``.

    Parameters
    ----------
    f : callable
        ``f(x0, *args)`` returns an array, a list of numbers, or a tree of arrays.
    lb, ub : number, array, list of numbers, or tree
        Bounds: one number for all, or like the result of ``f``. Infinite ones are no bounds, equal
        ones make an equation.
    x0 : array, number, list of numbers, or tree of arrays and numbers
        Parameters like those of the objective; only structure, shapes and dtypes matter.
    *args
        Constants. SciPy's ``args=`` does not reach constraints.
    keep_feasible : bool or array of bool
        As in SciPy.
    hess : bool, default True
        Whether to hand over the Hessian. SLSQP and COBYLA, which have no use for it, warn of it.
    **options : ProblemOptions
        ``backend``, ``argnums``, ``kwargs``, ``fallback``, ``sparsity``, ``format``, ``check``. A
        pattern that is given is that of the Jacobian; that of the Hessian is traced.

    Returns
    -------
    scipy.optimize.NonlinearConstraint
        With ``fun(x)`` of shape (m,), ``jac(x)`` of shape (m, n), and ``hess(x, v)`` of shape
        (n, n), the sum of ``v[i]`` times the Hessian of the i-th result.

    Raises
    ------
    NotDifferentiableError
        If a parameter is not real and floating-point.

    Examples
    --------
    >>> import diffface as dif
    >>> circle = dif.constraint(lambda x: (x**2).sum(), 0, 1, [0.0, 0.0], backend="autograd")
    >>> circle.jac([0.5, 1.0])
    array([[1., 2.]])
    >>> circle.hess([0.5, 1.0], [3.0])
    array([[6., 0.],
           [0., 6.]])
    """
    from scipy.optimize import NonlinearConstraint

    function = VectorFunction(f, (x0, *args), options, flat, "constraint")
    adapter = function.backend.first_order()
    parts = Residuals(function)
    given = {"hess": _hessian(function, options)} if hess else {}
    return NonlinearConstraint(
        parts.fun, _bound(lb, adapter, "lb"), _bound(ub, adapter, "ub"), jac=parts.jac,
        keep_feasible=keep_feasible, **given,
    )  # fmt: skip


def _hessian(function: VectorFunction, options: ProblemOptions) -> "_WeightedHessian":
    weighted = VectorFunction(
        _Weighted(function),
        (function.x0, np.zeros(0), *function.constants),
        {**options, **weighted_sparsity(options), "argnums": 0, "backend": function.backend},
        _as_is,
        "constraint",
    )
    return _WeightedHessian(function, weighted.prepared_matrix(_prepared))


def _prepared(f: Any, x: Any, v: Any, *constants: Any, **options: Any) -> Any:
    # Optimizers begin with multipliers of zero, where nothing is to be seen of a pattern.
    return prepare_hessian(f, x, multipliers(v.size, v.dtype), *constants, **options)


def multipliers(size: int, dtype: Any) -> Any:
    """Weights of so many results, under which their Hessians do not cancel."""
    return np.random.default_rng(0).uniform(0.5, 1.5, size).astype(dtype)


def weighted_sparsity(options: ProblemOptions) -> ProblemOptions:
    """How the Hessian is sparse, given how the Jacobian is."""
    given = options.get("sparsity")
    if given is None or isinstance(given, str):
        return {}
    return {"sparsity": "trace"}


class _Weighted:
    """``v . f(x)``, whose Hessian is the weighted sum of those of the results."""

    def __init__(self, function: VectorFunction) -> None:
        self._function = function

    def __call__(self, x: Any, v: Any, *constants: Any, **kwargs: Any) -> Any:
        return (v * self._function(x, *constants, **kwargs)).sum(-1)


class _WeightedHessian:
    """Sum of ``v[i]`` times the Hessian of the i-th result; ``v`` has shape (m,)."""

    def __init__(self, function: VectorFunction, hessian: AtFirstCall) -> None:
        self._function = function
        self._hessian = hessian

    def __call__(self, x: Any, v: Any) -> Any:
        x = self._function.point(x)
        v = np.asarray(v, x.dtype).reshape(-1)
        return self._hessian(x, (v, *self._function.constants)).astype(np.float64, copy=False)


def _bound(given: Any, adapter: Adapter, name: str) -> Any:
    if library_of(given) is not None and np.ndim(given) == 0:
        return given
    return ravel_with(given, adapter, name)[0]


def _as_is(y: Any, x: Any, adapter: Adapter) -> Any:
    return y
