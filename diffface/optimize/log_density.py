"""A log density as samplers want it."""

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from diffface.optimize.objective import Objective, one_number
from diffface.optimize.residuals import ProblemOptions, VectorFunction


def log_density(
    f: Callable[..., Any], x0: Any, /, *args: Any, **options: Unpack[ProblemOptions]
) -> "LogDensity":
    """A log density and its gradient on flat vectors, for Hamiltonian samplers.

    Parameters
    ----------
    f : callable
        ``f(x0, *args)`` returns one real number, the log density up to a constant.
    x0 : array, number, list of numbers, or tree of arrays and numbers
        A point: ``f`` gets its parameters in this structure and these shapes.
    *args
        Data: constants, in ``Const`` or not, unless ``argnums`` says otherwise.
    **options : ProblemOptions
        ``backend``, ``argnums``, ``kwargs``, ``fallback``.

    Returns
    -------
    LogDensity
        Nothing is prepared before its first use.

    Raises
    ------
    NotDifferentiableError
        If a parameter is not real and floating-point.

    Examples
    --------
    >>> import diffface as dif
    >>> normal = dif.log_density(lambda x: -0.5 * (x**2).sum(), [0.0, 0.0], backend="autograd")
    >>> normal.logdensity_and_gradient([1.0, 2.0])
    (-2.5, array([-1., -2.]))
    """
    function = VectorFunction(f, (x0, *args), options, one_number, "log_density")
    return LogDensity(function)


class LogDensity:
    """What :func:`log_density` returns.

    Attributes
    ----------
    x0 : numpy.ndarray of shape (n,), float64
        The point it was made with.
    dimension : int
        Length ``n`` of a flat vector.
    unravel : Unravel
        ``unravel(x)`` is the tree of parameters at ``x``.
    """

    def __init__(self, function: VectorFunction) -> None:
        self.x0 = function.x0
        self.dimension = function.unravel.size
        self.unravel = function.unravel
        self._function = function
        self._objective = Objective(function)

    def __repr__(self) -> str:
        return f"<log density {self._function!r}>"

    def logdensity(self, x: Any) -> float:
        """Log density at ``x``, shape (n,)."""
        return self._objective.fun(x)

    def logdensity_and_gradient(self, x: Any) -> tuple[float, Any]:
        """Log density at ``x``, shape (n,), and its gradient, shape (n,), float64."""
        return self._objective.fun_and_jac(x)

    def unravel_samples(self, samples: Any) -> Any:
        """Samples of shape (k, n) as one tree of arrays with a leading axis of length k."""
        return self.unravel.batch(np.asarray(samples))
