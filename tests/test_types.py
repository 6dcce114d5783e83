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
from collections.abc import Iterator
import numpy as np
import diffface as dif

# As torch has them, whose own types take these checkers long.
class Tensor:
    shape: tuple[int, ...]
    dtype: Any

class Linear:
    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        yield "weight", Tensor()

def f(x: Any, *c: Any) -> Any:
    return (x**2).sum()

def squares(x: Tensor) -> Tensor:
    return x

def tree(x: Any) -> dict[str, Tensor]:
    return {"y": x}

unknown: Any = 1
x = np.zeros(2)
c = dif.Const(2.0)
t = Tensor()
layer = Linear()
reveal_type(dif.gradient(f, x, backend="jax"))  # vector
reveal_type(dif.gradient(f, x, c, backend="torch"))  # vector
reveal_type(dif.gradient(f, 2.5))  # float
reveal_type(dif.gradient(f, t))  # Tensor
reveal_type(dif.gradient(f, {"a": x}))  # dict[str, vector]
reveal_type(dif.gradient(f, layer))  # dict[str, Any]
reveal_type(dif.gradient(f, x, has_aux=True))  # Any
reveal_type(dif.gradient(f, x, x))  # Any
reveal_type(dif.value_and_gradient(f, x))  # tuple[Any, vector]
reveal_type(dif.value_and_gradient(f, layer))  # tuple[Any, dict[str, Any]]
reveal_type(dif.hvp(f, x, tangents=x))  # vector
reveal_type(dif.gradient_and_hvp(f, x, tangents=x))  # tuple[vector, vector]
reveal_type(dif.pullback(f, t, cotangents=t))  # Tensor
reveal_type(dif.value_and_pullback(f, x, cotangents=x))  # tuple[Any, vector]
reveal_type(dif.pushforward(f, x, tangents=x))  # Any
reveal_type(dif.value_and_pushforward(f, x, tangents=x))  # tuple[Any, Any]
reveal_type(dif.derivative(f, 2.0))  # Any
reveal_type(dif.value_and_derivative(f, 2.0))  # tuple[Any, Any]
reveal_type(dif.value_derivative_and_second_derivative(f, 2.0))  # tuple[Any, Any, Any]
reveal_type(dif.jacobian(squares, x, mode="forward"))  # matrix
reveal_type(dif.jacobian(squares, t))  # Tensor
reveal_type(dif.jacobian(tree, t))  # Any
reveal_type(dif.jacobian(squares, unknown))  # Any
reveal_type(dif.jacobian(squares, x, sparsity="trace"))  # Any
reveal_type(dif.value_and_jacobian(squares, x))  # tuple[Any, matrix]
reveal_type(dif.hessian(f, x, c))  # floats
reveal_type(dif.hessian(f, 2.0))  # float
reveal_type(dif.hessian(f, t))  # Tensor
reveal_type(dif.hessian(f, {"a": x}))  # Any
reveal_type(dif.hessian(f, unknown))  # Any
reveal_type(dif.value_gradient_and_hessian(f, x))  # tuple[Any, floats, floats]
reveal_type(dif.prepare_gradient(f, x)(x))  # vector
reveal_type(dif.prepare_gradient(f)(x))  # Any
reveal_type(dif.prepare_gradient(f, x, c, on_mismatch="reprepare"))  # Prepared[Any]
reveal_type(dif.prepare_value_and_gradient(f, t, fallback="error"))  # Prepared[tuple[Any, Tensor]]
reveal_type(dif.prepare_hvp(f, x)(x, tangents=x))  # vector
reveal_type(dif.prepare_hessian(f, t))  # Prepared[Tensor]
reveal_type(dif.prepare_hessian(f, x, sparsity="trace"))  # SparsePrepared
reveal_type(dif.prepare_jacobian(squares, x)(x))  # matrix
reveal_type(dif.prepare_jacobian(f))  # Prepared[Any]
reveal_type(dif.objective(f, x).jac(x))  # floats
reveal_type(dif.objective(f, x).fun_and_jac(x))  # tuple[float, floats]
reveal_type(dif.residuals(f, x).fun(x))  # floats
reveal_type(dif.log_density(f, x).hessian(x))  # floats
dif.gradient(f, x, backend=dif.SecondOrder("jax", "jax"))
dif.gradient(f, x, backend="jaxx")  # refused
dif.jacobian(f, x, backend="jaxx")  # refused
dif.objective(f, x, backend="jaxx")  # refused
dif.hessian(f, x, backand="jax")  # refused
dif.grad(f)  # refused
reveal_type(dif.testing.check(f, x))  # Any
prepared: dif.Prepared = dif.prepare_gradient(f, x)
"""
# Arrays by their axes and elements.
ARRAYS = {
    "vector": "ndarray[tuple[int], dtype[float64]]",
    "floats": "ndarray[tuple[Any, ...], dtype[float64]]",
    "matrix": "ndarray[tuple[Any, ...], dtype[Any]]",
}
# What these libraries' own types say is not asked here, and would take most of the time.
LEFT_OUT = "[mypy]\n[mypy-jax.*,torch.*,scipy.*,autograd.*]\nfollow_imports = skip\n"
CHECKERS = {
    "mypy": (["mypy", "--strict", "--cache-dir=.cache"], r'Revealed type is "(.*)"'),
    "pyright": (["pyright"], r'Type of ".*" is "(.*)"'),
}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_types_in_a_script_of_a_user(checker: str, tmp_path: Path) -> None:
    words, revealed = CHECKERS[checker]
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "mypy.ini").write_text(LEFT_OUT)
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
            found = re.sub(r"\b[a-z_]\w*\.", "", found)  # the modules of types
            found = found.replace("Unknown", "Any")
            assert found == re.sub("|".join(ARRAYS), lambda m: ARRAYS[m[0]], wanted), line


def test_names_of_backends_are_those_of_the_table() -> None:
    assert set(get_args(BackendName)) == set(ROWS)
