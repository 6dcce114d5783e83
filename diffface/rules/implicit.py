"""Solutions of equations, with the derivatives of the implicit function theorem."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.namespace import namespace
from diffface.backends.owner import computing, owner_of
from diffface.backends.registry import resolve
from diffface.operators.calculus import jacobian
from diffface.prep.arguments.tree import flatten, unflatten
from diffface.rules.arguments import is_array
from diffface.rules.custom_rule import CustomRule, custom_rule

LinearSolve = Callable[[Callable[[Array], Array], Array], Array]


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
        ``solve(*params)`` returns the array ``x``, by whatever means.
    linear_solve : callable, optional
        ``linear_solve(product, b)`` returns ``w`` with ``product(w) = b``, where ``product`` is
        linear: ``w -> A w`` or ``w -> A^T w`` for ``A = d residual / dx``. By default ``A`` is
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
        at = _Point(residual, function.names, x, params, active)
        with at.scope():
            w = at.solved(-dy, linear_solve, transposed=True)
            return at.entries(at.pulled_to_params(w))

    @function.pushforward
    def _(active: Any, params: Any, tangents: Any) -> Any:
        x = function(*params)
        at = _Point(residual, function.names, x, list(params), active)
        with at.scope():
            return at.solved(-at.pushed_from_params(tangents), linear_solve, transposed=False)

    return function


class _Point:
    """The residual at a solution, as a function of ``x`` and of the active parameters."""

    def __init__(
        self, residual: Callable[..., Any], names: Sequence[str], x: Array, params: list[Any],
        active: frozenset[str],
    ) -> None:  # fmt: skip
        self._residual = residual
        self._x = x
        self._params = params
        self._active = [name in active for name in names]
        self._leaves, self._spec = flatten(tuple(params))
        moving = flatten(tuple(_marked(p, a) for p, a in zip(params, self._active, strict=True)))[0]
        self._places = [i for i, m in enumerate(moving) if m]
        self._adapter = _adapter_of((x, *self._leaves))

    def scope(self) -> Any:
        """What differentiating here needs of the library's global state."""
        return self._adapter.scope(())

    def _at(self, x: Array, moving: Sequence[Any]) -> tuple[Arrays, Arrays]:
        leaves = list(self._leaves)
        for i, value in zip(self._places, moving, strict=True):
            leaves[i] = value
        found = self._residual(x, *unflatten(self._spec, leaves))
        if tuple(found.shape) != tuple(self._x.shape):
            raise NotDifferentiableError(
                f"The residual must have the shape {tuple(self._x.shape)} of x, got "
                f"{tuple(found.shape)}."
            )
        return (found,), ()

    def _of_x(self, x: Arrays) -> tuple[Arrays, Arrays]:
        return self._at(x[0], self._moving())

    def _of_params(self, moving: Arrays) -> tuple[Arrays, Arrays]:
        return self._at(self._x, moving)

    def _moving(self) -> Arrays:
        return tuple(self._leaves[i] for i in self._places)

    def pulled_to_params(self, w: Array) -> Arrays:
        """``(d residual / dp)^T w``."""
        _, pull, _ = self._adapter.pullback(self._of_params, self._moving())
        pulled: Arrays = pull((w,))
        return pulled

    def pushed_from_params(self, tangents: Sequence[Any]) -> Array:
        """``(d residual / dp) dp``."""
        flat = [
            leaf
            for t, p, a in zip(tangents, self._params, self._active, strict=True)
            if a
            for leaf, m in zip(_like(t, p), flatten(_marked(p, a))[0], strict=True)
            if m
        ]
        return self._adapter.pushforward(self._of_params, self._moving(), tuple(flat))[1][0]

    def solved(self, b: Array, linear_solve: LinearSolve | None, *, transposed: bool) -> Array:
        """``w`` with ``A w = b``, or ``A^T w = b``."""
        adapter, xp = self._adapter, self._adapter.xp
        if linear_solve is None:
            # By rows, which nest in every mode of every backend.
            _, (block,), _ = jacobian(
                adapter,
                self._of_x,
                (self._x,),
                mode="reverse" if adapter.reverse else "auto",
                chunk_size=None,
                value=False,
            )
            size = int(np.prod(self._x.shape))
            matrix = xp.reshape(block, (size, size))
            matrix = xp.permute_dims(matrix, (1, 0)) if transposed else matrix
            return xp.reshape(solve_dense(matrix, xp.reshape(b, (size,))), tuple(self._x.shape))
        if transposed:
            _, pull, _ = adapter.pullback(self._of_x, (self._x,))
            return linear_solve(lambda w: pull((w,))[0], b)
        return linear_solve(lambda w: adapter.pushforward(self._of_x, (self._x,), (w,))[1][0], b)

    def entries(self, dx: Arrays) -> tuple[Any, ...]:
        """Derivatives of the active leaves as one tree for each parameter."""
        leaves: list[Any] = [None] * len(self._leaves)
        for i, d in zip(self._places, dx, strict=True):
            leaves[i] = d
        trees: Any = unflatten(self._spec, leaves)
        return tuple(t if a else None for t, a in zip(trees, self._active, strict=True))


def _adapter_of(values: Sequence[Any]) -> Any:
    """Who differentiates ``values``, or computes a derivative with them."""
    return owner_of(values) or computing.get() or resolve("numpy")


def _marked(tree: Any, active: bool) -> Any:
    """``tree`` with True for each array that has a derivative and is active, else False."""
    leaves, spec = flatten(tree)
    return unflatten(spec, [active and is_array(a) and _is_inexact(a) for a in leaves])


def _is_inexact(a: Any) -> bool:
    return any(name in str(a.dtype) for name in ("float", "complex"))


def _like(tangent: Any, tree: Any) -> list[Any]:
    _, spec = flatten(tree)
    leaves: list[Any] = spec.flatten_up_to(tangent)
    return leaves


@custom_rule(black_box=True, copy=False, shape=lambda matrix, b: b)
def solve_dense(matrix: Any, b: Any) -> Any:
    """``matrix^-1 b``, or an error where there is none."""
    try:
        x = np.linalg.solve(matrix, b)
    except np.linalg.LinAlgError:
        x = np.full_like(b, np.nan)
    if not np.all(np.isfinite(x)) and np.all(np.isfinite(matrix)) and np.all(np.isfinite(b)):
        raise NotDifferentiableError(
            "The derivative of the residual with respect to x is singular at the solution, so that "
            "the solution has no derivative there."
        )
    return x


@solve_dense.pullback
def _(active: Any, saved: Any, dy: Any) -> Any:
    x, matrix, _ = saved
    xp = namespace(matrix, dy)
    w = solve_dense(xp.permute_dims(matrix, (1, 0)), dy)
    return -w[:, None] * x[None, :] if "matrix" in active else None, w


@solve_dense.pushforward
def _(active: Any, args: Any, tangents: Any) -> Any:
    matrix, b = args
    d_matrix, db = tangents
    right = 0.0 if db is None else db
    if d_matrix is not None:
        right = right - d_matrix @ solve_dense(matrix, b)
    return solve_dense(matrix, right)


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
    return implicit(lambda x, *params: x - f(x, *params), solve, **keywords)


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

    def slope(x: Array, *params: Any) -> Array:
        leaves, spec = flatten(params)
        places = [i for i, a in enumerate(leaves) if is_array(a) and _is_inexact(a)]
        adapter = _adapter_of((x, *leaves))

        def of_all(arrays: Arrays) -> tuple[Arrays, Arrays]:
            changed = list(leaves)
            for i, value in zip(places, arrays[1:], strict=True):
                changed[i] = value
            return (f(arrays[0], *unflatten(spec, changed)),), ()

        # With respect to the parameters as well, which may be differentiated outside.
        return adapter.gradient(of_all, (x, *(leaves[i] for i in places)))[1][0]

    return implicit(slope, solve, **keywords)
