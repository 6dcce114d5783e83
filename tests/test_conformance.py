"""Every backend through every scenario, operator and preparation, on its kinds of arrays."""

import pytest

from diffface import FiniteDifferences, SecondOrder
from diffface.backends._registry import ROWS
from diffface.testing import conformance, scenarios

QUICK = ("number to number", "vector to number", "everything")
TABLE = scenarios()
FEW = [s for s in TABLE if s.name in (*QUICK, "deep tree", "float32 to number", "aux")]

# torch 2.13 says of its own vmap that it is slow for conj; the numbers are right.
slow = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")

test_quickly = pytest.mark.smoke(
    conformance(*ROWS, scenarios=[s for s in TABLE if s.name in QUICK])
)
test_backends = slow(conformance(*ROWS, scenarios=[s for s in TABLE if s.name not in QUICK]))
test_second_order = conformance(
    *(SecondOrder("numpy", inner) for inner in ("jax", "torch", "autograd", "complex-step")),
    SecondOrder("autograd", "autograd"),
    operators=("second_derivative", "hessian", "hvp"),
    scenarios=FEW,
)
test_schemes = conformance(
    FiniteDifferences("central4"), FiniteDifferences("richardson"), scenarios=FEW[:3]
)
