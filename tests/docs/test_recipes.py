"""CONTRIBUTING's recipes, followed in a copy: an operator and a backend, and the tests they get."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tables import ROOT

LAPLACIAN = '''
"""Laplacians of scalar functions."""

from collections.abc import Callable
from typing import Any, Unpack

from diffface.backends.compiled import Arrays
from diffface.backends.generic import size
from diffface.operators.calculus import gradient_function
from diffface.operators.call import call, prepare
from diffface.operators.options import Options, PrepareOptions
from diffface.prep.operator import Operator, Part, Point
from diffface.prep.prepared import Prepared


def _derive(at: Point) -> tuple[tuple[Arrays, ...], Arrays]:
    xp, n = at.outer.xp, sum(map(size, at.x))
    _, products, rest = at.outer.columns(gradient_function(at), at.x, value=at.value)
    hessian = xp.concat([xp.reshape(hv, (n, size(x))) for hv, x in zip(products, at.x)], axis=1)
    return (rest[:1], (xp.sum(hessian * xp.eye(n, dtype=hessian.dtype)),)), rest[1:]


LAPLACIAN = Operator(
    {(1,): "laplacian", (0, 1): "value_and_laplacian"},
    _derive,
    (Part.VALUE, Part.LIKE_Y),
    order=2,
    scalar=True,
    complex_arguments=False,
    keywords=Options.__optional_keys__,
)


def laplacian(f: Callable[..., Any], /, *args: Any, **options: Unpack[Options]) -> Any:
    """Sum of the second derivatives along the axes, by products with the Hessian."""
    return call(LAPLACIAN, (1,), f, args, options)


def value_and_laplacian(f: Callable[..., Any], /, *args: Any, **options: Unpack[Options]) -> Any:
    """``(f(*args), laplacian)``; see :func:`laplacian`."""
    return call(LAPLACIAN, (0, 1), f, args, options)


def prepare_laplacian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared:
    """Prepare :func:`laplacian` for repeated calls; see :class:`Prepared`."""
    return prepare(LAPLACIAN, (1,), f, example_args, options)


def prepare_value_and_laplacian(
    f: Callable[..., Any], /, *example_args: Any, **options: Unpack[PrepareOptions]
) -> Prepared:
    """Prepare :func:`value_and_laplacian` for repeated calls; see :class:`Prepared`."""
    return prepare(LAPLACIAN, (0, 1), f, example_args, options)
'''
EXPORT = """from diffface.operators.laplacian import (
    laplacian,
    prepare_laplacian,
    prepare_value_and_laplacian,
    value_and_laplacian,
)
"""
ANSWER = """def _laplacian(at: Instance, _: Tree) -> Tree:
    hessian = _hessian(at, None)
    if hessian is None:
        return None
    blocks, x = leaves(hessian), leaves(at.x)
    own = [b for b in range(0, len(blocks), len(x) + 1)]
    total = sum(np.trace(np.reshape(blocks[b], (np.size(a),) * 2)) for b, a in zip(own, x))
    return _cast(total, at.given("value"))


_DERIVED = {
    "laplacian": _laplacian,
"""
BACKEND = '''
"""Central differences of two evaluations, and nothing else."""

from dataclasses import dataclass
from typing import Any, final

from diffface.backends.adapter import Adapter, Function
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.numpy_arrays import NUMPY
from diffface.backends.compiled import Array, Arrays
from diffface.backends.registry import resolve


@final
@dataclass(frozen=True)
class Name(Adapter):
    """Forward mode of central differences, and nothing else."""

    forward = True
    reverse = False
    black_box = True
    library = "numpy"

    @property
    def xp(self) -> Any:
        return resolve("numpy").first_order().xp

    @property
    def arrays(self) -> ArrayLibrary:
        return NUMPY

    def lift(self, value: object, like: Array) -> Array:
        return resolve("numpy").first_order().lift(value, like)

    def pushforward(
        self, f: Function, x: Arrays, dx: Arrays, *, value: bool = True
    ) -> tuple[Arrays, Arrays, Arrays]:
        h = 1e-5
        ahead = f(tuple(a + h * v for a, v in zip(x, dx)))[0]
        behind = f(tuple(a - h * v for a, v in zip(x, dx)))[0]
        dy = tuple((a - b) / (2 * h) for a, b in zip(ahead, behind))
        y, aux = f(x)
        return y, dy, aux
'''


def edit(root: Path, file: str, before: str, after: str) -> None:
    """Put ``after`` in the place of ``before``, which stands there once."""
    text = (root / file).read_text()
    assert text.count(before) == 1, f"{before!r} in {file}"
    (root / file).write_text(text.replace(before, after))


def follow_operator(root: Path) -> None:
    (root / "diffface/operators/laplacian.py").write_text(LAPLACIAN.lstrip())
    start = "from diffface.operators.jacobian import (\n"
    edit(root, "diffface/__init__.py", start, EXPORT + start)
    names = '    "laplacian",\n    "value_and_laplacian",\n'
    edit(root, "diffface/__init__.py", "__all__ = [\n", f"__all__ = [\n{names}")
    row = '    "hvp": ("hvp",),\n'
    laplacian = '    "laplacian": ("laplacian",),\n'
    edit(root, "diffface/testing/case.py", row, row + laplacian)
    edit(root, "diffface/testing/case.py", '"hvp": 2,', '"hvp": 2, "laplacian": 2,')
    edit(root, "diffface/testing/point.py", "_DERIVED = {\n", ANSWER)


def follow_backend(root: Path) -> None:
    (root / "backends/name.py").write_text(BACKEND.lstrip())
    edit(
        root,
        "backends/table.py",
        "ROWS = {\n",
        'ROWS = {\n    "name": Row("diffface.backends.name", "Name"),\n',
    )
    edit(
        root,
        "diffface/operators/options.py",
        'BackendName = Literal["jax",',
        'BackendName = Literal["name", "jax",',
    )
    edit(root, "pyproject.toml", "all = [", 'name = ["numpy"]\nall = [')


OPERATOR_TEST = """
import numpy as np
import diffface as dif
from diffface.testing import conformance, scenarios

CORE = [s for s in scenarios() if s.core][:4]
test_conformance = conformance("autograd", scenarios=CORE, operators=["laplacian"])


def test_known():
    f = lambda x: dif.namespace(x).sum(x**3)
    x = np.array([1.0, 2.0, -0.5])
    for backend in ("jax", "torch", "autograd", "numpy", "complex-step"):
        assert np.isclose(dif.laplacian(f, x, backend=backend), 15.0, rtol=1e-4)
        assert np.isclose(dif.prepare_laplacian(f, x, backend=backend)(x), 15.0, rtol=1e-4)
"""
BACKEND_TEST = """
import numpy as np
import diffface as dif


def test_listed_and_right():
    assert "name" in [info.name for info in dif.list_backends()]
    x = np.array([1.0, 2.0])
    f = lambda x: dif.namespace(x).sum(x**3)
    for operator in (dif.gradient, lambda *a, **k: dif.prepare_gradient(*a, **k)(x)):
        assert np.allclose(operator(f, x, backend="name"), 3 * x**2, rtol=1e-6)
"""
RECIPES = {
    "A new operator": (follow_operator, OPERATOR_TEST),
    "A new backend": (follow_backend, BACKEND_TEST),
}


def recipe_files(title: str) -> set[str]:
    (section,) = re.findall(
        rf"^## {title}$(.*?)^## ", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return set(re.findall(r"^\d\. `([^`]+)`", section, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("title", RECIPES)
def test_the_recipe_names_every_file(title: str, tmp_path: Path) -> None:
    follow, test = RECIPES[title]
    for name in ("diffface", "prep", "backends"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    before = {p: p.read_text() for p in tmp_path.rglob("*") if p.suffix in (".py", ".toml")}
    follow(tmp_path)
    after = {p: p.read_text() for p in tmp_path.rglob("*") if p.suffix in (".py", ".toml")}
    changed = {str(p.relative_to(tmp_path)) for p in after if after[p] != before.get(p)}
    real = {file for file in changed if not file.startswith(("diffface/backends", "diffface/prep"))}
    assert {file.replace("laplacian.py", "name.py") for file in real} == recipe_files(title)
    (tmp_path / "test_recipe.py").write_text(test)
    quickly = {k: v for k, v in os.environ.items() if k.startswith(("JAX_", "XLA_"))}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null",
         "--rootdir", str(tmp_path), "test_recipe.py"],
        cwd=tmp_path, capture_output=True, text=True, env=quickly | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
