"""``python -m diffface``: exit codes, pipes, tables and wrong usage."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import diffface as dif
from diffface.cli import BROKEN_PIPE, INTERRUPTED, WRONG_USAGE, main
from diffface.cli import check as _check
from diffface.cli import usage as _show
from diffface.cli.target import load
from diffface.cli.usage import UsageError
from diffface.testing.support import Support, reasons_table, support, support_table
from diffface.testing.text_table import Table

MODULE = """
import time

import numpy as np
import diffface as dif


def loss(x, data):
    return dif.namespace(x).sum((x - data) ** 2)


def kinked(x, data):
    return dif.namespace(x).sum(abs(x - data))


def endless():
    print("started", flush=True)
    time.sleep(60)


def talkative():
    for _ in range(100_000):
        print("a line that nobody reads")
    return point


class Model:
    def loss(x):
        return dif.namespace(x).sum(x**2)


x = np.array([0.5, 2.0])
point = (x, dif.Const(np.array([0.5, 3.0])))


def make():
    return point


def fails():
    raise RuntimeError("no point")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module of the user's, which is the current one."""
    (tmp_path / "problem.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import numpy\n\nvalue = 1 / 0\n")
    (tmp_path / "lacking.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in ("problem", "broken", "lacking"):
        sys.modules.pop(name, None)


def run(*words, **options):
    command = [sys.executable, "-m", "diffface", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


CHECK = ("check", "problem:loss", "--args", "problem:point", "--backends", "autograd,numpy")


# Exit codes, in a process of its own


def test_agreement_is_exit_code_0(here):
    done = run(*CHECK)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "All agree: autograd, numpy.\n"


def test_disagreement_is_exit_code_1(here):
    done = run("check", "problem:kinked", "--args", "problem:point", "--backends", "numpy")
    assert (done.returncode, done.stderr) == (1, "")
    assert "- kink: `f` has a kink at this point: along `x[0]` the slopes" in done.stdout


def test_wrong_usage_is_exit_code_2(here):
    done = run("check", "problem:los", "--args", "problem:point")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "diffface: module 'problem' has no attribute 'los'. Did you mean 'loss'?\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_interruption_is_exit_code_130(here):
    # Whoever runs the tests in the background may have their children ignore the signal.
    heeding = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('diffface', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", heeding, "check", "problem:loss", "--args", "problem:endless"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == INTERRUPTED == 130
    assert errors == "diffface: interrupted\n"


def test_a_reader_that_goes_away_is_no_error(here):
    command = [sys.executable, "-m", "diffface", "check", "problem:loss", "--args",
               "problem:talkative"]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == BROKEN_PIPE == 141
    assert errors == ""


def test_the_current_directory_is_importable_in_safe_mode(here):
    done = run(*CHECK, env={**os.environ, "PYTHONSAFEPATH": "1"})
    assert done.returncode == 0, done.stderr


# Help and wrong usage


@pytest.mark.parametrize("words", [[], ["--help"], ["backends", "--help"], ["check", "--help"]])
def test_help_has_an_example(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m diffface")
    assert "example" in shown
    assert "python -m diffface " in shown.split("example")[1]
    assert all(len(line) <= 100 for line in shown.splitlines())


INSTALLED = "Installed: 'jax', 'torch', 'autograd', 'numpy', 'complex-step'."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chek"], "there is no command 'chek'. Did you mean 'check'?"),
        (["check"], "the following arguments are required: module:function. "
         "See python -m diffface check --help."),
        (["check", "problem:loss"], "name the point with --args, such as --args mymodule:point: "
         "a tuple of arguments, or a function that returns it."),
        (["doctor", "--backends", "jax"], "unrecognized arguments: --backends jax. "
         "See python -m diffface doctor --help."),
        (["check", "problem:loss", "--arg", "problem:x"], None),
        (["--hepl"], "unrecognized arguments: --hepl. Did you mean '--help'? "
         "See python -m diffface --help."),
        (["backends", "--instaled"], "unrecognized arguments: --instaled. "
         "Did you mean '--installed'? See python -m diffface backends --help."),
        (["backends", "--backends", "torhc"],
         "there is no backend 'torhc'. Did you mean 'torch'?"),
        (["backends", "--backends", ","], "expected names separated by commas, got ','."),
        ([*CHECK[:4], "--backends", "jaxx"],
         f"There is no backend 'jaxx'. Did you mean 'jax'? {INSTALLED}"),
        ([*CHECK, "--rtol", "0"], "--rtol must be positive, got 0."),
        ([*CHECK, "--operators", "gradiant"],
         "there is no operator 'gradiant'. Did you mean 'gradient'?"),
        ([*CHECK, "--argnums", "one"],
         "--argnums must be integers separated by commas, got 'one'."),
        ([*CHECK, "--argnums", "1"], "`argnums` makes argument 1 active, but it is wrapped in "
         "Const; use one or the other."),
        (["check", "problem", "--args", "problem:x"],
         "expected module:attribute, such as mymodule:loss, got 'problem'."),
        (["check", "problem.py:loss", "--args", "problem:x"],
         "expected the name of a module, not of a file, got 'problem.py'; write problem:loss."),
        (["check", "probelm:loss", "--args", "problem:x"],
         "there is no module 'probelm'. Did you mean 'problem'?"),
        (["check", "problem:Model.lost", "--args", "problem:x"],
         "type 'Model' has no attribute 'lost'. Did you mean 'loss'?"),
        (["check", "problem:x", "--args", "problem:x"],
         "problem:x is not a function but a ndarray."),
        (["check", "lacking:f", "--args", "problem:x"], "module 'lacking' cannot be imported: "
         "ModuleNotFoundError: No module named 'not_installed_anywhere', at {here}/lacking.py:1 in "
         "<module>: `import not_installed_anywhere`"),
        (["check", "broken:f", "--args", "problem:x"], "module 'broken' cannot be imported: "
         "ZeroDivisionError: division by zero, at {here}/broken.py:3 in <module>: `value = 1 / 0`"),
        (["check", "problem:loss", "--args", "problem:fails"],
         "problem:fails cannot be called: RuntimeError: no point, at {here}/problem.py:"
         f"{MODULE.splitlines().index('def fails():') + 2} in fails: "
         '`raise RuntimeError("no point")`'),
    ],
)  # fmt: skip
def test_wrong_usage(words, message, here, capsys):
    assert main(words) == WRONG_USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    if message is not None:
        assert shown.err == f"diffface: {message.replace('{here}', str(here))}\n"


# What is named on the command line


def test_targets(here):
    sys.path.insert(0, str(here))
    assert load("problem:Model.loss").__name__ == "loss"
    assert load("os.path:join") is os.path.join
    with pytest.raises(UsageError) as caught:
        load("os.paht:join")
    assert str(caught.value) == "there is no module 'os.paht'."


@pytest.mark.parametrize(
    ("target", "count"), [("problem:point", 2), ("problem:make", 2), ("problem:x", 1)]
)
def test_points(here, target, count):
    sys.path.insert(0, str(here))
    assert len(_check.arguments(target)) == count


def test_positions():
    assert _check.positions("1") == 1
    assert _check.positions("0,-1") == [0, -1]


def test_check_shows_what_disagrees(here, capsys):
    words = [*CHECK[:4], "--backends", "autograd,numpy", "--rtol", "1e-14"]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert ["numpy", "hessian"] in [line.split()[:2] for line in out.splitlines()]
    assert "agrees" not in out
    assert main([*words, "--all"]) == 1
    assert "agrees" in capsys.readouterr().out
    assert main([*words, "--brief"]) == 1
    assert capsys.readouterr().out.count("\n") == 1


def test_check_of_some_operators_for_programs(here, capsys):
    assert main([*CHECK, "--operators", "hvp,gradient", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["ok"], found["findings"]) == ("loss", True, [])
    asked = [row["operator"] for row in found["rows"] if row["backend"] == "numpy"]
    assert asked == ["value", "hvp", "gradient"]
    assert {row["verdict"] for row in found["rows"]} == {"agrees", "converged"}


def test_check_takes_the_options_of_operators(here, capsys):
    (here / "problem.py").write_text(
        "import diffface as dif\n"
        "def f(a, x): return a * dif.namespace(x).exp(x), 'aux'\n"
        "args = (2.0, 1.0 + 2.0j)\n"
    )
    words = ["check", "problem:f", "--args", "problem:args", "--backends", "autograd,torch"]
    assert main([*words, "--has-aux", "--holomorphic", "--argnums", "1", "--all"]) == 0
    assert "derivative" in capsys.readouterr().out


# Tables


TABLE = Table(
    ("name", "n"), [("a", "1"), ("[bold]longer[/bold]", "100")], "Title",
    frozenset({1}), frozenset({1}),
)  # fmt: skip


def test_plain_tables():
    assert str(TABLE) == (
        "Title\n"
        "name                   n\n"
        "-------------------  ---\n"
        "a                      1\n"
        "[bold]longer[/bold]  100"
    )
    assert str(Table(("a", "b"), [])) == "a  b\n-  -"


def on_a_terminal(code="", **environment):
    """What a process writes when its output is a terminal."""
    pty = pytest.importorskip("pty", reason="terminals are those of POSIX")
    program = (
        f"{code}\nfrom diffface.testing.text_table import Table\n"
        "from diffface.cli.usage import show\n"
        f"show({TABLE!r})"
    )
    ours, theirs = pty.openpty()
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env = {**plain, "TERM": "xterm-256color", "COLUMNS": "80", **environment}
    subprocess.run([sys.executable, "-c", program], stdout=theirs, env=env, check=True)
    os.close(theirs)
    with os.fdopen(ours, "rb") as reader:
        shown = reader.read1(100_000)
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours():
    shown = on_a_terminal()
    assert "\x1b[1;31m" in shown
    assert "[bold]longer[/bold]" in shown
    assert "Title" in shown


@pytest.mark.parametrize(
    ("code", "environment"),
    [
        ("", {"NO_COLOR": "1"}),
        ("", {"TERM": "dumb"}),
        ("import sys; sys.modules['rich'] = None  # as if it were not installed", {}),
    ],
)
def test_a_terminal_without_colours_or_rich(code, environment):
    assert on_a_terminal(code, **environment) == f"{TABLE}\n"


def test_a_pipe_gets_plain_text(capsys):
    _show.show(TABLE)
    assert capsys.readouterr().out == f"{TABLE}\n"


# What backends can do


def test_backends(capsys):
    assert main(["backends", "--installed"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["backend", "version", "modes", "devices"]
    assert {info.name for info in dif.list_backends()} <= {line.split()[0] for line in lines[2:]}


def test_some_backends(capsys):
    assert main(["backends", "--backends", "numpy,complex-step"]) == 0
    shown = capsys.readouterr().out
    assert (
        "real functions                   hessian            by differences  by differences"
        in shown
    )
    assert "\nno, because:\n- complex-step, derivative, gradient, " in shown
    assert ": UnsupportedOperatorError: The complex-step backend cannot" in shown


def test_a_backend_that_is_not_installed(monkeypatch, capsys):
    info = dif.BackendInfo("jax", None, problem="Backend 'jax' needs jax.")
    monkeypatch.setattr("diffface.cli.backends.list_backends", lambda: (info,))
    assert main(["backends"]) == 0
    assert capsys.readouterr().out == (
        "backend  version        modes  devices\n"
        "-------  -------------  -----  -------\n"
        "jax      not installed\n\n"
        "Backend 'jax' needs jax.\n"
    )


def test_support_is_measured(monkeypatch):
    """A backend that is wrong is found out."""

    class Wrong(Exception):
        pass

    def fails(case, backend):
        if case.function == "hvp":
            raise Wrong("no second order\nmore")
        assert case.function != "pullback", "pullback is off by 1"

    monkeypatch.setattr("diffface.testing.support.run", fails)
    found = [one for one in support(["autograd"]) if one.sort == "real functions"]
    problems = {one.operator: one.problem for one in found if one.problem}
    assert problems == {
        "hvp": "Wrong: no second order",
        "pullback": "AssertionError: pullback is off by 1",
    }
    table = support_table(found)
    assert table.head == ("of", "operator", "autograd")
    assert ("real functions", "hvp", "no") in table.rows
    assert reasons_table(found).rows[0] == (
        "autograd", "real functions", "hvp", "Wrong: no second order",
    )  # fmt: skip


def test_reasons_of_the_same_kind_are_one():
    found = [Support("a", name, "real functions", "why", differences=False) for name in "xy"]
    assert reasons_table(found).rows == [("a", "real functions", "x, y", "why")]


def test_code_that_ends_the_program_is_no_success(tmp_path, monkeypatch, capsys):
    (tmp_path / "script_without_guard.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["check", "script_without_guard:f", "--args", "script_without_guard:x"]
    assert main(words) == WRONG_USAGE
    assert "the code that was given ended the program (exit code 0)" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"{dif.__version__}\n"


def test_the_console_script():
    script = Path(sys.executable).with_name("diffface")
    found = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert found.stdout == f"{dif.__version__}\n"


def test_doctor(capsys):
    assert main(["doctor"]) == 0
    found = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["numpy", "works"] in found
    assert ["linear", "algebra"] in found


def test_doctor_finds_wrong_gradients(monkeypatch, capsys):
    monkeypatch.setattr(dif, "gradient", lambda f, x, backend: 0 * x)
    assert main(["doctor"]) == 1
    assert "wrong gradient of sum(x**3): install it anew" in capsys.readouterr().out
