"""Every backend and operator, eager and prepared, on a few functions: a wheel must pass this."""

import pytest

from diffface.backends._registry import ROWS
from diffface.testing import conformance, scenarios

pytestmark = pytest.mark.smoke

FEW = [s for s in scenarios() if s.name in ("rosenbrock", "exponential")]
