"""Solutions of equations, with the derivatives of the implicit function theorem."""

import functools
from collections.abc import Callable
from typing import Any

from diffface.backends.compiled import Array, Arrays
from diffface.prep.arguments.tree import flatten, unflatten
from diffface.rules.arguments import moves
from diffface.rules.custom_rule import CustomRule
from diffface.rules.operation import Derivative
from diffface.rules.residual import LinearSolve, Residual, adapter_of


def implicit(
    residual: Callable[..., Any],
    solve: Callable[..., Any],
    /,
    *,
    linear_solve: LinearSolve | None = None,
    black_box: bool = True,
    shape: Callable[..., Any] | None = None,
) -> CustomRule:
    """Make ``x(p)`` with ``residual(x, p) = 0`` a function that can be differentiated.

    Parameters
    ----------
    residual : callable
        ``residual(x, *params)``, an array of the shape of ``x``, written with
        `diffface.namespace`. It is only called where a derivative is wanted.
    solve : callable
        ``solve(*params)`` returns the array ``x``, by whatever means. Keyword-only parameters that
        ``residual`` does not take, and defaults for which it has no place or an option of another
        name there, are options of its own.
    linear_solve : callable, optional
        ``linear_solve(product, b)`` returns ``w`` with ``product(w) = b``, where ``product`` is
        linear: ``w -> A w`` or ``w -> A^H w`` for ``A = d residual / dx``. By default ``A`` is
        computed and solved with as a dense matrix.
    black_box : bool, default True
        ``solve`` is NumPy code. With False it gets arrays of the framework.
    shape : callable, optional
        ``shape(*params)`` returns an array like ``x``. By default ``solve`` is called once, at
        arguments full of ones, where a program is compiled and values are hidden.

    Returns
    -------
    CustomRule
        ``x`` as a function of the parameters, of both modes and to any order. One call solves the
        equation once, and each derivative takes one linear system.

    Raises
    ------
    NotDifferentiableError
        At a derivative, if ``A`` is singular.

    Notes
    -----
    ``dx = -A^-1 (d residual / dp) dp``, see S. G. Krantz and H. R. Parks, The Implicit Function
    Theorem, 2002. Wherever ``solve`` stops early, the derivative is that at the exact solution
    only up to the same error.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> from scipy import optimize
    >>> def cubic(x, p):
    ...     return x**3 + x - p
    >>> root = dif.implicit(cubic, lambda p: optimize.root(cubic, np.ones(1), args=(p,)).x)
    >>> dif.jacobian(root, np.array([2.0]), backend="jax").round(6)
    array([[0.25]])
    """
    function = CustomRule(solve, black_box=black_box, copy=True, shape=shape)

    @function.pullback
    def _(active: Any, saved: Any, dy: Any) -> Any:
        x, *params = saved
        at = Residual(residual, function.signature, x, params, active)
        with at.scope():
            w = at.solved(-dy, linear_solve, transposed=True)
            return at.entries(at.pulled_to_params(w))

    def push(active: Any, x: Any, params: Any, tangents: Any) -> Any:
        at = Residual(residual, function.signature, x, params, active)
        with at.scope():
            return at.solved(-at.pushed_from_params(tangents), linear_solve, transposed=False)

    # It takes the solution, so that nothing is solved twice.
    function.pushes.rules[None] = Derivative(push, black_box=False, takes_value=True)
    return function


def fixed_point(f: Callable[..., Any], solve: Callable[..., Any], /, **keywords: Any) -> CustomRule:
    """Make ``x(p)`` with ``x = f(x, p)`` a function that can be differentiated.

    Parameters
    ----------
    f : callable
        ``f(x, *params)``, written with `diffface.namespace`.
    solve : callable
        ``solve(*params)`` returns the array ``x``.
    **keywords
        As for `implicit`.

    Returns
    -------
    CustomRule
        ``x`` as a function of the parameters.

    Raises
    ------
    NotDifferentiableError
        At a derivative, if ``1 - df/dx`` is singular.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> def babylonian(x, p):
    ...     return (x + p / x) / 2
    >>> def iterate(p):
    ...     x = p
    ...     for _ in range(20):
    ...         x = babylonian(x, p)
    ...     return x
    >>> root = dif.fixed_point(babylonian, iterate)
    >>> dif.jacobian(root, np.array([4.0]), backend="torch")
    array([[0.25]])
    """

    @functools.wraps(f)
    def residual(x: Array, *params: Any, **options: Any) -> Array:
        return x - f(x, *params, **options)

    return implicit(residual, solve, **keywords)


def argmin(f: Callable[..., Any], solve: Callable[..., Any], /, **keywords: Any) -> CustomRule:
    """Make the minimiser ``x(p)`` of ``f(x, p)`` a function that can be differentiated.

    Parameters
    ----------
    f : callable
        ``f(x, *params)``, a real scalar, written with `diffface.namespace`; smooth near the
        minimum, which lies in the open.
    solve : callable
        ``solve(*params)`` returns the array ``x``.
    **keywords
        As for `implicit`.

    Returns
    -------
    CustomRule
        ``x`` as a function of the parameters.

    Raises
    ------
    NotDifferentiableError
        At a derivative, if the Hessian is singular.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> def f(x, p):
    ...     return dif.namespace(x, p).sum((x - p) ** 2) + 0.5 * dif.namespace(x, p).sum(x * x)
    >>> best = dif.argmin(f, lambda p: p / 1.5)
    >>> dif.jacobian(best, np.array([1.0]), backend="autograd").round(12)
    array([[0.66666667]])
    """

    @functools.wraps(f)
    def slope(x: Array, *params: Any, **options: Any) -> Array:
        leaves, spec = flatten(params)
        places = [i for i, a in enumerate(leaves) if moves(a)]
        adapter = adapter_of((x, *leaves))

        def of_all(arrays: Arrays) -> tuple[Arrays, Arrays]:
            changed = list(leaves)
            for i, value in zip(places, arrays[1:], strict=True):
                changed[i] = value
            return (f(arrays[0], *unflatten(spec, changed), **options),), ()

        # With respect to the parameters as well, which may be differentiated outside.
        return adapter.gradient(of_all, (x, *(leaves[i] for i in places)))[1][0]

    return implicit(slope, solve, **keywords)
