"""A log density as samplers want it."""

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from diffface.backends.errors import InvalidArgumentError
from diffface.backends.libraries import library_of
from diffface.operators.call import backend_for, prepare_value
from diffface.operators.gradient import prepare_value_and_gradient
from diffface.optimize.constrained import Constrained, Parameters
from diffface.optimize.objective import Objective, one_number
from diffface.optimize.options import FunctionOptions, check
from diffface.optimize.unravel import Unravel
from diffface.optimize.vector_function import VectorFunction
from diffface.prep.arguments.bind import bind


def log_density(
    f: Callable[..., Any],
    x0: Any,
    /,
    *args: Any,
    transforms: Any = None,
    **options: Unpack[FunctionOptions],
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
    transforms : Transform or tree of them, optional
        How parameters are constrained: :data:`positive`, :func:`interval` or :data:`simplex` for
        each leaf of ``x0``, None where it is free; or one for all. Samplers then move through
        vectors without constraints: ``f`` gets the parameters as ever, and the logarithm of the
        transform's Jacobian determinant is added to what it returns.
    **options : FunctionOptions
        ``backend``, ``argnums``, ``kwargs``, ``fallback``.

    Returns
    -------
    LogDensity
        Nothing is prepared before its first use. It takes many points at once, too, as samplers of
        ensembles want it: ``emcee.EnsembleSampler(..., density.logdensity, vectorize=True)``.

    Raises
    ------
    NotDifferentiableError
        If a parameter is not real and floating-point.
    InvalidArgumentError
        If ``x0`` does not obey the constraints, ``transforms`` have another structure, or come
        together with ``argnums``.

    Examples
    --------
    >>> import diffface as dif
    >>> normal = dif.log_density(lambda x: -0.5 * (x**2).sum(), [0.0, 0.0], backend="autograd")
    >>> normal.logdensity_and_gradient([1.0, 2.0])
    (-2.5, array([-1., -2.]))

    A scale, which is positive: the sampler sees its logarithm.

    >>> scale = dif.log_density(lambda s: -s, 1.0, transforms=dif.positive, backend="autograd")
    >>> scale.logdensity_and_gradient([0.0]), scale.unravel([0.0])
    ((-1.0, array([0.])), 1.0)
    """
    if transforms is None:
        function = _function(f, (x0, *args), options)
        return LogDensity(function, function.unravel)
    if options.get("argnums") not in (None, 0):
        raise InvalidArgumentError(
            "`transforms` are for the first argument; leave `argnums` out, or put all parameters "
            "into one tree."
        )
    check(f, options, FunctionOptions, "log_density")
    chosen = backend_for(options.get("backend"), bind((x0, *args), 0, options.get("kwargs")))
    parameters = Parameters(x0, chosen.first_order(), transforms)
    density = Constrained(f, parameters.transforms, parameters.free)
    function = _function(density, (parameters.start, *args), options)
    return LogDensity(function, parameters)


def _function(
    f: Callable[..., Any], args: tuple[Any, ...], options: FunctionOptions
) -> VectorFunction:
    return VectorFunction(f, args, options, one_number, "log_density", FunctionOptions)


class LogDensity:
    """What :func:`log_density` returns.

    Of one ``x`` that the backend's framework traces or differentiates, as blackjax's and NumPyro's
    samplers do, every method returns what may be traced further.

    Attributes
    ----------
    x0 : numpy.ndarray of shape (n,), float64
        The point it was made with, without constraints.
    dimension : int
        Length ``n`` of a flat vector.
    unravel : Unravel or Parameters
        ``unravel(x)`` is the tree of parameters at ``x``, which obey their constraints.
    """

    def __init__(self, function: VectorFunction, unravel: Unravel | Parameters) -> None:
        self.x0: NDArray[np.float64] = function.x0
        self.dimension = function.unravel.size
        self.unravel = unravel
        self._function = function
        self._objective = Objective(function)
        self._values = function.prepared_points(prepare_value)
        self._values_and_gradients = function.prepared_points(prepare_value_and_gradient)

    def __repr__(self) -> str:
        return f"<log density {self._function!r}>"

    def logdensity(self, x: Any) -> Any:
        """Log density at ``x``, shape (n,); or at k points, shape (k, n), then of shape (k,).

        It is a float.
        """
        if np.ndim(x) != 2:
            return self._objective.fun(x)
        return _plain(self._values(self._function.points(x), self._function.constants))

    def logdensity_and_gradient(self, x: Any) -> tuple[Any, NDArray[np.float64]]:
        """Log density at ``x``, shape (n,), and its gradient, shape (n,), float64.

        At k points, shape (k, n), these are of shape (k,) and (k, n).
        """
        if np.ndim(x) != 2:
            return self._objective.fun_and_jac(x)
        found = self._values_and_gradients(self._function.points(x), self._function.constants)
        values, gradients = map(_plain, found)
        return values, gradients

    def gradient(self, x: Any) -> NDArray[np.float64]:
        """Gradient of the log density at ``x``, shape (n,), float64."""
        return self._objective.jac(x)

    def hessian(self, x: Any) -> NDArray[np.float64]:
        """Hessian of the log density at ``x``, shape (n, n), float64."""
        found: NDArray[np.float64] = self._objective.hess(x)
        return found

    def unravel_samples(self, samples: Any) -> Any:
        """Samples of shape (k, n) as one tree of arrays with a leading axis of length k."""
        return self.unravel.batch(np.asarray(samples))


def _plain(result: Any) -> Any:
    """Results of many points, which data in tensors make tensors, as NumPy arrays."""
    kind = library_of(result)
    assert kind is not None
    return np.asarray(kind.to_numpy(result), np.float64)
