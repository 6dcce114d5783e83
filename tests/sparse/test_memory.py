"""Memory: a large sparse Jacobian takes no more than some tens of times its entries."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

N = 100_000
# The most that a process has held, before and after; a small preparation loads the libraries.
MEASURE = """
import re, sys
import numpy as np
from sparse_cases import tridiagonal
import diffface as dif

def peak():
    # `resource` would count what the process held that started this one.
    with open("/proc/self/status") as file:
        return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", file.read())[1])

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
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says so there")
@pytest.mark.parametrize("backend", ["jax", "torch", "autograd", "numpy"])
def test_a_large_jacobian_takes_some_tens_of_times_its_entries(backend):
    path = f"{ROOT}:{ROOT / 'tests'}"
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, backend, str(N)], capture_output=True, text=True,
        check=False, env={"PYTHONPATH": path, "PATH": ""},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert 0 < float(found.stdout) < 60
