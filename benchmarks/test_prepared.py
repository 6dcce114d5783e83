"""The cells of ``benchmarks.prepared`` for pytest-benchmark.

``pytest benchmarks --benchmark-only --benchmark-group-by=group`` shows each prepared call beside
its hand-written reference.
"""

import pytest

from benchmarks.cells import CELLS, one_thread


@pytest.mark.parametrize("which", ["prepared", "by hand"])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.name}, n = {cell.size}")
def test_prepared(cell, which, benchmark):
    benchmark.group = f"{cell.name}, n = {cell.size}"
    with one_thread(cell.x64):
        prepared, reference = cell.make(cell.size)
        benchmark(prepared if which == "prepared" else reference)
