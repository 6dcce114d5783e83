"""The demonstration: NIST's figures are typed right, and what the table says is true."""

import contextlib
import importlib.util
import io

import numpy as np
import pytest
from helpers import ROOT

import diffface as dif

SPEC = importlib.util.spec_from_file_location("nist", ROOT / "docs" / "examples" / "nist.py")
nist = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(nist)

BACKENDS = ("jax", "torch", "autograd", "numpy", "complex-step")
# SciPy stops where the sum of squares no longer falls, which leaves half the digits of float64 or
# a few more; the errors of finite differences cost one or two of them.
DIGITS = dict.fromkeys(BACKENDS, 7.5) | {"numpy": 6.0}


@pytest.fixture(scope="module")
def table():
    """The words of each row by problem and backend."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        nist.main()
    rows = map(str.split, printed.getvalue().splitlines())
    return {tuple(row[:2]): row for row in rows}


@pytest.mark.parametrize("name", nist.PROBLEMS)
def test_certified_parameters_give_the_certified_sum_of_squares(name):
    problem = nist.PROBLEMS[name]
    y, x = np.array(problem.data.split(), float).reshape(-1, 2).T
    found = np.sum((problem.model(np.array(problem.certified), x) - y) ** 2)
    assert found == pytest.approx(problem.sum_of_squares, rel=1e-10)


@pytest.mark.parametrize("name", nist.PROBLEMS)
def test_every_backend_has_a_row(name, table):
    assert [row[1] for row in table.values() if row[0] == name] == [
        b.name for b in dif.list_backends() if b.available
    ] + ["certified"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", nist.PROBLEMS)
def test_every_backend_finds_the_certified_solution(name, backend, table):
    *_, sum_of_squares, digits = table[name, backend]
    assert float(sum_of_squares) == pytest.approx(nist.PROBLEMS[name].sum_of_squares, rel=1e-10)
    assert float(digits) >= DIGITS[backend]
