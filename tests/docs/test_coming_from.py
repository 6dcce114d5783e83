"""The page for those who come from other libraries: both spellings of a row give the same."""

import re

import autograd
import jax
import numpy as np
import pytest
import scipy.optimize
import torch
from helpers import ROOT

import diffface as dif

PAGE = (ROOT / "docs" / "how-to" / "coming-from.md").read_text(encoding="utf-8")
TABLES = dict(re.findall(r"<!-- rows: (\w+) -->\n.*?\n.*?\n(.*?)<!-- end -->", PAGE, re.DOTALL))
ROWS = [
    (library, *re.findall(r"`([^`]+)`", line))
    for library, lines in TABLES.items()
    for line in lines.splitlines()
]
ARRAYS = {
    "jax": jax.numpy.asarray,
    "torch": torch.tensor,
    "autograd": np.array,
    "scipy": np.array,
}
# JAX and torch make float32 of these numbers.
ACCURACY = {"jax": 1e-5, "torch": 1e-5, "autograd": 1e-12, "scipy": 1e-6}
MODULES = {
    "autograd": autograd, "dif": dif, "jax": jax, "np": np, "scipy": scipy, "torch": torch,
}  # fmt: skip


def f(x):
    return dif.namespace(x).sum(x**3)


def g(x):
    return x[:2] * x[1:] + x[:2] ** 2


def h(x, a):
    return dif.namespace(x).sum(a * x**2)


def e(x):
    return dif.namespace(x).exp(x)


def numbers(tree):
    """All numbers of a result, in order."""
    if isinstance(tree, tuple | list):
        return np.concatenate([numbers(branch) for branch in tree])
    return np.ravel(np.asarray(tree))


@pytest.mark.parametrize(("library", "theirs", "ours"), ROWS, ids=lambda text: text)
def test_both_spellings_give_the_same(library, theirs, ours):
    array = ARRAYS[library]
    x, v, a, u = map(array, ([1.0, 2.0, -0.5], [0.5, -1.0, 2.0], [3.0, 1.0, 2.0], [1.0, -2.0]))
    known = MODULES | {"f": f, "g": g, "h": h, "e": e, "x": x, "v": v, "a": a, "u": u}
    with dif.using(library if library in ("jax", "torch", "autograd") else "numpy"):
        found, expected = (numbers(eval(code, known)) for code in (ours, theirs))  # noqa: S307 - the document's own code
    np.testing.assert_allclose(found, expected, rtol=ACCURACY[library], atol=1e-7)


def test_every_library_has_rows():
    assert set(TABLES) == set(ARRAYS)
    assert all(len(row) == 3 for row in ROWS)
