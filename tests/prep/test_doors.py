"""How many of our own functions a call goes through: counted, since time depends on the machine."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diffface as dif

pytest.importorskip("autograd")

ROOT = Path(str(dif.__file__)).parent
OURS = tuple(str(folder.resolve()) for folder in (ROOT, ROOT / "prep", ROOT / "backends"))
X = np.array([1.0, 2.0, 3.0])


def calls_of_ours(call: Callable[[], Any]) -> list[str]:
    """Files of our own functions that ``call`` runs, one entry for each of their calls."""
    call()
    files: list[str] = []

    def profile(frame: Any, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        ours = file.startswith("<diffface") or str(Path(file).resolve()).startswith(OURS)
        if event == "call" and ours:
            files.append(file)

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files


def square(x: Any) -> Any:
    return (x**2).sum()


def square_and_cube(p: Any) -> Any:
    return (p["a"] ** 2).sum() + (p["b"] ** 3).sum()


def test_unprepared() -> None:
    files = calls_of_ours(lambda: dif.gradient(square, X, backend="autograd"))
    assert len(files) <= 24, files
    assert len(set(files)) <= 8, sorted(set(files))


def test_unprepared_with_a_dict() -> None:
    p = {"a": X, "b": X}
    files = calls_of_ours(lambda: dif.gradient(square_and_cube, p, backend="autograd"))
    assert len(files) <= 60, files


def weighted(x: Any, c: Any) -> Any:
    return (x**2 * c["a"]).sum()


@pytest.mark.parametrize(
    ("f", "x"), [(square, X), (square_and_cube, {"a": X, "b": X})], ids=["array", "dict"]
)
def test_prepared(f: Callable[..., Any], x: Any) -> None:
    g = dif.prepare_gradient(f, x, backend="autograd")
    assert len(calls_of_ours(lambda: g(x))) == 2


def test_prepared_with_a_constant() -> None:
    g = dif.prepare_gradient(weighted, X, dif.Const({"a": X}), backend="autograd")
    marked = dif.Const({"a": X})
    for c in ({"a": X}, marked):
        assert len(calls_of_ours(lambda c=c: g(X, c))) == 2
