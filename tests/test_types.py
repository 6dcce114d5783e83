"""Types, as mypy and pyright see them from a user's script."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import diffface as dif
from diffface.backends.registry import ROWS
from diffface.operators.options import BackendName

ROOT = Path(dif.__file__).parent.parent
SCRIPT = """
from typing import Any
import numpy as np
import diffface as dif

def f(x: Any, *c: Any) -> Any:
    return (x**2).sum()

x = np.array([1.0, 2.0])
reveal_type(dif.gradient(f, x, backend="jax"))  # array
reveal_type(dif.gradient(f, x, dif.Const(2.0), backend="torch"))  # array
reveal_type(dif.gradient(f, 2.5))  # float
reveal_type(dif.value_and_gradient(f, x))  # pair
reveal_type(dif.hvp(f, x, tangents=x))  # array
reveal_type(dif.gradient_and_hvp(f, x, tangents=x))  # arrays
reveal_type(dif.gradient(f, x, has_aux=True))  # Any
reveal_type(dif.gradient(f, x, x))  # Any
reveal_type(dif.prepare_gradient(f, x))  # Prepared
dif.gradient(f, x, backend=dif.SecondOrder("jax", "jax"))
dif.gradient(f, x, backend="jaxx")  # refused
dif.jacobian(f, x, backend="jaxx")  # refused
dif.objective(f, x, backend="jaxx")  # refused
dif.hessian(f, x, backand="jax")  # refused
"""
ARRAY = r"(numpy\.)?ndarray\[.*\]"
REVEALED = {
    "array": ARRAY,
    "arrays": rf"(builtins\.)?tuple\[{ARRAY}, {ARRAY}\]",
    "float": r"(builtins\.)?float",
    "pair": rf"(builtins\.)?tuple\[Any, {ARRAY}\]",
    "Any": "Any",
    "Prepared": r"(diffface\.prep\.prepared\.)?Prepared",
}
CHECKERS = {
    "mypy": (["mypy", "--strict", "--cache-dir=.cache"], r'Revealed type is "(.*)"'),
    "pyright": (["pyright"], r'Type of ".*" is "(.*)"'),
}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_types_in_a_script_of_a_user(checker: str, tmp_path: Path) -> None:
    words, revealed = CHECKERS[checker]
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{ROOT}"]}}')
    command = [sys.executable, "-m", *words, "script.py"]
    if checker == "pyright":
        command += ["--pythonpath", sys.executable]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True,
        env={"MYPYPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
    )  # fmt: skip
    said: dict[int, str] = {}
    for number, line in re.findall(r"script\.py:(\d+):(.*)", run.stdout):
        said[int(number)] = said.get(int(number), "") + line
    for number, line in enumerate(SCRIPT.splitlines(), 1):
        _, mark, wanted = line.partition("  # ")
        if not mark:
            assert number not in said, said[number]
        elif wanted == "refused":
            assert "error" in said[number], run.stdout
        else:
            (found,) = re.findall(revealed, said[number])
            assert re.fullmatch(REVEALED[wanted], found), (line, found)


def test_names_of_backends_are_those_of_the_table() -> None:
    assert set(get_args(BackendName)) == set(ROWS)
