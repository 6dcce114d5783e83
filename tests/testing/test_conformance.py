"""Every backend through every scenario, operator and preparation, on its kinds of arrays."""

import pytest

from diffface import FiniteDifferences, SecondOrder
from diffface.backends.registry import ROWS
from diffface.testing import conformance, scenarios

TABLE = scenarios()
QUICK = [s for s in TABLE if s.name in ("number to number", "vector to number", "everything")]
REST = [s for s in TABLE if s not in QUICK]
FEW = [
    *QUICK,
    *(s for s in REST if s.name in ("list of one", "float32 to number", "aux of second order")),
]

# torch 2.13 says of its own vmap that it is slow for conj; the numbers are right.
slow = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")

BUILT = ("xla", "replay", "program", "stencil")

test_quickly = pytest.mark.smoke(conformance(*ROWS, scenarios=QUICK, strategies=BUILT))
test_backends = slow(conformance(*ROWS, scenarios=REST))
test_second_order = conformance(
    *(SecondOrder("numpy", inner) for inner in ("jax", "torch", "autograd", "complex-step")),
    SecondOrder("autograd", "autograd"),
    operators=("second_derivative", "hessian", "hvp"),
    scenarios=FEW,
)
test_schemes = conformance(
    FiniteDifferences("central4"), FiniteDifferences("richardson"), scenarios=QUICK
)
