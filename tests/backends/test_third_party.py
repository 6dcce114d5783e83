"""A backend from outside: one class, one registration, one line for the whole suite."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import array_api_compat.torch as xp
import numpy as np
import torch

import diffface as dif
from diffface.backends.adapter import Adapter, Function, Pull
from diffface.backends.by_basis import pull_by_basis
from diffface.backends.compiled import Array, Arrays, Compiled, Program
from diffface.backends.torch.arrays import TORCH
from diffface.testing import conformance, scenarios


@final
@dataclass(frozen=True)
class ForwardTorch(Adapter):
    """Forward mode of PyTorch and nothing else: no reverse mode, no compiler."""

    forward = True
    reverse = False
    black_box = False
    kind = TORCH
    library = "torch"

    @property
    def xp(self) -> Any:
        return xp

    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *,
        batched: bool = False, chunk_size: int | None = None, value: bool = True,
    ) -> tuple[Arrays, Arrays, Arrays]:  # fmt: skip
        def push(seed: Arrays) -> tuple[Arrays, Arrays, Arrays]:
            return torch.func.jvp(lambda *a: f(a), x, seed, has_aux=True)

        if not batched:
            return push(dx)
        rows = [push(tuple(a[i] for a in dx)) for i in range(dx[0].shape[0])]
        return (
            rows[0][0],
            tuple(map(torch.stack, zip(*(r[1] for r in rows), strict=True))),
            rows[0][2],
        )

    def pullback(
        self, f: Function, x: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Pull, Arrays]:
        return pull_by_basis(self, f, x, value)

    def build(self, program: Program, examples: Arrays) -> Compiled:
        def run(*inputs: Array) -> Arrays:
            return tuple(map(TORCH.fresh, program(*inputs)))

        run(*examples)
        return Compiled(run, "eager", program)

    def lift(self, value: object, like: Array) -> Array:
        if isinstance(value, torch.Tensor):
            return value
        if isinstance(value, bool | int | float):
            return torch.as_tensor(value, dtype=like.dtype)
        if isinstance(value, complex | np.ndarray | np.generic):
            return torch.as_tensor(value)
        raise TypeError

    def scope(self, dtypes: Sequence[np.dtype[Any]]) -> AbstractContextManager[object]:
        return nullcontext()

    def second_order(self) -> tuple[Adapter, Adapter]:
        return self, self


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
