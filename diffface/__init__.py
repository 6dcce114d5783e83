"""One thin interface to derivatives over JAX, PyTorch, autograd and NumPy.

See :func:`gradient`, :func:`jacobian`, :func:`hessian`, :func:`hvp`, :func:`pushforward` and
:func:`pullback`; each has a ``prepare_...`` for repeated calls. ``backend="jax"`` (or ``"torch"``,
``"autograd"``, ``"numpy"``, ``"complex-step"``) says who differentiates.
"""

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
from diffface._namespace import namespace
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
from diffface._second_derivative import (
    prepare_second_derivative,
    prepare_value_derivative_and_second_derivative,
    second_derivative,
    value_derivative_and_second_derivative,
)
from diffface._using import using
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
