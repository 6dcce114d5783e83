"""Prepared callables under load, a little of what `benchmarks.load` does."""

import subprocess
import sys

import pytest
from helpers import ROOT


@pytest.mark.slow
def test_threads_and_interrupts():
    command = [sys.executable, "-m", "benchmarks.load", "--calls", "64", "--interrupts", "20"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("nothing broken") == 5
