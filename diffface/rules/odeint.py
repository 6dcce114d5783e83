"""Ordinary differential equations: solutions that can be differentiated."""

from collections.abc import Callable
from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Arrays
from diffface.backends.errors import InvalidArgumentError, NotDifferentiableError
from diffface.backends.registry import owner_of
from diffface.prep.arguments.tree import flatten, leaves_of, unflatten
from diffface.rules.arguments import Arguments, moves, split
from diffface.rules.bridge import Inner
from diffface.rules.field import Field, Solver
from diffface.rules.operation import copied, numpy_adapter
from diffface.rules.solution import Path


def odeint(
    rhs: Callable[..., Any],
    y0: Any,
    t: Any,
    /,
    *params: Any,
    rtol: float = 1e-8,
    atol: float = 1e-8,
    method: str = "DOP853",
    events: None = None,
) -> Any:
    """Solve ``dy/dt = rhs(y, t, *params)`` from ``y0`` at ``t[0]``, differentiably.

    Parameters
    ----------
    rhs : callable
        Returns ``dy/dt``, like ``y``: an array or a tree of arrays. Written with
        `diffface.namespace`, or for the framework that differentiates. A derivative is that with
        respect to ``y0`` and ``params``; what ``rhs`` captures is constant.
    y0 : array or tree of arrays
        The state at ``t[0]``, real or complex.
    t : array of shape (n,)
        Times, strictly increasing or decreasing, at which the solution is wanted. They are
        constant.
    *params : array or tree of arrays
        Further arguments of ``rhs``.
    rtol, atol : float, default 1e-8
        Relative and absolute tolerance of a step, for ``y`` and for its derivatives, which are
        measured in units of what they are derivatives with respect to. Finite differences
        (``backend="numpy"``) see the solver's errors divided by their step: make both smaller.
    method : str, default "DOP853"
        A method of `scipy.integrate.solve_ivp`; "Radau", "BDF" or "LSODA" for stiff equations.
    events : None
        Refused: where a solution stops at an event, its derivatives are others.

    Returns
    -------
    array or tree of arrays
        The solution like ``y0``, with a leading axis for the times. It is computed in double
        precision, and has the dtype of ``y0``.

    Raises
    ------
    InvalidArgumentError
        If ``y0`` or ``t`` are no such arrays, ``rhs`` returns something else than a state, or
        there are events.
    SolverError
        If the solver gives up, or finds numbers that are not finite.
    NotDifferentiableError
        At a derivative with respect to ``t``.

    Notes
    -----
    Forward sensitivities solve ``ds/dt = df/dy s + df/dp dp`` beside the equation. The adjoint
    solves ``da/dt = -(df/dy)^H a`` backwards along the stored solution, with the cotangent of
    ``y(t_k)`` added at ``t_k``; the derivatives are ``a(t_0)`` and the integral of
    ``(df/dp)^H a`` [1]_ [2]_. Both are differentiable again. Derivatives are those of the exact
    solution, not of the steps of the solver. `rhs` and its products are compiled at each call, by
    the backend that differentiates, unless the call itself is in a prepared function.

    References
    ----------
    .. [1] R. Serban and A. C. Hindmarsh, CVODES: the sensitivity-enabled ODE solver in SUNDIALS,
       Proceedings of IDETC/CIE 2005, ASME, DETC2005-85597.
    .. [2] Y. Cao, S. Li, L. Petzold and R. Serban, Adjoint sensitivity analysis for
       differential-algebraic equations: the adjoint DAE system and its numerical solution, SIAM
       Journal on Scientific Computing 24 (2003), 1076-1089.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> def decay(y, t, rate):
    ...     return -rate * y
    >>> def final(y0, rate):
    ...     return dif.odeint(decay, y0, np.array([0.0, 1.0]), rate)[-1]
    >>> dif.jacobian(final, dif.Const(np.ones(1)), np.array(2.0), backend="autograd").round(6)
    array([-0.135335])
    """
    if events is not None:
        raise InvalidArgumentError(
            "`odeint` takes no events: it has no derivatives of the times at which they happen. "
            "Find such a time with `diffface.implicit`, and solve up to it."
        )
    values = _with_arrays((y0, t, params))
    _check(*values[:2])
    adapter = owner_of(leaves_of(values))
    own = adapter or numpy_adapter()
    arguments, x = split(("y0", "t", "params"), values, own)
    x = tuple(map(copied, x))  # nobody overwrites what a derivative needs later
    path = _path(rhs, arguments, own, Solver(float(rtol), float(atol), method))
    y = path.evaluate(x) if adapter is None else adapter.primitive(path, x)
    return unflatten(arguments.specs[0], y)


def _with_arrays(tree: Any) -> Any:
    """``tree`` with arrays for Python's floats, so that they are values and nothing static."""
    leaves, spec = flatten(tree)
    return unflatten(spec, [np.asarray(a) if type(a) in (float, complex) else a for a in leaves])


def _check(y0: Any, t: Any) -> None:
    leaves, _ = flatten(y0)
    if not leaves or not all(map(moves, leaves)):
        raise InvalidArgumentError("`y0` must be a floating-point array, or a tree of them.")
    if not moves(t) or len(t.shape) != 1 or not t.shape[0]:
        raise InvalidArgumentError(
            "`t` must be a floating-point array of shape (n,): the times at which the solution is "
            "wanted, the first of which is that of `y0`."
        )


def _path(rhs: Callable[..., Any], arguments: Arguments, adapter: Adapter, solver: Solver) -> Path:
    state, is_traced = arguments.specs[0], adapter.arrays.is_traced

    def slope(x: Arrays) -> Arrays:
        try:
            leaves = state.flatten_up_to(rhs(*_called_with(arguments, x)))
        except ValueError as error:
            raise InvalidArgumentError(
                f"`rhs` must return the structure of `y0`: {error}."
            ) from None
        found = tuple(_fitted(adapter, a, y) for a, y in zip(leaves, x, strict=False))
        if any(map(is_traced, found)) and not any(map(is_traced, x)):
            raise NotDifferentiableError(
                "`rhs` uses a value that is differentiated outside of it; pass that one to "
                "`odeint` as a parameter."
            )
        return found

    _, stacked = adapter.second_order()
    field = Field(Inner(slope, slope, adapter, stacked), state.num_leaves)
    return Path("odeint", field, solver, adapter)


def _called_with(arguments: Arguments, x: Arrays) -> list[Any]:
    y, t, params = arguments.filled(x)
    return [y, t, *params]


def _fitted(adapter: Adapter, slope: Any, y: Any) -> Any:
    """One array of what ``rhs`` returned."""
    try:
        found = adapter.lift(slope, y)
    except TypeError:
        found = None
    if found is None or tuple(found.shape) != tuple(y.shape):
        shown = type(slope).__name__ if found is None else f"shape {tuple(found.shape)}"
        raise InvalidArgumentError(
            f"`rhs` must return an array of shape {tuple(y.shape)}, like `y0`, got {shown}."
        )
    return found
