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

pytestmark = pytest.mark.numerical
BACKENDS = ("jax", "torch", "autograd", "numpy", "complex-step")
# A sum of squares in float64 is flat to this, relatively, around its minimum; there a solver stops.
FLAT = 1e-14
# How far, relatively, one step of Gauss and Newton leads away from the certified parameters (of 11
# digits), and how many digits a fit may miss besides: the errors of differences cost some.
STEP = dict.fromkeys(BACKENDS, 1e-10) | {"numpy": 1e-6}
MISSED = dict.fromkeys(BACKENDS, 0.0) | {"numpy": 2.0}


def at_the_solution(name, backend):
    """Residuals and Jacobian at the certified parameters, in units of each parameter."""
    problem = nist.PROBLEMS[name]
    y, x = np.array(problem.data.split(), float).reshape(-1, 2).T
    b = np.array(problem.certified)
    residuals, jacobian = dif.value_and_jacobian(
        lambda b, x, y: problem.model(b, x) - y, b, dif.Const(x), dif.Const(y), backend=backend
    )
    return residuals, jacobian * b


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
def test_every_jacobian_is_stationary_at_the_certified_solution(name, backend):
    residuals, jacobian = at_the_solution(name, backend)
    step = np.linalg.lstsq(jacobian, residuals)[0]
    assert np.max(np.abs(step)) < STEP[backend]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", nist.PROBLEMS)
def test_every_backend_finds_the_certified_solution(name, backend, table):
    """As far as float64 can tell two sums of squares apart; more digits are the solver's luck."""
    *_, sum_of_squares, digits = table[name, backend]
    certified = nist.PROBLEMS[name].sum_of_squares
    assert float(sum_of_squares) == pytest.approx(certified, rel=1e-10)
    _, jacobian = at_the_solution(name, "autograd")
    flat = np.sqrt(FLAT * certified) / np.linalg.svd(jacobian)[1][-1]
    assert float(digits) >= -np.log10(flat) - MISSED[backend] - 0.05  # printed with one decimal
