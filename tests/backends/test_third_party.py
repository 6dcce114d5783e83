"""A backend from outside: one class, one registration, one line for the whole suite."""

import re
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import final

import array_api_compat.torch as xp
import numpy as np
import pytest
import torch

import diffface as dif
from diffface.backends import Adapter, Array, Arrays, Function, library_of
from diffface.testing import Limit, conformance, scenarios

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TENSORS = library_of(torch.zeros(()))
assert TENSORS is not None


@final
@dataclass(frozen=True)
class ForwardTorch(Adapter):
    """Forward mode of PyTorch and nothing else: no reverse mode, no compiler."""

    arrays = TENSORS
    xp = xp

    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        return torch.func.jvp(lambda *a: f(a), x, dx, has_aux=True)  # type: ignore[return-value]

    def lift(self, value: object, like: Array) -> Array:
        if isinstance(value, torch.Tensor):
            return value
        if isinstance(value, bool | int | float):
            return torch.as_tensor(value, dtype=like.dtype)
        if isinstance(value, complex | np.ndarray | np.generic):
            return torch.as_tensor(value)
        raise TypeError


dif.register_backend("forward-torch", ForwardTorch)

# The whole table takes minutes without a compiler; every seventh scenario is of every sort.
test_conformance = conformance("forward-torch", scenarios=scenarios()[::7])


# It registers mygrad.
runpy.run_path(str(EXAMPLES / "third_party_backend.py"))

NO_COMPLEX = "mygrad has no complex numbers"
NO_SOLVE = "mygrad has no solve"
LIMITS = [
    Limit(NO_COMPLEX, TypeError, scenario="complex argument*"),
    Limit(NO_COMPLEX, TypeError, scenario="not analytic: *real to complex*"),
    Limit(NO_COMPLEX, (TypeError, AttributeError), scenario="not analytic: through*"),
    Limit(NO_SOLVE, AttributeError, scenario="everything"),
    Limit(NO_SOLVE, AttributeError, scenario="solve by both"),
    Limit(NO_SOLVE, AttributeError, scenario="quadratic form of an inverse"),
]
# Every seventh, and what a limit is about; mygrad's Python numbers make float32 float64.
LIMITED = ("not analytic: through the complex plane", "solve by both")
test_mygrad = conformance(
    "mygrad", limits=LIMITS, strategies=["eager", "stencil"],
    scenarios=[
        s for i, s in enumerate(scenarios())
        if (i % 7 == 0 or s.name in LIMITED) and not s.name.startswith("float32")
    ],
)  # fmt: skip


def test_a_build_that_never_works_is_noticed() -> None:
    scenario = scenarios()[0]
    test = conformance("mygrad", scenarios=[scenario], strategies=["program"])
    (cases,) = (mark.args[1] for mark in test.pytestmark)  # type: ignore[attr-defined]
    prepared = [case for case in cases if case.values[1].preparation == "prepared"]
    with pytest.raises(AssertionError, match="prepared calls run by 'eager'"):
        test(*prepared[0].values)


def test_the_example_is_short_and_uses_what_is_public() -> None:
    text = (EXAMPLES / "third_party_backend.py").read_text()
    assert len(text.splitlines()) <= 80
    assert set(re.findall(r"(?:from|import) (diffface[\w.]*)", text)) == {
        "diffface", "diffface.backends",
    }  # fmt: skip


def test_registered() -> None:
    """It is listed beside the others, and answers to its name everywhere."""
    with dif.using("forward-torch"):
        assert dif.derivative(lambda t: t**3, 2.0) == 12.0
    assert "forward-torch" in [info.name for info in dif.list_backends()]


PACKAGE = """
import diffface
from diffface.testing import conformance

diffface.register_backend("mine", lambda: diffface.FiniteDifferences("central4"))
test_mine = conformance("mine")
"""


@pytest.mark.slow
def test_the_whole_suite_from_one_line(tmp_path: Path) -> None:
    """In a test file of another package, which has none of diffface's own settings."""
    (tmp_path / "test_mine.py").write_text(PACKAGE)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_mine.py"]
    listed = subprocess.run(
        [*command, "--collect-only"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = [line for line in listed.stdout.splitlines() if "::" in line]
    names = {scenario.name.replace(" ", "_") for scenario in scenarios()}
    assert {name for name in names if any(f"[mine-{name}-" in line for line in found)} == names
    assert len(found) == len(set(found)) == listed.stdout.count("::test_mine[mine-")
    run = subprocess.run(
        [*command, "-k", "mine-vector_to_number-"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout
    count = sum("[mine-vector_to_number-" in line for line in found)
    assert f"\n{count} passed, " in run.stdout
