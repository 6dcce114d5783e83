"""Every file under docs/examples runs, prints, and finds what is known."""

import re
import runpy
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import ROOT
from scipy import optimize
from scipy.optimize import rosen

import diffface as dif

EXAMPLES = ROOT / "docs" / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


def minimize(g):
    np.testing.assert_allclose(g["after"].x, g["before"].x, atol=1e-4)
    np.testing.assert_allclose(g["newton"].x, g["after"].x, atol=1e-4)
    assert g["after"].nfev < g["before"].nfev


def trees(g):
    found, true = g["found"], g["true"]
    np.testing.assert_allclose(found.background, true.background, rtol=1e-6)
    for peak, expected in zip(found.peaks, true.peaks, strict=True):
        assert vars(peak) == pytest.approx(vars(expected))


def curve_fit(g):
    np.testing.assert_allclose(g["dense"].x, g["found"], rtol=1e-5)
    np.testing.assert_allclose(g["sparse"].x, g["found"], rtol=1e-5)
    assert np.all(np.abs(g["found"] - [2.5, 1.3, 5.0]) < 4 * np.sqrt(np.diag(g["covariance"])))


def constrained(g):
    # Without a lid, a b + 2 (a + b) h = 12 is best at a = b = 2 h = 2.
    np.testing.assert_allclose(g["box"]["base"], 2.0, rtol=1e-5)
    assert g["box"]["height"] == pytest.approx(1.0, rel=1e-5)


def torch_module(g):
    assert float(g["after_adam"]) < 0.5 * float(g["first"])
    assert float(g["closure"]()) < 1e-2 * float(g["after_adam"])
    np.testing.assert_allclose(g["w"], 1.0, rtol=1e-4)


def optax_loops(g):
    for found in (g["by_adam"], g["by_lbfgs"]):
        np.testing.assert_allclose(found["shift"], g["target"], atol=1e-2)
        np.testing.assert_allclose(found["scale"], 2.0, atol=1e-2)


def nlopt_in_place(g):
    assert rosen(g["found"]) < 1e-10
    assert rosen(g["by_hand"]) < 1e-6


def eight_schools(g):
    # Deviations from posteriordb's means, in units of both Monte Carlo errors.
    assert np.all(np.abs(g["deviations"]) < 4.0)
    assert np.all(g["mcse"] < 0.06)


def heat_equation(g):
    assert g["error"] < 1e-5


def stiff_equations(g):
    # The reference of the test set for IVP solvers (Mazzia and Magherini 2008) at t = 40.
    expected = [0.7158270688, 9.185534765e-6, 0.2841637457]
    np.testing.assert_allclose(g["solution"].y[:, -1], expected, rtol=1e-5)
    assert g["problem"].counts["jac"] < 20


def lmfit_bounds(g):
    for name, true in g["true"].items():
        found = g["after"].params[name]
        assert found.value == pytest.approx(g["before"].params[name].value, rel=1e-4)
        assert abs(found.value - true) <= 4 * (found.stderr or 0.0)
    assert g["after"].nfev < g["before"].nfev


def pymanopt_subspace(g):
    assert g["kept"] == pytest.approx(g["best"], rel=1e-9)


def uncertainty(g):
    np.testing.assert_allclose(g["carried"], g["other"], rtol=1e-9)
    # As the guide prints them, from inputs with more digits.
    np.testing.assert_allclose(g["y"], [127.732, 219.847, 254.260], atol=5e-4)
    np.testing.assert_allclose(g["uncertainties"], [0.071, 0.295, 0.236], atol=2e-3)


def laplace(g):
    assert g["evidence"] == pytest.approx(g["exact"], abs=1e-3)
    # The mode of log(rate) is the mean of the gamma distribution.
    assert g["mode"][0] == pytest.approx(np.log((g["total"] + 2.0) / (g["n"] + 2.0)), rel=1e-6)


def dask_cluster(g):
    for found in (g["alone"], g["by_two"], g["survived"]):
        np.testing.assert_allclose(found, g["exact"], atol=1e-8)


def simulator_layer(g):
    np.testing.assert_allclose(g["found"], g["theory"], rtol=1e-2)


def solar_cell(g):
    """The best fit by Lambert's W: Calasan, Abdel Aleem and Zobaa, 2020."""
    assert g["rms"] == pytest.approx(7.73006268e-4, rel=1e-6)
    expected = [0.7607879, np.log10(3.10684593e-7), 1.47726777, 0.0365469, 52.88979426]
    np.testing.assert_allclose(g["fit"].x, expected, rtol=1e-4)


def earths_orbit(g):
    assert g["eccentricity"] == pytest.approx(0.0167, abs=2e-4)
    assert g["day"] == pytest.approx(2.03, abs=2.0)


def data_parallel(g):
    errors = [float(number) for number in re.findall(r"\de[-+]\d+", g["said"])]
    assert len(errors) == 4
    assert max(errors) < 1e-6


def third_party_backend(g):
    """It says nothing of rules, which such a backend need not take."""
    cube = dif.custom_rule(lambda x: x**3)
    cube.pullback(lambda active, saved, dy: 3 * saved[1] ** 2 * dy)
    with pytest.raises(dif.UnsupportedOperatorError) as caught:
        dif.pullback(cube, np.ones(2), cotangents=np.ones(2), backend="mygrad")
    assert "The backend MyGrad takes no rules for derivatives, such as those of" in str(
        caught.value
    )


KNOWN = {
    check.__name__: check
    for check in (
        minimize, trees, curve_fit, constrained, torch_module, optax_loops, nlopt_in_place,
        eight_schools, heat_equation, stiff_equations, third_party_backend, dask_cluster,
        lmfit_bounds, pymanopt_subspace, uncertainty, laplace, data_parallel,
        simulator_layer, solar_cell, earths_orbit,
    )
}  # fmt: skip


# They start processes, import every framework, or sample for long.
SLOW = {"dask_cluster", "data_parallel", "eight_schools", "pymanopt_subspace", "sharded"}
# JAX has as many devices as it was started with.
ON_ITS_OWN = {"sharded": "gradient:      P() 8 devices\nmany Hessians: P('data',) (16, 5, 5)"}


@pytest.fixture
def _flags():
    """Leave JAX's flag as it was: pymanopt sets it when it is imported."""
    wide = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", wide)


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[pytest.mark.slow] if p.stem in SLOW else []) for p in FILES],
    ids=lambda path: path.stem,
)
@pytest.mark.usefixtures("_flags")
def test_example(path, capsys, monkeypatch):
    if path.stem in ON_ITS_OWN:
        run = subprocess.run(
            [sys.executable, path], cwd=ROOT, check=True, capture_output=True, text=True
        )
        assert ON_ITS_OWN[path.stem] in run.stdout
        return
    monkeypatch.syspath_prepend(str(EXAMPLES))
    if "plt.show" in path.read_text():
        monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    found = runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out
    KNOWN.get(path.stem, lambda _: None)(found)


def test_nothing_known_has_lost_its_example():
    assert set(KNOWN) <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_example_says_what_it_needs(path):
    assert "pip install" in path.read_text() or path.stem == "nist"


def test_the_three_most_common_cases():
    page = (EXAMPLES.parent / "how-to" / "drop-in.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 5  # the last stands for itself
    t = np.linspace(0.0, 1.0, 5)
    known = {
        "dif": dif, "np": np, "minimize": optimize.minimize, "print": lambda rate: None,
        "least_squares": optimize.least_squares,
    }  # fmt: skip
    small = known | {"x0": np.zeros(3), "data": np.ones(3)}
    small["loss"] = lambda x, data: ((x - data) ** 4).sum() + ((x - data) ** 2).sum()
    fitted = known | {"p0": [1.0, 1.0], "t": t, "y": 2.0 * t + 1.0}
    fitted["misfit"] = lambda p, t, y: p[0] * t + p[1] - y
    tree = known | {"loss": lambda p: (p["rate"] + 1.0) ** 2 + ((p["weights"] - 3.0) ** 2).sum()}
    for block, scope in zip(blocks, (small, small, fitted, tree, {}), strict=True):
        exec(block, scope)  # noqa: S102 - the documents' own code
    np.testing.assert_allclose(tree["result"].x, [0.0, *[3.0] * 6], atol=1e-4)
