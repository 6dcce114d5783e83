"""The demonstration: NIST's data are typed right, and the table says what is true."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import diffface as dif

NIST = runpy.run_path(str(Path(__file__).parent.parent / "docs" / "examples" / "nist.py"))
# Digits that a fit reaches: SciPy stops where the sum of squares no longer falls in float64, which
# leaves about half the digits of float64; inexact Jacobians leave fewer.
DIGITS = {"numpy": 6.0}


@pytest.fixture(scope="module")
def rows():
    """The lines of the table by problem and backend."""
    printed = []
    NIST["main"].__globals__["print"] = printed.append
    NIST["main"]()
    return {tuple(line.split()[:2]): line.split() for line in printed}
