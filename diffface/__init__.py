"""One thin interface to derivatives over JAX, PyTorch, autograd and NumPy.

See :func:`gradient`, :func:`jacobian`, :func:`hessian`, :func:`hvp`, :func:`pushforward` and
:func:`pullback`; each has a ``prepare_...`` for repeated calls. ``backend="jax"`` (or ``"torch"``,
``"autograd"``, ``"numpy"``, ``"complex-step"``) says who differentiates.
"""

from typing import TYPE_CHECKING, Any

from diffface.backends.errors import (
    BackendNotAvailableError,
    DifffaceError,
    InvalidArgumentError,
    NotDifferentiableError,
    PreparationMismatchError,
    PreparationWarning,
    SolverError,
    SparsityError,
    UnknownBackendError,
    UnsupportedOperatorError,
)
from diffface.backends.namespace import namespace
from diffface.backends.registry import BackendInfo, list_backends, register_backend
from diffface.backends.second_order import SecondOrder
from diffface.operators.at_point import linearize, vjp
from diffface.operators.call import using
from diffface.operators.derivative import (
    derivative,
    prepare_derivative,
    prepare_second_derivative,
    prepare_value_and_derivative,
    prepare_value_derivative_and_second_derivative,
    second_derivative,
    value_and_derivative,
    value_derivative_and_second_derivative,
)
from diffface.operators.gradient import (
    gradient,
    prepare_gradient,
    prepare_value_and_gradient,
    value_and_gradient,
)
from diffface.operators.hessian import (
    hessian,
    prepare_hessian,
    prepare_value_gradient_and_hessian,
    value_gradient_and_hessian,
)
from diffface.operators.hvp import gradient_and_hvp, hvp, prepare_gradient_and_hvp, prepare_hvp
from diffface.operators.jacobian import (
    jacobian,
    prepare_jacobian,
    prepare_value_and_jacobian,
    value_and_jacobian,
)
from diffface.operators.listing import attribute as _attribute
from diffface.operators.listing import list_keywords as _list_keywords
from diffface.operators.pullback import (
    prepare_pullback,
    prepare_value_and_pullback,
    pullback,
    value_and_pullback,
)
from diffface.operators.pushforward import (
    prepare_pushforward,
    prepare_value_and_pushforward,
    pushforward,
    value_and_pushforward,
)
from diffface.operators.sparsity import hessian_sparsity, jacobian_sparsity
from diffface.optimize.closure import closure
from diffface.optimize.constrained import interval, positive, simplex
from diffface.optimize.constraint import constraint
from diffface.optimize.log_density import LogDensity, log_density
from diffface.optimize.objective import Objective, objective
from diffface.optimize.ravel import ravel
from diffface.optimize.residuals import Residuals, residuals
from diffface.optimize.unravel import Unravel
from diffface.prep.arguments.const import Const
from diffface.prep.prepared import Prepared
from diffface.rules.bridge import bridge
from diffface.rules.custom_rule import custom_rule
from diffface.rules.elementwise import elementwise
from diffface.rules.implicit import argmin, fixed_point, implicit
from diffface.rules.in_place import Cache, in_place
from diffface.rules.odeint import odeint
from diffface.sparse.pattern import Sparsity

if TYPE_CHECKING:
    from types import ModuleType

    from diffface.backends.autograd.adapter import Autograd
    from diffface.backends.jax.adapter import JAX
    from diffface.backends.numpy.complex_step import ComplexStep
    from diffface.backends.numpy.finite_differences import FiniteDifferences
    from diffface.backends.torch.adapter import Torch

    __version__: str
    testing: ModuleType
else:

    def __getattr__(name: str) -> Any:
        # The classes of backends import their libraries, so they are fetched when asked for.
        return _attribute(name)


__all__ = [
    "JAX",
    "Autograd",
    "BackendInfo",
    "BackendNotAvailableError",
    "Cache",
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
    "SolverError",
    "Sparsity",
    "SparsityError",
    "Torch",
    "UnknownBackendError",
    "Unravel",
    "UnsupportedOperatorError",
    "argmin",
    "bridge",
    "closure",
    "constraint",
    "custom_rule",
    "derivative",
    "elementwise",
    "fixed_point",
    "gradient",
    "gradient_and_hvp",
    "hessian",
    "hessian_sparsity",
    "hvp",
    "implicit",
    "in_place",
    "interval",
    "jacobian",
    "jacobian_sparsity",
    "linearize",
    "list_backends",
    "log_density",
    "namespace",
    "objective",
    "odeint",
    "positive",
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
    "simplex",
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


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "backends", "testing"])


_list_keywords(list(globals().values()))
