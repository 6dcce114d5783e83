"""The portable problems for pytest-benchmark.

``pytest benchmarks --benchmark-only --benchmark-group-by=group`` compares the backends on each
problem; ``--benchmark-group-by=group,param:backend`` each prepared call with the same by hand.
"""

import pytest

from benchmarks.cells import beside, one_thread
from diffface.benchmark.problems import PROBLEMS

BACKENDS = ("jax", "torch", "autograd", "numpy", "complex-step")
# XLA compiles every character of the LSTM, so that only short sequences are for everyone.
CASES = [
    pytest.param(problem, size, id=f"{problem.name} {'x'.join(map(str, size))}")
    for problem in PROBLEMS
    for size in problem.sizes[:1]
]


@pytest.mark.parametrize("which", ["prepared", "by hand"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("problem", "size"), CASES)
def test_problem(problem, size, backend, which, benchmark):
    benchmark.group = f"{problem.name} {'x'.join(map(str, size))}, {problem.operator}"
    with one_thread():
        pair = beside(problem.operator, problem.f, problem.make_args(size, 0), backend)
        benchmark(pair[which == "by hand"])
