"""One thin interface to derivatives over JAX, PyTorch, autograd and NumPy.

See :func:`gradient`, :func:`jacobian`, :func:`hessian`, :func:`hvp`, :func:`pushforward` and
:func:`pullback`; each has a ``prepare_...`` for repeated calls. ``backend="jax"`` (or ``"torch"``,
``"autograd"``, ``"numpy"``, ``"complex-step"``) says who differentiates.
"""

from typing import TYPE_CHECKING, Any

from diffface._backends import BackendInfo, backends
from diffface._backends import backend_class as _backend_class
from diffface._closure import closure
from diffface._constraint import constraint
from diffface._derivative import (
    derivative,
    prepare_derivative,
    prepare_value_and_derivative,
    value_and_derivative,
)
from diffface._gradient import (
    gradient,
    prepare_gradient,
    prepare_value_and_gradient,
    value_and_gradient,
)
from diffface._hessian import (
    hessian,
    prepare_hessian,
    prepare_value_gradient_and_hessian,
    value_gradient_and_hessian,
)
from diffface._hvp import gradient_and_hvp, hvp, prepare_gradient_and_hvp, prepare_hvp
from diffface._jacobian import (
    jacobian,
    prepare_jacobian,
    prepare_value_and_jacobian,
    value_and_jacobian,
)
from diffface._linearize import linearize
from diffface._logdensity import LogDensity, log_density
from diffface._namespace import namespace
from diffface._objective import Objective, objective
from diffface._pullback import (
    prepare_pullback,
    prepare_value_and_pullback,
    pullback,
    value_and_pullback,
)
from diffface._pushforward import (
    prepare_pushforward,
    prepare_value_and_pushforward,
    pushforward,
    value_and_pushforward,
)
from diffface._ravel import ravel
from diffface._residuals import Residuals, residuals
from diffface._second_derivative import (
    prepare_second_derivative,
    prepare_value_derivative_and_second_derivative,
    second_derivative,
    value_derivative_and_second_derivative,
)
from diffface._unravel import Unravel
from diffface._using import using
from diffface._vjp import vjp
from diffface.backends._errors import (
    BackendNotAvailableError,
    DifffaceError,
    InvalidArgumentError,
    NotDifferentiableError,
    PreparationMismatchError,
    PreparationWarning,
    UnknownBackendError,
    UnsupportedOperatorError,
)
from diffface.backends._registry import register_backend
from diffface.backends._second_order import SecondOrder
from diffface.prep._const import Const
from diffface.prep._prepared import Prepared

if TYPE_CHECKING:
    from diffface.backends._autograd import Autograd
    from diffface.backends._complex_step import ComplexStep
    from diffface.backends._finite_differences import FiniteDifferences
    from diffface.backends._jax import JAX
    from diffface.backends._torch import Torch

__all__ = [
    "JAX",
    "Autograd",
    "BackendInfo",
    "BackendNotAvailableError",
    "ComplexStep",
    "Const",
    "DifffaceError",
    "FiniteDifferences",
    "InvalidArgumentError",
    "LogDensity",
    "NotDifferentiableError",
    "Objective",
    "PreparationMismatchError",
    "PreparationWarning",
    "Prepared",
    "Residuals",
    "SecondOrder",
    "Torch",
    "UnknownBackendError",
    "Unravel",
    "UnsupportedOperatorError",
    "backends",
    "closure",
    "constraint",
    "derivative",
    "gradient",
    "gradient_and_hvp",
    "hessian",
    "hvp",
    "jacobian",
    "linearize",
    "log_density",
    "namespace",
    "objective",
    "prepare_derivative",
    "prepare_gradient",
    "prepare_gradient_and_hvp",
    "prepare_hessian",
    "prepare_hvp",
    "prepare_jacobian",
    "prepare_pullback",
    "prepare_pushforward",
    "prepare_second_derivative",
    "prepare_value_and_derivative",
    "prepare_value_and_gradient",
    "prepare_value_and_jacobian",
    "prepare_value_and_pullback",
    "prepare_value_and_pushforward",
    "prepare_value_derivative_and_second_derivative",
    "prepare_value_gradient_and_hessian",
    "pullback",
    "pushforward",
    "ravel",
    "register_backend",
    "residuals",
    "second_derivative",
    "using",
    "value_and_derivative",
    "value_and_gradient",
    "value_and_jacobian",
    "value_and_pullback",
    "value_and_pushforward",
    "value_derivative_and_second_derivative",
    "value_gradient_and_hessian",
    "vjp",
]


def __getattr__(name: str) -> Any:
    # The classes of backends import their libraries, so they are fetched when asked for.
    return _backend_class(name)
