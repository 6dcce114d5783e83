"""Memory: a large sparse Jacobian takes no more than some tens of times its entries."""

import subprocess
import sys

import pytest
from helpers import ROOT

N = 100_000
# The most that a process has held, before and after; a small preparation loads the libraries.
MEASURE = """
import resource, sys
import numpy as np
from sparse_cases import tridiagonal
import diffface as dif

def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def run(n):
    x = np.linspace(0.5, 1.5, n)
    prepared = dif.prepare_jacobian(tridiagonal, x, backend=sys.argv[1], sparsity="trace")
    return prepared(x), prepared.sparsity.colors

run(1_000)
before = peak()
matrix, colors = run(int(sys.argv[2]))
assert colors == "forward 3"
print((peak() - before) / matrix.data.nbytes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch", "autograd", "numpy"])
def test_a_large_jacobian_takes_some_tens_of_times_its_entries(backend):
    path = f"{ROOT}:{ROOT / 'tests'}"
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, backend, str(N)], capture_output=True, text=True,
        check=False, env={"PYTHONPATH": path, "PATH": ""},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert 0 < float(found.stdout) < 60
