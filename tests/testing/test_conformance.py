"""Every backend through every scenario, operator and preparation, on its kinds of arrays."""

import pytest

from diffface import FiniteDifferences, SecondOrder
from diffface.backends.registry import ROWS, missing
from diffface.testing import conformance, scenarios
from diffface.testing.point import shape_class

pytestmark = pytest.mark.numerical
TABLE = scenarios()
QUICK = [s for s in TABLE if s.name in ("number to number", "vector to number", "everything")]
# One of each shape; those that are asked in every way, but for three, are among the slow ones.
FIRST = {shape_class(s): s for s in reversed(TABLE)}
USUAL = [s for s in TABLE if s not in QUICK and not s.core and s in FIRST.values()]
REST = [s for s in TABLE if s not in QUICK and s not in USUAL]
FEW = [
    *QUICK,
    *(s for s in TABLE if s.name in ("list of one", "float32 to number", "aux of second order")),
]
# Where the suite runs on the least that diffface needs, with the libraries that are there.
INSTALLED = [name for name in ROWS if not missing(name)]

# torch 2.13 says of its own vmap that it is slow for conj; the numbers are right.
quiet = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")

BUILT = ("xla", "replay", "program", "stencil")

test_quickly = pytest.mark.smoke(conformance(*INSTALLED, scenarios=QUICK, strategies=BUILT))
test_usual = quiet(conformance(*INSTALLED, scenarios=USUAL))
test_rest = pytest.mark.exhaustive(pytest.mark.slow(quiet(conformance(*INSTALLED, scenarios=REST))))
test_second_order = conformance(
    *(SecondOrder("numpy", name) for name in INSTALLED if name != "numpy"),
    *(SecondOrder(name, name) for name in INSTALLED if name == "autograd"),
    operators=("second_derivative", "hessian", "hvp"),
    scenarios=FEW,
)
test_schemes = conformance(
    FiniteDifferences("central4"), FiniteDifferences("richardson"), scenarios=QUICK
)


def test_every_backend_is_tested() -> None:
    assert list(ROWS) == INSTALLED
