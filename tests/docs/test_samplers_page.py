"""The recipes for samplers find the posterior means of the eight schools."""

import re

import numpy as np
import pytest
from helpers import ROOT

PAGE = (ROOT / "docs" / "how-to" / "samplers.md").read_text()
COMMON, *RECIPES = re.split(r"^## ", PAGE, flags=re.MULTILINE)
# Means of this many parts of a run tell its Monte Carlo error.
BATCHES = 25


def block(text):
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return code


def reference():
    """Mean and its Monte Carlo error of theta[1] to theta[8], mu, tau, as posteriordb has them."""
    source = (ROOT / "docs" / "examples" / "eight_schools.py").read_text()
    scope = {"__name__": "eight_schools"}
    exec(source.partition("\ndef log_density")[0], scope)  # noqa: S102 - the example's own code
    return scope["REFERENCE"].T


def recipe(text):
    name = text.split("\n")[0]
    # The usual samplers are met by other tests, too.
    marks = [pytest.mark.exhaustive] if name in ("emcee", "blackjax") else []
    return pytest.param(text, marks=[pytest.mark.slow, *marks], id=name)


@pytest.mark.filterwarnings("ignore::FutureWarning:arviz")  # it announces its next version
@pytest.mark.parametrize("text", [recipe(text) for text in RECIPES])
def test_posterior_means(text):
    scope = {}
    exec(block(COMMON), scope)  # noqa: S102 - the page's own code
    exec(block(text), scope)  # noqa: S102 - the same
    draws = np.asarray(scope["draws"], float)
    p = scope["density"].unravel_samples(draws)
    found = np.column_stack([p["mu"][:, None] + p["tau"][:, None] * p["z"], p["mu"], p["tau"]])
    parts = np.array([part.mean(0) for part in np.array_split(found, BATCHES)])
    error = parts.std(0, ddof=1) / np.sqrt(BATCHES)
    mean, its_error = reference()
    assert np.all(error < 0.5)
    assert np.all(np.abs(found.mean(0) - mean) < 4.5 * np.hypot(error, its_error))
