"""The code on guides that stands by itself runs."""

import re

import pytest
from helpers import ROOT

GUIDES = ROOT / "docs" / "how-to"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["many-points", "models"])
def test_code_runs(name):
    blocks = re.findall(r"```python\n(.*?)```", (GUIDES / f"{name}.md").read_text(), re.DOTALL)
    assert blocks
    scope = {"__name__": "__main__"}
    for block in blocks:
        exec(block, scope)  # noqa: S102 - the documents' own code
