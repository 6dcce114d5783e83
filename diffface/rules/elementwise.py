"""Functions of single elements, such as SciPy's, with their partial derivatives."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffface.backends.errors import InvalidArgumentError, NotDifferentiableError
from diffface.backends.namespace import namespace
from diffface.rules.custom_rule import CustomRule

Partial = Callable[..., Any]


def elementwise(f: Callable[..., Any], /, *partials: Partial | None) -> CustomRule:
    """Make a function of NumPy or SciPy one of every backend, by its partial derivatives.

    Parameters
    ----------
    f : callable
        A ufunc, or NumPy code that treats every element alike and broadcasts its arguments.
    *partials : callable or None
        ``df/dx_i`` for each argument of ``f``: a function of all arguments that broadcasts as
        well, written with `diffface.namespace` and functions made by `elementwise`, the result
        itself among them; so there are derivatives of any order. For complex arguments, ``f`` is
        holomorphic. None where ``f`` is not to be differentiated.

    Returns
    -------
    CustomRule
        The function.

    Raises
    ------
    InvalidArgumentError
        If the number of partial derivatives is not that of the arguments.
    NotDifferentiableError
        At a call, if an argument is active that has none.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> from scipy import special
    >>> erfcx = dif.elementwise(special.erfcx, lambda x: 2 * x * erfcx(x) - 2 / np.pi**0.5)
    >>> dif.second_derivative(erfcx, 0.0, backend="jax")
    2.0
    """
    names = _names(f, len(partials))

    def value(*args: Any) -> Any:
        return f(*args)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    value.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # read by inspect
        [inspect.Parameter(name, kind) for name in names]
    )
    value.__name__ = getattr(f, "__name__", type(f).__name__)
    value.__doc__ = f.__doc__
    function = CustomRule(value, black_box=True, copy=False, shape=_shape_of(f))
    function.elementwise = True

    def slope(name: str, args: Sequence[Any]) -> Any:
        partial = partials[names.index(name)]
        if partial is None:
            raise NotDifferentiableError(
                f"`{value.__name__}` has no partial derivative with respect to `{name}`; give one "
                "to `elementwise`, or keep that argument constant."
            )
        return partial(*args)

    @function.pullback
    def _(active: Any, saved: Any, dy: Any) -> Any:
        _, *args = saved
        xp = namespace(*args, dy)
        return tuple(
            _summed(xp, _conj(xp, slope(name, args)) * dy, x) if name in active else None
            for name, x in zip(names, args, strict=True)
        )

    @function.pushforward
    def _(active: Any, args: Any, tangents: Any) -> Any:
        terms = [
            slope(name, args) * dx
            for name, dx in zip(names, tangents, strict=True)
            if dx is not None
        ]
        total = sum(terms[1:], start=terms[0])
        xp = namespace(total)
        shape = np.broadcast_shapes(*(np.shape(a) if np.isscalar(a) else a.shape for a in args))
        return total if tuple(total.shape) == shape else xp.broadcast_to(total, shape)

    return function


def _names(f: Any, count: int) -> list[str]:
    """Names for the arguments of ``f``, which has partial derivatives for ``count``."""
    expected = f.nin if isinstance(f, np.ufunc) else None
    if not callable(f) or count == 0 or expected not in (None, count):
        raise InvalidArgumentError(
            f"`elementwise` needs a function and a partial derivative for each argument, or None, "
            f"got {getattr(f, '__name__', type(f).__name__)} and {count}."
        )
    if expected is None:
        try:
            found = list(inspect.signature(f).parameters)
        except (TypeError, ValueError):
            found = []
        if len(found) == count:
            return found
    return ["x"] if count == 1 else [f"x{i}" for i in range(count)]


def _shape_of(f: Callable[..., Any]) -> Callable[..., Any]:
    def shape(*args: Any) -> Any:
        """An array like the result, from one element of each argument."""
        single = np.asarray(f(*(np.ones((), np.result_type(a)) for a in args)))
        return np.broadcast_to(single, np.broadcast_shapes(*map(np.shape, args)))

    return shape


def _conj(xp: Any, a: Any) -> Any:
    return xp.conj(a) if xp.isdtype(a.dtype, "complex floating") else a


def _summed(xp: Any, a: Any, like: Any) -> Any:
    """``a`` summed over the axes along which ``like`` was repeated."""
    extra = len(a.shape) - len(like.shape)
    if extra:
        a = xp.sum(a, axis=tuple(range(extra)))
    repeated = tuple(i for i, (n, m) in enumerate(zip(a.shape, like.shape, strict=True)) if n != m)
    return xp.sum(a, axis=repeated, keepdims=True) if repeated else a
