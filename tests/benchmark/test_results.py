"""The results page says what was measured: it is written from the figures beside it."""

import importlib
import json
from typing import Any

import pytest
from helpers import ROOT

from diffface.testing import Benchmark

REPORTS = ("gmm", "hvp", "problems")


@pytest.fixture(scope="module")
def found() -> Any:
    return json.loads((ROOT / "docs" / "reference" / "results.json").read_text(encoding="utf-8"))


def report(found: Any, name: str) -> Benchmark:
    return Benchmark.from_json(json.dumps({"machine": found["machine"], "rows": found[name]}))


def test_the_page_has_the_figures(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    page = importlib.import_module("benchmarks.page").page
    reports = {name: report(found, name) for name in REPORTS}
    text = (ROOT / "docs" / "reference" / "results.md").read_text(encoding="utf-8")
    assert text == page(found, reports), "run `python -m benchmarks.results --page`"


@pytest.mark.parametrize("name", REPORTS)
def test_every_backend_was_measured(found: Any, name: str) -> None:
    rows = report(found, name).rows
    assert {row.backend for row in rows} >= {"jax", "torch", "autograd", "numpy", "complex-step"}
    assert not [row.notes for row in rows if {"failed", "unblocked", "recompiles"} & {*row.flags}]


def test_other_tools_agree(found: Any) -> None:
    for row in found["gmm_beside"] + found["hvp_beside"]:
        assert row["error"] < 1e-12, row["who"]
