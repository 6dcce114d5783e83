"""A backend from outside: one class, one registration, one line for the whole suite."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import final

import array_api_compat.torch as xp
import numpy as np
import torch

import diffface as dif
from diffface.backends import Adapter, Array, Arrays, Function, library_of
from diffface.testing import conformance, scenarios

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
