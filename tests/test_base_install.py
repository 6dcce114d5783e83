"""diffface with its two required dependencies and nothing else."""

import json
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import distribution as installed
from pathlib import Path

import numpy as np
import pytest

from diffface.backends.registry import ROWS

# What NumPy and optree need is theirs to say; this is it today.
BASE = ("numpy", "optree", "typing_extensions")

pytestmark = pytest.mark.slow  # a wheel is built and installed


@pytest.fixture(scope="module")
def python(distribution, tmp_path_factory):
    """The interpreter of an environment with the wheel and links to its dependencies."""
    home = tmp_path_factory.mktemp("base")
    venv.create(home, symlinks=True)
    scheme = {"base": str(home), "platbase": str(home)}
    packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    for name in BASE:
        files = installed(name)
        for top in {file.parts[0] for file in files.files} - {"..", "__pycache__"}:
            (packages / top).symlink_to(files.locate_file(top))
    interpreter = Path(sysconfig.get_path("scripts", "venv", scheme)) / "python"
    # Without an index, so that a dependency that is not among those three is an error.
    subprocess.run(
        [
            sys.executable, "-m", "pip", "--python", interpreter, "--disable-pip-version-check",
            "install", "--quiet", "--no-index", distribution.wheel,
        ],
        check=True,
    )  # fmt: skip
    return interpreter


def run(python, code):
    """What ``code`` printed, as JSON."""
    program = f"import json, numpy as np, diffface as dif\n{code}"
    done = subprocess.run(
        [python, "-W", "error", "-c", program], capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_else_is_there(python):
    code = "from importlib.util import find_spec; print(json.dumps([*map(find_spec, {!r})]))"
    libraries = ["jax", "torch", "autograd", "array_api_compat", "scipy"]
    assert run(python, code.format(libraries)) == [None] * len(libraries)


CALLS = {
    "dif.gradient(lambda x: np.sum(np.sin(x)), np.zeros(3))": [1, 1, 1],
    "dif.jacobian(lambda x: x**2, np.array([1.0, 2.0]))": [[2, 0], [0, 4]],
    "dif.hessian(lambda x: x[0] ** 2 * x[1], np.array([1.0, 2.0]))": [[4, 2], [2, 0]],
    "dif.prepare_gradient(lambda x: np.sum(x**2), np.zeros(2))(np.ones(2))": [2, 2],
    "np.array(dif.derivative(lambda t: t**3, 2.0))": 12,
}


def test_numpy_functions_need_no_backend(python):
    found = run(python, f"print(json.dumps([r.tolist() for r in ({', '.join(CALLS)})]))")
    for result, expected in zip(found, CALLS.values(), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.extra])
def test_other_backends_say_what_to_install(python, name):
    code = f"""
try:
    dif.gradient(np.sum, np.zeros(3), backend={name!r})
except ImportError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
    absent = " and ".join(ROWS[name].needs)
    message = (
        f"Backend {name!r} needs {absent}, which cannot be found; run: "
        f"pip install 'diffface[{ROWS[name].extra}]'. Installed: 'numpy', 'complex-step'."
    )
    assert run(python, code) == ["BackendNotAvailableError", message]


def test_backends_lists_what_is_there_and_what_is_not(python):
    code = "print(json.dumps({b.name: bool(b.available) for b in dif.list_backends()}))"
    assert run(python, code) == {name: not row.needs for name, row in ROWS.items()}


def command(python, *words, cwd="/"):
    """What ``python -m diffface`` said."""
    return subprocess.run(
        [python, "-W", "error", "-m", "diffface", *words], capture_output=True, text=True, cwd=cwd,
    )  # fmt: skip


def test_the_command_line_lists_backends(python):
    done = command(python, "backends", "--installed")
    assert (done.returncode, done.stderr) == (0, "")
    version = installed("numpy").version
    assert f"numpy         {version}" in done.stdout
    assert "jax           not installed\n" in done.stdout
    assert "run: pip install 'diffface[torch]'" in done.stdout


def test_the_command_line_checks_functions(python, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def f(x): return np.sum(np.sin(x))\n"
        "def g(x): return np.sum(abs(x))\n"
        "x = np.array([0.0, 1.0])\n"
    )
    done = command(python, "check", "mine:f", "--args", "mine:x", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "All agree: numpy, complex-step.\n"
    done = command(python, "check", "mine:g", "--args", "mine:x", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "kink: `f` has a kink at this point: along `x[0]`" in done.stdout
    done = command(python, "check", "mine:f", "--args", "mine:x", "--backends", "jax")
    assert done.returncode == 2
    assert "pip install 'diffface[jax]'" in done.stderr
